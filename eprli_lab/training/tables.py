"""The append-only tables of a run, and what they were at a checkpoint: their length and a running digest of it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError

TABLES = ("ledger", "outcomes", "samples")
BLOCK = 1 << 20  # bytes that are read at once


@dataclass
class _Written:
    """What a table holds."""

    size: int = 0  # bytes
    sum: Any = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        self.sum.update(data)
        self.size += len(data)


class Tables:
    """The tables below a directory. The digest of what is appended is kept, so that a save reads none of them again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._written: dict[str, _Written] = {}

    def path(self, table: str) -> Path:
        return self.directory / f"{table}.jsonl"

    def append(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows to a table; no rows make no file."""
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if not data:
            return
        written = self._known(table)
        with open(self.path(table), "ab") as file:
            file.write(data)
        written.add(data)

    def state(self) -> dict[str, dict[str, Any]]:
        """Table -> its length in bytes and its SHA-256, on the disk then. UserError when somebody else wrote to one."""
        out = {}
        for table in TABLES:
            if self.path(table).is_file():
                with open(self.path(table), "rb") as file:
                    os.fsync(file.fileno())
            written = self._known(table)
            if written.size != self._size(table):
                raise UserError(_changed(self.path(table)))
            out[table] = {"bytes": written.size, "sha256": written.sum.hexdigest()}
        return out

    def fault(self, saved: dict[str, dict[str, Any]], only: str = "") -> str:
        """What of the tables (of one) does not begin as `state` said, as a clause that begins with a path; or ''."""
        for table in (only,) if only else TABLES:
            entry, path = saved.get(table, {"bytes": 0}), self.path(table)
            if path.exists() and not path.is_file():
                return f"{path} is no file"
            if self._size(table) < entry["bytes"]:
                return f"{path} has {self._size(table)} bytes, {entry['bytes']} were written"
            if "sha256" in entry:
                if entry["bytes"] and self._read(table, entry["bytes"]).sum.hexdigest() != entry["sha256"]:
                    return f"{path} is not what was written"
            elif entry["bytes"] and self._last_byte(table, entry["bytes"]) != b"\n":  # of an older version
                return f"{path} has no end of a line where one was written"
        return ""

    def cut(self, saved: dict[str, dict[str, Any]]) -> None:
        """Take away what came after `state` said this."""
        self._written = {}
        for table in TABLES:
            if self.path(table).is_file():
                os.truncate(self.path(table), saved.get(table, {"bytes": 0})["bytes"])

    def check(self) -> None:
        """Raises UserError when a table is not what was appended to it."""
        for table, written in self._written.items():
            if self._size(table) != written.size or (
                written.size and self._read(table, written.size).sum.digest() != written.sum.digest()
            ):
                raise UserError(_changed(self.path(table)))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table. Raises UserError for a damaged line."""
        path, out = self.path(table), []
        lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                directory = shlex.quote(str(self.directory))
                raise UserError(f"{path}:{number}: the line is damaged: eprli-lab verify {directory} says more")
            out.append(row)
        return out

    def _known(self, table: str) -> _Written:
        if table not in self._written:
            self._written[table] = self._read(table, self._size(table))
        return self._written[table]

    def _size(self, table: str) -> int:
        return self.path(table).stat().st_size if self.path(table).is_file() else 0

    def _read(self, table: str, size: int) -> _Written:
        """The digest of the first `size` bytes."""
        out = _Written()
        if size:
            with open(self.path(table), "rb") as file:
                while out.size < size and (data := file.read(min(BLOCK, size - out.size))):
                    out.add(data)
        return out

    def _last_byte(self, table: str, size: int) -> bytes:
        with open(self.path(table), "rb") as file:
            file.seek(size - 1)
            return file.read(1)


def _changed(path: Path) -> str:
    return (
        f"{path} was changed while the run was under way: the same command makes what came after the last checkpoint "
        "once more"
    )
