"""Where a study is kept (journal file, SQLite, PostgreSQL), and its one lock.

Everything that reads and writes a study does so while it holds the lock: "is there anything left? then take it" is one
indivisible step, so any number of processes on any machines can work on one study. The system lets go of the lock when
its holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from eprli_lab.errors import UserError

DIRECTORY = Path("studies")
LOCK_PATIENCE = 120.0  # s; a step under the lock takes milliseconds, a draw from a Gaussian process a second or two


class Storage:
    """One place where studies are kept; `uri` None: `studies/<study>.journal` in the working directory.

    Raises UserError when it cannot be opened, names the cause and the cure, and never shows a password.
    """

    def __init__(self, uri: str | None, study: str) -> None:
        self.study = study
        self._depth = 0  # how often this process holds the lock
        self.path: Path | None = None  # of the file, where it is one
        self._engine: Any = None
        if uri is None or uri.startswith("sqlite:///"):
            self.path = DIRECTORY / f"{study}.journal" if uri is None else Path(uri.removeprefix("sqlite:///"))
            self.kind = "journal" if uri is None else "sqlite"
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"study.storage: {self.path.parent} cannot be made ({error.strerror})") from None
            self.where = str(self.path)
        elif uri.partition("://")[0].split("+")[0] in ("postgresql", "postgres"):
            self.kind = "postgresql"
            self.where = _without_password(uri)
            self._engine = _engine(uri)
        else:
            raise UserError(
                f"study.storage: '{_without_password(uri)}' is no storage: leave it out (a journal file), or use "
                "sqlite:///FILE or postgresql://USER@HOST/NAME"
            )
        self.uri = uri

    def optuna(self) -> Any:
        """The Optuna storage. Call it while holding the lock: it may make tables."""
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        if self.kind == "journal":
            return JournalStorage(JournalFileBackend(str(self.path), lock_obj=cast(Any, _Unneeded())))
        if self.kind == "sqlite":
            return RDBStorage(f"sqlite:///{self.path}", engine_kwargs={"connect_args": {"timeout": 60}})
        return RDBStorage(
            str(self.uri).replace("postgres://", "postgresql://", 1), engine_kwargs={"pool_pre_ping": True}
        )

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the study's lock; may be nested. Raises UserError when it cannot be had."""
        if self._depth:
            yield
            return
        with self._advisory() if self._engine is not None else self._flock():
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    @contextlib.contextmanager
    def _flock(self) -> Iterator[None]:
        assert self.path is not None
        lock = self.path.parent / f"{self.study}.lock"
        try:
            file = open(lock, "a")
        except OSError as error:
            raise UserError(f"{lock} cannot be written ({error.strerror}): use a directory of yours") from None
        with file:
            deadline = time.monotonic() + LOCK_PATIENCE
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise UserError(
                            f"{lock} has been held by another process for {LOCK_PATIENCE:.0f} s: is one stopped?"
                        ) from None
                    time.sleep(0.02)
                except OSError as error:
                    raise UserError(
                        f"{lock}: this file system knows no locks ({error.strerror}), so a study cannot be kept on it: "
                        "use study.storage=sqlite:///FILE on a local disk, or postgresql://USER@HOST/NAME"
                    ) from None
            if self.kind == "journal":
                drop_partial_line(self.path)
            yield

    @contextlib.contextmanager
    def _advisory(self) -> Iterator[None]:
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        key = int.from_bytes(hashlib.blake2b(self.study.encode(), digest_size=7).digest(), "big")
        try:
            connection = self._engine.connect()
            connection.execute(text(f"SET lock_timeout = {int(LOCK_PATIENCE * 1000)}"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
            connection.commit()
        except SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", error)).split())
            raise UserError(f"study.storage: {self.where} cannot be reached ({reason})") from None
        with connection:
            try:
                yield
            finally:
                with contextlib.suppress(SQLAlchemyError):  # a lost connection has let go of it
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
                    connection.commit()


class _Unneeded:
    """The journal's own lock: the study's lock is held whenever the journal is touched."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def drop_partial_line(path: Path) -> None:
    """Cut off a last line that a kill or a full disk left half written: Optuna could not read past it."""
    if not path.is_file() or not path.stat().st_size:
        return
    with open(path, "r+b") as file:
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _engine(uri: str) -> Any:
    import sqlalchemy

    try:
        return sqlalchemy.create_engine(_with_driver(uri), pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise UserError(
            f"study.storage: PostgreSQL needs the Python package {error.name}: pip install 'eprli-lab[postgresql]'"
        ) from None
    except sqlalchemy.exc.ArgumentError:
        raise UserError(
            f"study.storage: '{_without_password(uri)}' is no database URI: write postgresql://USER@HOST/NAME"
        ) from None


def _with_driver(uri: str) -> str:
    """psycopg unless the URI names another: what a bare `postgresql://` means depends on SQLAlchemy's version."""
    scheme, _, rest = uri.partition("://")
    return uri if "+" in scheme else f"postgresql+psycopg://{rest}"


def _without_password(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    scheme, sep, user = head.partition("://")
    return f"{scheme}{sep}{user.partition(':')[0]}{at}{tail}" if at else uri
