"""Config files of the working directory (`./conf/model/mine.yaml` is `model=mine`), and what of a config they set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from eprli_lab.config.paths import CONF_DIR, SWEEPS_DIR
from eprli_lab.errors import UserError, reason

FOLDER = "conf"
SWEEPS = "sweep"  # the group of the files in ./sweeps
LAUNCHER = "hydra/launcher"  # Hydra's own group that a cluster's user writes files for
_ABSENT = object()
_read: dict[Path, tuple[str, dict[str, Any]]] = {}  # file -> (dotted package, what it sets), as it was last composed


def own_directory() -> Path | None:
    """./conf of the working directory; None where there is none, or where it is the package's own."""
    own = Path.cwd() / FOLDER
    return own if own.is_dir() and own.resolve() != CONF_DIR.resolve() else None


@cache
def groups() -> tuple[str, ...]:
    """Config groups that ./conf may add files to: those of the package, and Hydra's launchers."""
    ours = (d.relative_to(CONF_DIR).as_posix() for d in sorted(CONF_DIR.rglob("*")) if d.is_dir())
    return (*(g for g in ours if not g.rpartition("/")[2].startswith(("_", "."))), LAUNCHER)


def own_files(group: str) -> list[Path]:
    """Files of ./conf in a config group, sorted."""
    own = own_directory()
    return [] if own is None or group not in groups() else sorted((own / group).glob("*.yaml"))


def shadows(file: Path, group: str) -> bool:
    """Whether a file of ./conf or ./sweeps has the name of one of the package, and says something else."""
    ours = _ours(file, group)
    return ours.is_file() and ours.read_bytes() != file.read_bytes()


def _ours(file: Path, group: str) -> Path:
    return (SWEEPS_DIR if group == SWEEPS else CONF_DIR / group) / file.name


def offered() -> dict[str, list[str]]:
    """Config group -> names that ./conf adds to it."""
    found = {g: [f.stem for f in own_files(g) if not _ours(f, g).is_file()] for g in groups()}
    return {group: names for group, names in found.items() if names}


def shadowing() -> list[str]:
    """Files of ./conf and ./sweeps that are refused when they are chosen, as named from the working directory."""
    files = [(f, g) for g in groups() for f in own_files(g)]
    files += [(f, SWEEPS) for f in sorted((Path.cwd() / "sweeps").glob("*.yaml"))]
    return [relative(f) for f, g in files if shadows(f, g)]


def refuse_shadow(file: Path, group: str) -> None:
    """Raises UserError for a file of ./conf or ./sweeps that stands where the package has another one of that name."""
    if shadows(file, group):
        raise UserError(
            f"{relative(file)}: {group}={file.stem} comes with the package, and this file says something "
            f"else: rename it, and choose it by its new name (the package's: {_ours(file, group)})"
        )


def remember(file: Path, package: str, content: Any) -> None:
    """What a file sets, for the sentences of what is wrong with it. Raises UserError where it sets no keys."""
    if not isinstance(content, dict):
        raise UserError(f"{relative(file)}: holds no keys (KEY: VALUE): write some, or remove it")
    _read[file] = (package, content)


def damaged(file: Path, error: Exception) -> UserError:
    """The sentence for a file that is no YAML."""
    mark = getattr(error, "problem_mark", None)
    where = relative(file) + (f":{mark.line + 1}" if mark is not None else "")
    said = getattr(error, "problem", None) or reason(error)
    return UserError(f"{where}: is no YAML ({said}): mend that line")


def file_of(config: str) -> Path | None:
    """The file of ./conf that `group/name` is; None where it is none."""
    group, _, name = config.rpartition("/")
    return next((f for f in own_files(group) if f.stem == name.removesuffix(".yaml")), None)


def forget() -> None:
    """Before another composition."""
    _read.clear()


def pointed(sentence: str, tree: Mapping[str, Any]) -> str:
    """The sentence, which begins with a dotted key, with the file that gave the key its value; else as it is."""
    key = sentence.partition(":")[0]
    path = key.split(".")
    value = _at(tree, path)
    for file, (package, content) in _read.items():
        for own_path in _paths(content, package.split(".") if package else []):
            within = own_path[: len(path)] == path
            if within and value is not _ABSENT and _at(_placed(content, package), own_path) == _at(tree, own_path):
                return f"{sentence} (in {relative(file)})"
    return sentence


def relative(file: Path) -> str:
    """As a person in the working directory names it."""
    try:
        return file.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(file)


def _paths(node: Any, at: list[str]) -> Iterator[list[str]]:
    """Paths of all leaves."""
    if isinstance(node, dict) and node:
        for key, inner in node.items():
            yield from _paths(inner, [*at, str(key)])
    else:
        yield at


def _placed(content: dict[str, Any], package: str) -> dict[str, Any]:
    for part in reversed(package.split(".") if package else []):
        content = {part: content}
    return content


def _at(node: Any, path: list[str]) -> Any:
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            return _ABSENT
        node = node[part]
    return node
