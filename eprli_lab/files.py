"""Files that a kill, a full disk or a flipped bit cannot turn into other contents unseen.

A whole file is written under another name and moved into place; a line of an append-only file carries a checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError

SUM = "sum"  # the key of a line's checksum


def write_whole(path: Path, content: str | bytes) -> None:
    """The file has the old content or the new one, whatever happens: written aside, synced, moved, folder synced.

    Raises OSError (a full disk) and leaves the old content then.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """What was written to a file, by whomever, reaches the disk. Raises OSError."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Names within a folder reach the disk; nothing where the system cannot open a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems know no such thing
        pass
    finally:
        os.close(handle)


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file. Raises UserError (with `remedy`) when it is missing, empty or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}") from None
    except (ValueError, RecursionError):
        state = "is damaged (not JSON)" if path.stat().st_size else "is empty"
        raise UserError(f"{path} {state}: {remedy}") from None


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(entry: dict[str, Any]) -> str:
    """One line (with its end) of an append-only file: the entry as JSON, with the checksum of the rest as a key."""
    body = json.dumps(entry)
    return f'{body[:-1]}{", " if entry else ""}"{SUM}": "{_checksum(body)}"}}\n'


def unseal(line: str) -> dict[str, Any]:
    """The entry of a line that `seal` made. Raises ValueError for a damaged line; KeyError for one without checksum."""
    try:
        entry = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(entry, dict):
        raise ValueError("no object")
    if entry.pop(SUM) != _checksum(json.dumps(entry)):
        raise ValueError("the checksum differs")
    return entry


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
