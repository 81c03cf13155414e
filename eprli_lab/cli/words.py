"""`key=value` words: what a command takes, and what a shell may complete of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eprli_lab.config.own import own_files
from eprli_lab.config.paths import CONF_DIR, SWEEPS_DIR
from eprli_lab.errors import UserError, nearest


def _nothing() -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class Key:
    """A key of `key=value`: its meaning for the help, and the values that a shell may offer."""

    name: str
    meaning: str
    values: Callable[[], Iterable[str]] = _nothing
    example: str = "VALUE"


ANY = Key("KEY", "any override of the config, as in eprli-lab run")


def parse(words: Sequence[str], keys: Iterable[str], usage: str) -> dict[str, str]:
    """The words as a dict. Raises UserError on a word that is not key=value, an unknown key, one that stands twice."""
    known = list(keys)
    given: dict[str, str] = {}
    for word in words:
        key, sep, value = word.partition("=")
        if not sep or not value:
            raise UserError(f"'{word}' is not key=value; {usage}")
        if key not in known:
            raise UserError(f"{key}: unknown key{nearest(key, known)}")
        if key in given:
            raise UserError(f"{key}: given twice ({given[key]}, {value})")
        given[key] = value
    return given


def split(words: Sequence[str], keys: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The words of the command's own keys as a dict, and the rest: overrides for Hydra.

    Raises UserError on one that stands twice, and on one of a study: these commands make no study.
    """
    known = list(keys)
    given: dict[str, str] = {}
    overrides = []
    for word in words:
        key, _, value = word.partition("=")
        bare = key.lstrip("+~")
        if bare in ("sweep", "study") or bare.startswith("study."):
            raise UserError(f"{word}: there is no study here, so it would change nothing: leave it out")
        if key not in known:
            overrides.append(word)
            continue
        if key in given:
            raise UserError(f"{key}: given twice ({given[key]}, {value})")
        given[key] = value
    return given, overrides


def check_overrides(words: Iterable[str], usage: str) -> None:
    """Raises UserError on a word that is no override of Hydra's: neither key=value nor ~key."""
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise UserError(f"'{word}' is not key=value; {usage}")


def sweep_names() -> list[str]:
    """Sweeps of the package and of ./sweeps in the working directory, without composing any."""
    return sorted({p.stem for d in (SWEEPS_DIR, Path("sweeps")) if d.is_dir() for p in d.glob("*.yaml")})


def preset_names() -> list[str]:
    return _choices("preset")


def config_groups() -> list[Key]:
    """`model=`, `data=`, ... with their files: the overrides that can be offered without composing anything."""
    groups = [d for d in sorted(CONF_DIR.iterdir()) if d.is_dir()]
    return [Key(d.name, f"config group {d.name}", lambda d=d: _choices(d.name)) for d in groups]  # type: ignore[misc]


def _choices(group: str) -> list[str]:
    """Of the package and of ./conf."""
    files = [*(CONF_DIR / group).glob("*.yaml"), *own_files(group)]
    return sorted({p.stem for p in files if p.stem != "base"})


def candidates(keys: Sequence[Key], before: Sequence[str], incomplete: str) -> list[str]:
    """What may stand where `incomplete` does, after the words `before`.

    Some shells hand over `key=va` whole and want the whole word back; bash splits it at the sign into three words and
    wants the value alone.
    """
    by_name = {key.name: key for key in keys}
    words = list(before)
    if words and words[-1] == "=":
        words.pop()
    if words and words[-1] in by_name:  # a bare key is no word: its value is being typed
        return _values(by_name[words[-1]], incomplete, "")
    name, sep, value = incomplete.partition("=")
    if sep:
        return _values(by_name[name], value, f"{name}=") if name in by_name else []
    given = {word.partition("=")[0] for word in words}
    return [f"{k}=" for k in by_name if k.startswith(incomplete) and k not in given]


def _values(key: Key, incomplete: str, prefix: str) -> list[str]:
    """Values of a list (`a,b`) are completed one after another."""
    head, comma, last = incomplete.rpartition(",")
    return [f"{prefix}{head}{comma}{v}" for v in key.values() if v.startswith(last) and v not in head.split(",")]
