"""A study's journal: Optuna's own format, in which nothing can be lost, doubled or changed unseen.

Every line carries a checksum of itself and a digest of all that stands before it, as two more keys that other readers
of Optuna's journals ignore. A witness beside the journal says how long the journal is: what no line could say of those
after it. Lines of another program (optuna-dashboard, an earlier version of this one) have no checksum; the witness and
the next line's digest cover them, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from eprli_lab.errors import UserError
from eprli_lab.files import seal, unseal
from eprli_lab.sweeping.witness import Witness

BEFORE = "before"  # the key of the digest of everything that stands before a line
OPERATIONS = range(11)  # of Optuna's journals


class _OrderError(Exception):
    """A whole line does not follow the lines before it."""


class Journal(BaseJournalBackend):
    """One journal file, as one process sees it; made where there is none. The caller holds the study's lock.

    Raises UserError, which names file, line and the way out, when it is not what was written; OSError when it cannot
    be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.witness = Witness(path)
        self._size = 0  # bytes of whole lines that were checked
        self._lines = 0
        self._sum = hashlib.blake2b(digest_size=16)  # of those bytes
        self._entries: list[dict[str, Any]] = []  # checked, not read by Optuna yet
        self._first = 0  # number of the first of them
        self._inode = 0
        _check_kind(path)
        if not path.exists():
            self.witness.check_missing()
            self.witness.write(0, 0, self._sum.hexdigest())
            path.touch()
        self.refresh()

    def refresh(self) -> None:
        """Check what was added since the last time; cut off a last line that a kill or a full disk left half written.

        Raises UserError when the journal lost or changed anything; it is left as it is then.
        """
        size = self._current_size()
        known = self.witness.read()
        if size < self._size or (known is not None and size < known.size):
            raise self._shorter(size, known.lines if known and known.size > self._size else self._lines)
        before = (self._size, self._lines, self._sum.copy(), len(self._entries))
        try:
            self._check_new(known)
        except UserError:
            self._size, self._lines, self._sum = before[:3]
            del self._entries[before[3] :]
            raise
        if self._size < size:
            os.truncate(self.path, self._size)
        if known is None or known.size != self._size:
            self.witness.write(self._size, self._lines, self._sum.hexdigest())

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Entries from that number on."""
        if log_number_from < self._first:  # another reader of this journal: from its beginning
            self._size = self._lines = self._first = 0
            self._sum = hashlib.blake2b(digest_size=16)
            self._entries = []
            self._check_new(None)
        elif self._current_size() != self._size:
            self._check_new(self.witness.read())
        del self._entries[: log_number_from - self._first]
        self._first = log_number_from
        return list(self._entries)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries, on the disk when this returns. Raises OSError (a full disk); nothing is added then."""
        if self._current_size() != self._size:
            self.refresh()
        total = self._sum.copy()
        data = b""
        for log in logs:
            line = seal({**log, BEFORE: _short(total)}).encode()
            total.update(line)
            data += line
        with open(self.path, "ab", buffering=0) as file:
            try:
                written = file.write(data)
                if written != len(data):
                    file.write(data[written:])  # raises why, or goes on
                if file.tell() != self._size + len(data):
                    raise OSError(28, "No space left on device")
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), self._size)
                raise
        self._entries += [_without_seal(unseal(line.decode())) for line in data.splitlines(keepends=True)]
        self._size += len(data)
        self._lines += len(logs)
        self._sum = total
        self.witness.write(self._size, self._lines, total.hexdigest())

    def _current_size(self) -> int:
        """Raises UserError when this is another file by now, or none."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            if self._inode == 0:
                raise
            raise UserError(
                f"{self.path} was removed while the study was at work: restore it, or start the command again"
            ) from None
        if self._inode not in (0, status.st_ino):
            raise UserError(f"{self.path} was replaced while the study was at work: start the command again")
        self._inode = status.st_ino
        return status.st_size

    def _check_new(self, known: Any) -> None:
        """Whole lines after those that were checked. `known`: what the witness says."""
        with open(self.path, "rb") as file:
            file.seek(self._size)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = self._checked(line)
                except _OrderError:
                    raise self._damaged(
                        f"{self.path}:{self._lines + 1}: a line before this one was changed, doubled or lost"
                    ) from None
                except (ValueError, KeyError, TypeError, RecursionError):
                    raise self._damaged(f"{self.path}:{self._lines + 1}: the line is damaged") from None
                self._sum.update(line)
                self._size += len(line)
                self._lines += 1
                self._entries.append(entry)
                if known is not None and known.size == self._size and known.digest != self._sum.hexdigest():
                    raise self._damaged(f"{self.path}: a line among the first {self._lines} was changed")
        if known is not None and known.size > self._size:
            raise self._shorter(self._size, known.lines)

    def _checked(self, line: bytes) -> dict[str, Any]:
        """The entry of a line. Raises ValueError, KeyError, TypeError or RecursionError for a damaged one."""
        text = line.decode()
        try:
            entry = unseal(text)
        except KeyError:  # another program's line
            entry = json.loads(text)
            if BEFORE in entry:
                raise ValueError("half of a seal") from None
        else:
            if entry[BEFORE] != _short(self._sum):
                raise _OrderError
        if type(entry["op_code"]) is not int or entry["op_code"] not in OPERATIONS:
            raise ValueError("no operation of Optuna's")
        if not isinstance(entry["worker_id"], str):
            raise ValueError("no worker")
        return _without_seal(entry)

    def _damaged(self, what: str) -> UserError:
        return UserError(
            f"{what}: restore the file from a copy, or move {self.path} and {self.witness.path} away and start the "
            "command again, which takes finished runs from outputs/ as they are"
        )

    def _shorter(self, size: int, lines: int) -> UserError:
        return UserError(
            f"{self.path} was cut: it held {lines} lines, and {size} bytes are left: restore it from a copy, or remove "
            f"{self.witness.path} to go on with what is left (runs that it forgot are taken from outputs/ as they are)"
        )


def _check_kind(path: Path) -> None:
    """Raises UserError for a directory, a device or anything else that is no file of ours to write."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is no file, so no study can be kept in it: move it away, or give another study.name")
    if not os.access(path, os.R_OK | os.W_OK):
        raise UserError(f"{path} cannot be read and written by this user: make it so, or use a directory of yours")


def _short(total: Any) -> str:
    return str(total.hexdigest()[:8])


def _without_seal(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop(BEFORE, None)
    return entry
