"""A folder that knows what is in it: `manifest.json`, written last, has the size and SHA-256 of every other file.

It is one line with a checksum of its own (files.seal). Beside the files it may say other things: of a checkpoint its
step, its configuration and the tables that belong to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.files import digest, seal, sync_file, sync_folder, unseal, write_whole

NAME = "manifest.json"
VERSION = 1
READERS = 4  # files that are read at once; hashing lets go of the interpreter
HEADER_LIMIT = 100_000_000  # bytes of a safetensors header, the format's own limit
PICKLE = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


class DamagedError(Exception):
    """Something is not as it was written; the message is a clause that begins with its path."""


def write_manifest(
    folder: Path, facts: dict[str, Any] | None = None, inner: tuple[str, ...] = (), files: list[Path] | None = None
) -> None:
    """Sync every file below `folder` to the disk (or `files` alone), and the folders, then write its manifest.

    `inner`: folders within it that get a manifest of their own first, since they are copied away alone. Raises OSError.
    """
    chosen = _files(folder) if files is None else files
    entries = _entries(folder, chosen)
    for name in inner:
        if (folder / name).is_dir():
            part = {k.removeprefix(f"{name}/"): entry for k, entry in entries.items() if k.startswith(f"{name}/")}
            (folder / name / NAME).write_text(_line(part, {"kind": "policy"}))  # synced as one of the files
            entries |= _entries(folder, [folder / name / NAME])
    for directory in {path.parent for path in chosen} - {folder}:
        sync_folder(directory)
    write_whole(folder / NAME, _line(entries, facts or {}))  # syncs the folder too


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest's content; None where there is none. Raises DamagedError."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        content = unseal(path.read_text())
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError):
        raise DamagedError(f"{path} is {'damaged' if path.stat().st_size else 'empty'}") from None
    if content.get("version") != VERSION or not isinstance(content.get("files"), dict):
        raise DamagedError(f"{path} is of another version of this package")
    return content


def faults(folder: Path, content: dict[str, Any], extra: bool = True) -> list[str]:
    """Every way in which a folder is not what its manifest says, each a clause that begins with a path.

    `extra`: a file that the manifest does not know is one of them; hidden files are not.
    """
    saved: dict[str, dict[str, Any]] = content["files"]
    out = [f"{folder / name} is missing" for name in sorted(saved) if not (folder / name).exists()]
    out += [f"{folder / name} is no file" for name in sorted(saved) if (folder / name).is_dir()]
    there = {name: entry for name, entry in sorted(saved.items()) if (folder / name).is_file()}
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda name: _fault(folder / name, there[name]), there)
        out += [fault for fault in found if fault]
    if extra:
        known = {folder / name for name in saved}
        out += [f"{path} was not written with it" for path in _files(folder) if path not in known]
    return out


def check_folder(folder: Path, remedy: str) -> bool:
    """Is there a manifest? Raises UserError (with `remedy`) for the first thing that is not as it says."""
    try:
        content = read_manifest(folder)
    except DamagedError as error:
        raise UserError(f"{error}: {remedy}") from None
    found = faults(folder, content, extra=False) if content else []
    if found:
        raise UserError(f"{found[0]}: {remedy}")
    return content is not None


def is_whole(folder: Path) -> bool:
    """Has it a manifest, and is everything as that says?"""
    try:
        content = read_manifest(folder)
    except DamagedError:
        return False
    return content is not None and not faults(folder, content)


@contextlib.contextmanager
def new_folder(final: Path, kind: str = "policy") -> Iterator[Path]:
    """An empty folder that takes the place of `final`, with its manifest, when the block has filled it.

    Raises OSError; whatever was there is there then.
    """
    half = final.with_name(f"{final.name}.{os.getpid()}.tmp")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        yield half
        write_manifest(half, {"kind": kind})
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    half.rename(final)
    sync_folder(final.parent)


def check_readable(folder: Path) -> None:
    """Of a folder without a manifest: its JSON can be read, and its safetensors are whole. Raises DamagedError."""
    for path in _files(folder):
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".safetensors":
                fault = safetensors_fault(path)
                if fault:
                    raise DamagedError(f"{path} {fault}")
        except (ValueError, RecursionError):
            raise DamagedError(f"{path} is {'no JSON' if path.stat().st_size else 'empty'}") from None
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror})") from None


def safetensors_fault(path: Path) -> str:
    """What is wrong with a safetensors file by its header and its length, as a clause; '' for nothing."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        if start[:2] == b"PK" or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5"):
            return "is a pickle, which is never read: only safetensors are"
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, HEADER_LIMIT):
            return "is cut off or no safetensors file" if size else "is empty"
        try:
            header = json.loads(file.read(length))
            ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
            end = max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return "has a damaged header"
    return "" if end == size - 8 - length else f"has {size} bytes, and its header speaks of {end + 8 + length}"


def _files(folder: Path) -> list[Path]:
    found = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    return sorted(p for p in found if p != folder / NAME and not p.name.startswith("."))


def _entries(folder: Path, paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Path within the folder -> size and digest, of files that are on the disk then."""
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip((p.relative_to(folder).as_posix() for p in paths), pool.map(_entry, paths), strict=True))


def _entry(path: Path) -> dict[str, Any]:
    sync_file(path)
    return {"bytes": path.stat().st_size, "sha256": digest(path)}


def _fault(path: Path, entry: dict[str, Any]) -> str:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            return f"{path} has {size} bytes, {entry['bytes']} were written" if size else f"{path} is empty"
        return "" if digest(path) == entry["sha256"] else f"{path} is not what was written"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"


def _line(entries: dict[str, dict[str, Any]], facts: dict[str, Any]) -> str:
    return seal({"version": VERSION, **facts, "files": entries})
