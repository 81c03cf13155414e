"""URIs with credentials: what stands in a config is masked, what connects is looked up in the environment or a file.

A URI is hidden before anything can keep it: config, spec, params and reports hold `http://ann:***@host`, and the whole
of it is in this process's environment, which worker processes and launched jobs inherit.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eprli_lab.errors import UserError
from eprli_lab.masking import HIDDEN, mask, mask_forms, remember

# Config key -> the environment variable in which a hidden URI of it may be given again, whole.
VARIABLES = {"tracking.uri": "EPRLI_TRACKING_URI", "study.storage": "EPRLI_STUDY_STORAGE"}
_KEPT = "EPRLI_URI_"  # + digest of the masked URI: the environment variable that holds it whole
REFERENCES = ("env:", "file:")


def is_reference(uri: str) -> bool:
    """`env:NAME` or `file:PATH`: the URI stands there."""
    return uri.startswith(REFERENCES)


def hide(uri: str) -> str:
    """The URI as it may stand anywhere; its credentials stay in this process's environment, for `reveal`.

    One without credentials, and a reference, is what it was. Raises ValueError when it cannot be read as a URI.
    """
    shown = uri if is_reference(uri) else mask_forms(uri)
    if shown == uri:
        return uri
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise ValueError(
            f"'{shown}' cannot be read: in a password, write @ as %40, / as %2F, ? as %3F, # as %23 and % as %25"
        ) from None
    _remember(uri)
    if HIDDEN not in uri:
        os.environ[_kept(shown)] = uri
    return shown


def reveal(uri: str, key: str = "tracking.uri") -> str:
    """The URI to connect with. `key`: the config's, for the sentence.

    Raises UserError when the variable or file of a reference is not there, or a hidden URI's credentials are not.
    """
    if is_reference(uri):
        return _referred(uri, key)
    shown = mask_forms(uri)
    if HIDDEN not in uri:
        return uri
    if _kept(shown) in os.environ:
        whole = os.environ[_kept(shown)]
        _remember(whole)
        return whole
    for variable in VARIABLES.values():
        whole = os.environ.get(variable, "")
        if whole and mask_forms(whole) == shown:
            _remember(whole)
            return whole
    raise UserError(
        f"{key}: {shown} is without its password, which is kept nowhere: give the whole URI again on the command line, "
        f"or in the environment variable {VARIABLES[key]}"
    )


def hide_words(words: Sequence[str]) -> list[str]:
    """Hydra's words with the URIs of VARIABLES hidden: what Hydra keeps of them holds no credential."""
    return [_hidden_word(word) for word in words]


def _hidden_word(word: str) -> str:
    key, equals, text = word.partition("=")
    if not equals or key.lstrip("+") not in VARIABLES:
        return word
    value = _unquoted(text)
    try:
        shown = hide(value)
    except ValueError as error:
        raise UserError(f"{key.lstrip('+')}: {error}") from None
    return word if shown == value else f"{key}='" + shown.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _unquoted(text: str) -> str:
    """What Hydra reads: within quotes, a backslash before a quote is its own."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0]).replace("\\\\", "\\")
    return text


def command_line(words: Sequence[str]) -> str:
    """A command line as a person types it, without credentials."""
    return shlex.join([mask(word) for word in words])


def _kept(shown: str) -> str:
    return _KEPT + hashlib.sha256(shown.encode()).hexdigest()[:12].upper()


def _referred(uri: str, key: str) -> str:
    kind, _, name = uri.partition(":")
    if kind == "env":
        text = os.environ.get(name, "").strip()
        if not text:
            raise UserError(f"{key}={uri}: the environment variable {name} is not set: put the URI there")
    else:
        path = Path(name.removeprefix("//"))
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UserError(f"{key}={uri}: {path} cannot be read ({why}): put the URI there") from None
        if not text or "\n" in text:
            raise UserError(f"{key}={uri}: {path} holds no URI: write it there, on one line")
    _remember(text)
    return text


def _remember(uri: str) -> None:
    """Hide the password, and what stands behind a query's `=`, wherever a library quotes them."""
    try:
        parts = urlsplit(uri)
        remember(parts.password)
        if parts.scheme in ("http", "https") and parts.password is None:
            remember(parts.username)
    except ValueError:
        return
    for pair in parts.query.replace(";", "&").split("&"):
        _, equals, value = pair.partition("=")
        if equals and mask_forms(f"?{pair}") != f"?{pair}":
            remember(value)
            remember(unquote(value))
