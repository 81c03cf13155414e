"""Where a study is kept (journal file, SQLite, PostgreSQL), and its one lock.

Everything that reads and writes a study does so while it holds the lock: "is there anything left? then take it" is one
indivisible step, so any number of processes on any machines can work on one study. The system lets go of the lock when
its holder ends, however it ends. A step that a lost connection or a full disk interrupted is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from eprli_lab.errors import DISK_FULL, UserError
from eprli_lab.masking import mask
from eprli_lab.sweeping.clocks import Clock
from eprli_lab.sweeping.locks import is_there
from eprli_lab.sweeping.postgres import ConnectionLostError, Postgres, reason_of
from eprli_lab.sweeping.sqlite_file import SqliteGuard, check_sqlite, damaged

DIRECTORY = Path("studies")
LOCK_PATIENCE = 120.0  # s; a step under the lock takes milliseconds, a draw from a Gaussian process a second or two
LOOK_AGAIN = 0.02  # s between two tries for a lock file, on average, at first
HOLDER = 128  # bytes of a lock file: who holds it or held it last, and which turn of its that is
PATIENCE = 180.0  # s that a step waits for a database that is gone, or for room on a full disk

T = TypeVar("T")


class Storage:
    """One place where studies are kept; `uri` None: `studies/<study>.journal` in the working directory.

    Raises UserError when it cannot be opened, names the cause and the cure, and never shows a password. `on_wait` hears
    a sentence when a step has to wait; `give_up` says whether it is to wait no longer.
    """

    def __init__(self, uri: str | None, study: str, clock: Clock | None = None) -> None:
        self.study = study
        self.clock = clock or Clock()
        self.on_wait: Callable[[str], None] = lambda _: None
        self.give_up: Callable[[], bool] = lambda: False
        self.path: Path | None = None  # of the file, where it is one
        self.interruptions = 0  # how often a step had to wait for a database or a disk
        self.is_lost = False  # a step was given up: nothing more can be kept here for now
        self._depth = 0  # how often this process holds the lock
        self._turns = 0  # how often it has held a lock file
        self._journal: Any = None
        self._guard: SqliteGuard | None = None
        self._postgres: Postgres | None = None
        if uri is None or uri.startswith("sqlite:///"):
            self.path = DIRECTORY / f"{study}.journal" if uri is None else Path(uri.removeprefix("sqlite:///"))
            self.kind = "journal" if uri is None else "sqlite"
            if self.kind == "sqlite":
                check_sqlite(self.path)
                self._guard = SqliteGuard(self.path, self.clock, LOCK_PATIENCE)
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"study.storage: {self.path.parent} cannot be made ({error.strerror})") from None
            self.where = str(self.path)
        elif uri.partition("://")[0].split("+")[0] in ("postgresql", "postgres"):
            self.kind = "postgresql"
            self.where = mask(uri)
            self._postgres = Postgres(uri, self.where, study, LOCK_PATIENCE)
        else:
            raise UserError(
                f"study.storage: '{mask(uri)}' is no storage: leave it out (a journal file), or use "
                "sqlite:///FILE or postgresql://USER@HOST/NAME"
            )
        self.uri = uri

    @property
    def files(self) -> str:
        """What a user removes to start over; empty for a database server."""
        return f"{self.where}, {self.where}.witness" if self.path else ""

    def optuna(self) -> Any:
        """The Optuna storage. Call it within a step: it may make tables. Raises UserError for one that is damaged."""
        from optuna.storages import JournalStorage, RDBStorage

        try:
            if self._postgres is not None:
                return self._postgres.optuna()
            if self.kind == "sqlite":
                return RDBStorage(f"sqlite:///{self.path}", engine_kwargs={"connect_args": {"timeout": 60}})
            return JournalStorage(self._open_journal())
        except (UserError, OSError, ConnectionLostError):
            raise
        except Exception as error:  # whatever Optuna and its libraries make of contents that are not theirs
            if self._passing(error):
                raise
            raise self.unreadable(error) from None

    def step(self, action: Callable[[], T]) -> T:
        """What `action` returns, made under the lock; made again when the connection was lost or the disk full.

        So it has to find what it has done already. Raises UserError when the storage is not back within `PATIENCE`.
        """
        deadline = 0.0
        pause = 0.1
        while True:
            try:
                with self.exclusive(), self._guarded():
                    return action()
            except Exception as error:
                reason = self._passing(error)
                if self._depth or not reason:  # within a longer hold of the lock, which cannot be made again
                    raise self._sentence(error) from error
                deadline = self._wait(reason, deadline, pause)
                pause = min(2 * pause, 5.0)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the study's lock; may be nested. Raises UserError when it cannot be had."""
        if self._depth:
            yield
            return
        with self._advisory() if self._postgres is not None else self._flock():
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def close(self) -> None:
        """Let go of the connection to a database server, until the next step."""
        if self._postgres is not None:
            self._postgres.drop()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """An SQLite file is held against its witness; a journal looks after itself."""
        with self._guard.hold() if self._guard is not None else contextlib.nullcontext():
            yield

    def _open_journal(self) -> Any:
        from eprli_lab.sweeping.journal import Journal

        assert self.path is not None
        self._journal = Journal(self.path)
        return self._journal

    @contextlib.contextmanager
    def _flock(self) -> Iterator[None]:
        assert self.path is not None
        with self._lock_file(self.path.parent / f"{self.study}.lock"):
            if self._journal is not None:
                self._journal.refresh()
            yield

    @contextlib.contextmanager
    def _lock_file(self, lock: Path) -> Iterator[None]:
        holder: bytes | None = None
        deadline = 0.0
        pause = LOOK_AGAIN
        while True:
            try:
                handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)  # no waiting for a pipe's reader
            except OSError as error:
                raise UserError(f"{lock} cannot be written ({error.strerror}): use a directory of yours") from None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_there(lock, handle):
                    break
                os.close(handle)  # somebody removed it meanwhile, and others lock the next one
            except BlockingIOError:
                present = os.pread(handle, HOLDER, 0)
                os.close(handle)
                if present != holder:  # many take turns: none of them is stopped
                    holder = present
                    deadline = self.clock.monotonic() + LOCK_PATIENCE
                elif self.clock.monotonic() > deadline:
                    raise UserError(
                        f"{lock} has been held by another process for {LOCK_PATIENCE:.0f} s: is one stopped?"
                    ) from None
                self.clock.sleep(random.uniform(0.5, 1.5) * pause)  # else those in step with others never get it
                pause = min(1.2 * pause, 5 * LOOK_AGAIN)  # the looks of 64 took more of a machine than their work
            except OSError as error:
                os.close(handle)
                raise UserError(
                    f"{lock}: this file system knows no locks ({error.strerror}), so a study cannot be kept on it: "
                    "use study.storage=sqlite:///FILE on a local disk, or postgresql://USER@HOST/NAME"
                ) from None
        try:
            with contextlib.suppress(OSError):  # a full disk
                self._turns += 1
                os.pwrite(handle, f"{socket.gethostname()[:80]} {os.getpid()} {self._turns}".ljust(HOLDER).encode(), 0)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _advisory(self) -> Iterator[None]:
        assert self._postgres is not None
        deadline = 0.0
        pause = 0.1
        while True:
            try:
                self._postgres.acquire()
                break
            except ConnectionLostError as error:
                deadline = self._wait(str(error), deadline, pause)
                pause = min(2 * pause, 5.0)
        try:
            yield
        except BaseException as error:
            if self._passing(error):
                self._postgres.drop()
            raise
        finally:
            self._postgres.release()

    def _sentence(self, error: Exception) -> Exception:
        """What is raised for an error within a step: a sentence where the storage failed, else the error itself."""
        if isinstance(error, UserError):
            return error
        if isinstance(error, (OSError, ConnectionLostError)):
            return self._unusable(reason_of(error))
        from sqlalchemy.exc import SQLAlchemyError

        causes = [c for c in _causes(error) if isinstance(c, (SQLAlchemyError, sqlite3.Error))]
        return self._unusable(reason_of(causes[-1])) if causes else error

    def _wait(self, reason: str, deadline: float, pause: float) -> float:
        """Wait a little; until when there is to be waited. Raises UserError when that is over."""
        now = self.clock.monotonic()
        self.interruptions += 1
        if not deadline:
            deadline = now + PATIENCE
            self.on_wait(f"waiting for {self.where} ({reason}) ...")
        if now >= deadline or self.give_up():
            raise self._unusable(reason) from None
        self.clock.sleep(pause)
        return deadline

    def _unusable(self, reason: str) -> UserError:
        """Of a storage that could be used until now."""
        self.is_lost = True
        if self._postgres is not None:
            cure = "see that the server answers"
        elif "locked" in reason:
            cure = "end the other program that holds it"
        else:
            cure = "make room, or make it writable"
        return UserError(f"study.storage: {self.where} cannot be used ({reason}): {cure}; the same command goes on")

    def unreadable(self, error: Exception) -> UserError:
        """Of contents that Optuna cannot read."""
        if "no longer compatible" in str(error):
            return UserError(
                f"study.storage: {self.where} was made by another version of Optuna "
                f"({str(error).partition('(')[2].partition(')')[0]}): use that version, or 'optuna storage upgrade', "
                "or name another storage"
            )
        if self.path is None:
            return UserError(f"study.storage: {self.where} cannot be used ({reason_of(error)})")
        if self.kind == "sqlite":
            return damaged(self.path, reason_of(error) or type(error).__name__)
        return UserError(
            f"{self.where}: a line is no entry of a study ({type(error).__name__}): restore it from a copy, or move it "
            f"and {self.where}.witness away and start the command again, which takes finished runs from outputs/ as "
            "they are"
        )

    def _passing(self, error: BaseException) -> str:
        """Why a step failed, where it may be made again; else empty."""
        if isinstance(error, UserError):
            return ""
        if isinstance(error, ConnectionLostError):
            return str(error) or "connection lost"
        if isinstance(error, OSError):
            return os.strerror(error.errno) if error.errno in DISK_FULL else ""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        causes = list(_causes(error))
        said = next((reason_of(cause) for cause in causes if isinstance(cause, DBAPIError)), "")
        if self._postgres is not None:
            concerns = any(isinstance(cause, SQLAlchemyError) for cause in causes)
            full = any(getattr(getattr(cause, "orig", None), "sqlstate", None) == "53100" for cause in causes)
            return (said or "connection lost") if full or (concerns and self._postgres.is_lost()) else ""
        return said if "disk is full" in said else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised from or during, the last first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
