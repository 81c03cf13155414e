"""Credentials out of texts: whatever is printed, logged or kept goes through `mask`."""

from __future__ import annotations

import logging
import os
import re
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "***"
# Environment variables of libraries that hold a credential: what stands in them is hidden wherever it turns up.
VARIABLES = (
    "PGPASSWORD", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN", "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING", "HF_TOKEN", "WANDB_API_KEY",
)  # fmt: skip
# user:password@ of a URI. A password may hold an unencoded @ or /: up to the last @ before a blank or a quote.
_USERINFO = re.compile(r"""([A-Za-z][\w+.\-]*://[^\s:/?#@'"]*):[^\s'"]*@""")
_TOKEN = re.compile(r"""(https?://)[^\s:/?#@'"]+@""", re.IGNORECASE)  # a user without a password is a token there
_SECRET_NAME = (
    r"(?:[\w\-]*(?:password|passwd|passphrase|secret|credential|signature|accountkey)[\w\-]*"
    r"|(?:(?:access|auth|api|bearer|refresh|session|security|id|hf|x-amz-security)[_\-])?token|pwd|sig|api_?key|access_?key(?:_?id)?)"
)
_QUERY = re.compile(rf"""(?<![\w.\-])({_SECRET_NAME}\s?=\s?)("[^"]+"|'[^']+'|[^&;\s'"]+)""", re.IGNORECASE)
# {"password": "..."} of JSON and Python, also inside a string of JSON; `password: ...` of YAML begins a line.
_MEMBER = re.compile(rf"""((\\?["']){_SECRET_NAME}\2\s*:\s*(\\?["']))(?:(?!\3)(?:\\.|.))+(?=\3)""", re.IGNORECASE)
_KEY = re.compile(r"(?:password|passwd|passphrase|secret|credential|api_?key|access_?key)$", re.IGNORECASE)
_YAML = re.compile(rf"""^(\s*(?:- )?{_SECRET_NAME}:[ \t]+)(?!(?:null|true|false|[\d.]+)\s*$)\S.*$""", re.I | re.M)
_HEADER = re.compile(r"""\b((?:Authorization\W{1,4}Basic|Bearer)\s+)[A-Za-z0-9+/._~\-]{8,}=*""")
# A password that is one of these words, or a part of one, would tear holes into every sentence.
_ORDINARY = "postgresql mysql sqlite https localhost password mlflow tracking storage study optuna admin root test user"
ANYWHERE = 8  # characters from which a remembered secret is hidden inside a word, too
_known: set[str] = set()


def remember(secret: str | None) -> None:
    """Hide this very text from here on, wherever it stands: a password that a library may quote by itself."""
    if secret and len(secret) >= 4 and set(secret) != {"*"} and secret.lower() not in _ORDINARY:
        _known.update({secret, unquote(secret), quote(secret, safe=""), quote(unquote(secret), safe="")})


def remember_variables() -> None:
    """Remember what the environment's own variables for credentials hold."""
    for name in VARIABLES:
        remember(os.environ.get(name))


def mask(text: str) -> str:
    """The text without credentials: `scheme://user:***@host`, `?password=***`, and every remembered secret as `***`."""
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = _without(text, secret)
    return mask_forms(text)


def mask_forms(text: str) -> str:
    """The text without what has the form of a credential, whatever is remembered."""
    if "=" in text:
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
    if ":" in text:
        text = _YAML.sub(rf"\1{HIDDEN}", _MEMBER.sub(rf"\1{HIDDEN}", text))
    if "://" in text:
        text = _TOKEN.sub(rf"\1{HIDDEN}@", _USERINFO.sub(rf"\1:{HIDDEN}@", text))
    return _HEADER.sub(rf"\1{HIDDEN}", text)


def masked(tree: Any) -> Any:
    """Plain data (of JSON) with every text masked: values, and the elements of lists."""
    if isinstance(tree, str):
        return mask(tree)
    if isinstance(tree, dict):
        return {key: HIDDEN if _is_secret(key, value) else masked(value) for key, value in tree.items()}
    return [masked(value) for value in tree] if isinstance(tree, list | tuple) else tree


class MaskedFormatter(logging.Formatter):
    """Lines without credentials, whoever logs them."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def _is_secret(key: Any, value: Any) -> bool:
    return isinstance(value, str) and bool(value) and _KEY.search(str(key)) is not None


def _without(text: str, secret: str) -> str:
    if len(secret) >= ANYWHERE:
        return text.replace(secret, HIDDEN)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", lambda _: HIDDEN, text)


remember_variables()
