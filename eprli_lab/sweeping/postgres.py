"""A study's PostgreSQL database: one connection a process, which holds the study's lock and does the study's work.

An advisory lock is lost with its connection. Because the work is done on the same connection, nothing can be written
after the lock was lost: whatever was not committed by then has not happened, and the step is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

from eprli_lab.errors import UserError

# A server that says one of these is there, and will answer soon.
SOON = ("starting up", "shutting down", "recovery mode", "too many clients", "too many connections", "connection slots")
# Seen by both ends: a machine that is gone without a word is not waited for until TCP gives up (hours).
KEEPALIVE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 4, "connect_timeout": 10}


class ConnectionLostError(Exception):
    """The connection, and the lock with it, is lost or could not be made: the step may be made again."""


class Postgres:
    """The connection to one database, made when it is needed. `where`: its URI without credentials, for sentences."""

    def __init__(self, uri: str, where: str, study: str, lock_patience: float) -> None:
        import sqlalchemy

        import_optuna()
        self.where = where
        self.lock_patience = lock_patience
        self._key = int.from_bytes(hashlib.blake2b(study.encode(), digest_size=7).digest(), "big")
        self._connection: Any = None
        self._optuna: Any = None  # Optuna's storage, which works on the same connection
        self._was_there = False  # did the database ever answer?
        self.url = _with_driver(uri)
        try:
            url = sqlalchemy.engine.make_url(self.url)
            given = {k: v for k, v in KEEPALIVE.items() if k not in url.query}
            arguments = given if url.get_driver_name() in ("psycopg", "psycopg2") else {}
            self._engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, connect_args=arguments)
        except ModuleNotFoundError as error:
            raise UserError(
                f"study.storage: PostgreSQL needs the Python package {error.name}: pip install 'eprli-lab[postgresql]'"
            ) from None
        except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ValueError):
            raise UserError(f"study.storage: '{where}' is no database URI: write postgresql://USER@HOST/NAME") from None

    def acquire(self) -> None:
        """Take the study's lock, over a new connection where the last one is lost.

        Raises ConnectionLostError for a database that is gone for now, UserError for one that cannot be used at all
        and for a lock that somebody holds for too long.
        """
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        try:
            while not self._try(text("SELECT pg_advisory_lock(:key)")):
                if self._is_held_by_one():
                    self.drop()
                    raise UserError(
                        f"study.storage: {self.where}: the study's lock has been held by another process for "
                        f"{self.lock_patience:.0f} s: is one stopped?"
                    )
        except DBAPIError as error:
            self.drop()
            reason = reason_of(error)
            if self._was_there or any(word in reason for word in SOON):
                raise ConnectionLostError(reason) from None
            raise UserError(f"study.storage: {self.where} cannot be reached ({reason})") from None

    def _try(self, statement: Any) -> bool:
        """Take the lock; False when it was not to be had within the server's `lock_timeout`."""
        from sqlalchemy.exc import DBAPIError

        if self._connection is None:
            self._connect()
        try:
            self._connection.execute(statement, {"key": self._key})
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != "55P03":
                raise
            self._connection.rollback()
            return False
        self._connection.commit()
        return True

    def _is_held_by_one(self) -> bool:
        """Has the same process held the lock all the time that we waited, doing nothing? Else many take turns."""
        from sqlalchemy import text

        idle = text(
            "SELECT coalesce(extract(epoch FROM now() - a.state_change), :patience) FROM pg_locks l "
            "JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND (l.classid::bigint << 32) + l.objid::bigint = :key"
        )
        seconds = self._connection.execute(idle, {"key": self._key, "patience": self.lock_patience}).scalar()
        self._connection.commit()
        return seconds is not None and float(seconds) >= 0.9 * self.lock_patience

    def release(self) -> None:
        """Let go of the lock; a lost connection has let go of it."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        if self._connection is None:
            return
        try:
            self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": self._key})
            self._connection.commit()
        except SQLAlchemyError:
            self.drop()

    def drop(self) -> None:
        """Forget the connection: the next step makes another one."""
        connection, self._connection = self._connection, None
        with contextlib.suppress(Exception):  # whatever a driver makes of closing what is broken
            if connection is not None:
                connection.invalidate()
                connection.close()
        with contextlib.suppress(Exception):
            if self._optuna is not None:
                self._optuna.engine.dispose()

    def is_lost(self) -> bool:
        """Is there no connection that works?"""
        if self._connection is None or self._connection.invalidated or self._connection.closed:
            return True
        return bool(self._connection.connection.dbapi_connection.closed)

    def optuna(self) -> Any:
        """Optuna's storage. It works on the connection that holds the lock, and on no other one."""
        from optuna.storages import RDBStorage
        from sqlalchemy.pool import StaticPool

        if self._optuna is not None:
            self._optuna.engine.dispose(close=False)
        self._optuna = None
        self._optuna = RDBStorage(self.url, engine_kwargs={"poolclass": StaticPool, "creator": self._raw})
        return self._optuna

    def _raw(self) -> Any:
        """The driver's connection, for Optuna's engine."""
        if self.is_lost():
            raise ConnectionLostError("the connection was lost in the middle of a step")
        return self._connection.connection.dbapi_connection

    def _connect(self) -> None:
        from sqlalchemy import text

        connection = self._engine.connect()
        try:
            connection.execute(text(f"SET lock_timeout = {int(self.lock_patience * 1000)}"))
            for name, value in KEEPALIVE.items():
                if name != "connect_timeout":
                    connection.execute(text(f"SET tcp_{name} = {value}"))
            connection.commit()
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._connection = connection
        self._was_there = True


def import_optuna() -> None:
    """What Optuna imports as soon as its storage in a database is made: half a second, before the lock is taken."""
    import alembic.command
    import alembic.migration  # noqa: F401
    import optuna.storages._rdb.models  # noqa: F401


def reason_of(error: BaseException) -> str:
    """What a driver or the system said, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _with_driver(uri: str) -> str:
    """psycopg unless the URI names another: what a bare `postgresql://` means depends on SQLAlchemy's version."""
    scheme, _, rest = uri.partition("://")
    return uri if "+" in scheme else f"postgresql+psycopg://{rest}"
