"""A study's SQLite file: is it ours, is it whole, is it as it was left?

SQLite sees a broken page, but not a changed value. So a witness beside the file holds its digest between two steps, and
SQLite's own count of changes: another program's write (optuna-dashboard) counts it up, a damage does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eprli_lab.errors import UserError
from eprli_lab.files import seal, unseal
from eprli_lab.sweeping.clocks import Clock

HEADER = b"SQLite format 3\0"
COUNT = slice(24, 28)  # of the header: changes of the file
WAL = 2  # in byte 18 of the header: such a file is not written in place, and its count stands still
WIDTH = 256  # bytes of the witness, written in place
OURS = frozenset({"studies", "version_info"})  # of Optuna's tables: those that every one of its databases has


def check_sqlite(path: Path) -> None:
    """Raises UserError when there is something that is no database of ours to read and write. Nothing is made."""
    if str(path) in (":memory:", "."):
        raise UserError("study.storage: sqlite:/// needs a file, which outlives the command: sqlite:///studies/all.db")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"study.storage: {path} cannot be used ({error.strerror}): name another file") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"study.storage: {path} is no file: name one, sqlite:///studies/all.db")
    if not os.access(path, os.R_OK | os.W_OK):
        raise UserError(f"study.storage: {path} cannot be read and written by this user: use a file of yours")
    with open(path, "rb") as file:
        head = file.read(100)
    if not head:
        return
    if not head.startswith(HEADER):
        raise UserError(
            f"study.storage: {path} is no SQLite database, or a damaged one: restore it, or name another file"
        )
    tables = _tables(path)
    if tables and not tables & OURS and not tables <= _optuna_tables():
        shown = ", ".join(sorted(tables)[:3])
        raise UserError(
            f"study.storage: {path} is another application's database (tables {shown}, ...): name another file"
        )


def damaged(path: Path, why: str) -> UserError:
    """The sentence of a damaged database."""
    return UserError(
        f"study.storage: {path} is damaged ({' '.join(why.split())}): restore it from a copy, or move it and its "
        ".witness away and start the command again, which takes finished runs from outputs/ as they are"
    )


class SqliteGuard:
    """Holds a study's SQLite file against its witness before and after each step. Several studies may share one."""

    def __init__(self, path: Path, clock: Clock, patience: float) -> None:
        self.path = path
        self.clock = clock
        self.patience = patience  # s, for another process's step
        self.witness = path.with_name(f"{path.name}.witness")
        self._verified = b""  # the count of changes at which this process saw that all is well
        self._depth = 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """For one step. Raises UserError for a file that was damaged since the last one."""
        if self._depth:
            yield
            return
        self._depth += 1
        try:
            with self._locked() as handle:
                before, known = self._check(handle)
                _write(handle, {"state": "writing"})
                try:
                    yield
                finally:
                    count = self._count()
                    if count != before or known is None:
                        known = {"state": "whole", "count": count.hex(), "digest": self._digest()}
                    _write(handle, known)
                    self._verified = count
        finally:
            self._depth -= 1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            handle = os.open(self.witness, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(
                f"study.storage: {self.witness} cannot be written ({error.strerror}): use a directory of yours"
            ) from None
        try:
            self._flock(handle)
            yield handle
        finally:
            os.close(handle)

    def _flock(self, handle: int) -> None:
        deadline = self.clock.monotonic() + self.patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if self.clock.monotonic() > deadline:
                    raise UserError(
                        f"{self.witness} has been held by another process for {self.patience:.0f} s: is one stopped?"
                    ) from None
                self.clock.sleep(0.02)
            except OSError:  # a file system without locks: the study's own lock says so
                return

    def _check(self, handle: int) -> tuple[bytes, dict[str, Any] | None]:
        """(count of changes, what the witness says; None where it has to be written anew)."""
        count = self._count()
        known = self._known(handle)
        if known is not None and known.get("count") and not count:
            raise damaged(self.path, "it is gone or empty")
        if known is None or known["state"] == "writing":  # new, an earlier version's, or a kill in mid-step
            if count != self._verified or not count:
                _quick_check(self.path)
            return count, None
        was = bytes.fromhex(known["count"])
        if count == was:
            if count != self._verified and self._digest() != known["digest"]:
                raise damaged(self.path, "not what was written")
            return count, known
        if count < was:
            raise damaged(self.path, "older than when it was last used")
        _quick_check(self.path)
        return count, None

    def _known(self, handle: int) -> dict[str, Any] | None:
        data = os.pread(handle, WIDTH + 1, 0)
        if not data:
            return None
        try:
            if len(data) != WIDTH:
                raise ValueError("another width")
            return unseal(data.decode())
        except (ValueError, KeyError):
            raise UserError(
                f"{self.witness} is damaged, so nobody can tell whether {self.path} is whole: restore both from a "
                "copy, or remove it to go on with what the database holds"
            ) from None

    def _count(self) -> bytes:
        """SQLite's count of changes; empty for a database that is not there yet, zeros where nobody counts."""
        try:
            with open(self.path, "rb") as file:
                head = file.read(100)
        except FileNotFoundError:
            return b""
        return bytes(4) if head[18:19] == bytes([WAL]) else head[COUNT]

    def _digest(self) -> str:
        if self._count() in (b"", bytes(4)):
            return ""
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _write(handle: int, entry: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a full disk: as after a kill in mid-step
        os.pwrite(handle, (seal(entry)[:-1].ljust(WIDTH - 1) + "\n").encode(), 0)


def _quick_check(path: Path) -> None:
    """Raises UserError when SQLite finds its pages damaged."""
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.text_factory = bytes  # what is damaged may be no text
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: of a message that quotes the damage
        raise damaged(path, str(error)) from None
    if answer != b"ok":
        raise damaged(path, answer.decode(errors="replace"))


def _tables(path: Path) -> set[str]:
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=60)
        ) as connection:
            connection.text_factory = bytes  # what is damaged may be no text
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.OperationalError:  # a kill in mid-write left it to be rolled back, which needs more than reading
        return set()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: of a message that quotes the damage
        raise damaged(path, str(error)) from None
    return {name.decode(errors="replace") for (name,) in rows}


def _optuna_tables() -> set[str]:
    from optuna.storages._rdb.models import BaseModel

    return set(BaseModel.metadata.tables) | {"alembic_version"}
