"""The files that a source's path names: one file, the shards of a folder, or those that match a pattern."""

from __future__ import annotations

import functools
import glob
import re
from pathlib import Path

from eprli_lab.errors import UserError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
COMPRESSED = (".gz", ".zst")
_NO_ROWS = re.compile(r"\.difficulty\.jsonl$|\.meta\.json$|^(?:dataset_infos?|dataset_dict|state|config)\.json$")
_SPLITS = {"train": "train", "training": "train", "test": "test", "eval": "test", "validation": "validation"}
_SPLITS |= {"valid": "validation", "val": "validation", "dev": "validation"}


def file_format(path: Path) -> tuple[str, str] | None:
    """Suffix of the format and of the compression ('': none), in lower case; None for another kind of file."""
    name = path.name.lower()
    packed = next((c for c in COMPRESSED if name.endswith(c)), "")
    kind = next((s for s in SUFFIXES if name.removesuffix(packed).endswith(s)), None)
    return None if kind is None else (kind, packed)


@functools.lru_cache(maxsize=64)
def bare_name(path: str) -> str:
    """The data set's name: of the file without its endings, of a pattern its folder's, of a Hub id its last part."""
    name = Path(path)
    if glob.has_magic(name.name):
        name = name.parent
    found = file_format(name)
    if found is None:
        return name.stem
    return name.name[: -len("".join(found))]


def local_files(path: str, split: str, where: str) -> list[Path] | None:
    """The files of a path, sorted by name; None where it is no path of this machine, but a Hub id.

    A folder's files are its own, not those of folders in it; where their names say splits (`train-00000.parquet`),
    those of `split`. Raises UserError naming `where`.path.
    """
    place = Path(path).expanduser()
    try:
        if place.is_file():
            if file_format(place) is None:
                raise UserError(f"{where}.path: {path} is not a {_kinds()} file")
            return [place]
        if place.is_dir():
            return _of_folder(place, split, where)
        if glob.has_magic(path):
            return _of_pattern(path, where)
    except (OSError, ValueError) as error:  # a name too long for the file system, or with a null character
        raise UserError(f"{where}.path: {path[:80]} cannot be read ({_words(error)})") from None
    if file_format(place) is not None:
        raise UserError(f"{where}.path: there is no file {path}")
    if path.startswith((".", "/", "~")):
        raise UserError(f"{where}.path: {path} is not a {_kinds()} file, nor a folder of such")
    return None


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _kinds() -> str:
    return f"{', '.join(SUFFIXES)} ({' or '.join(COMPRESSED)} behind it)"


def matches(path: str) -> list[Path]:
    """The files that match a pattern, sorted by name; none for a path without wildcards."""
    found = sorted(glob.glob(str(Path(path).expanduser()), recursive=True)) if glob.has_magic(path) else []
    return [f for f in map(Path, found) if f.is_file() and not _NO_ROWS.search(f.name)]


def _of_pattern(path: str, where: str) -> list[Path]:
    files = matches(path)
    if not files:
        raise UserError(f"{where}.path: no file matches {path}")
    other = [f for f in files if file_format(f) is None]
    if other:
        raise UserError(f"{where}.path: {path} matches {other[0]}, which is not a {_kinds()} file")
    return files


def _of_folder(folder: Path, split: str, where: str) -> list[Path]:
    names = sorted(f.name for f in folder.iterdir() if f.is_file() and not f.name.startswith((".", "_")))
    if any(n.endswith(".arrow") for n in names) or "dataset_dict.json" in names:
        raise UserError(
            f"{where}.path: {folder} was written by save_to_disk of datasets, which is read by that library alone: "
            "write it as parquet (to_parquet) and name that file"
        )
    files = [folder / n for n in names if file_format(folder / n) is not None and not _NO_ROWS.search(n)]
    if not files:
        inside = sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
        more = f": name one of its folders ({', '.join(inside[:5])})" if inside else ""
        raise UserError(f"{where}.path: there is no file of {_kinds()} in the folder {folder}{more}")
    splits = {f: _split_of(f.name) for f in files}
    if any(splits.values()):
        wanted = _SPLITS.get(split, split)
        named = sorted({s for s in splits.values() if s})
        files = [f for f in files if splits[f] == wanted]
        if not files:
            raise UserError(f"{where}.split: {folder} holds files of {', '.join(named)}, and none of {split}")
    kinds = sorted({"".join(file_format(f) or ()) for f in files})
    if len(kinds) > 1:
        raise UserError(
            f"{where}.path: {folder} holds files of several kinds ({', '.join(kinds)}), and the same problems may be "
            f"in each: name those that are meant, for instance {folder}/*{kinds[0]}"
        )
    return files


def _split_of(name: str) -> str | None:
    """The split that a file's name says: `train-00000-of-00002.parquet`, `gsm8k_test.jsonl`."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((_SPLITS[w] for w in words if w in _SPLITS), None)
