"""A SQLite store is there whole or not at all: made under another name with its complete schema, then moved into place.

MLflow makes its tables by dozens of migrations in the file itself; a kill or a full disk among them would leave a store
that no later command can open.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.files import sync_file, sync_folder
from eprli_lab.tracking.uri import first_line, read_only

log = logging.getLogger(__name__)
CORE = {
    "experiments",
    "experiment_tags",
    "runs",
    "tags",
    "params",
    "metrics",
    "latest_metrics",
}  # of a store
LOGS = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database
EXAMINED = 1 << 28  # bytes of a store whose every page is looked at when a study starts: a second or less
QUIET_SECONDS = 3.0  # without a change: nobody is at work on a half-made store
PATIENCE = 60.0  # s for another process that makes it
RESTORED = "the next start restores the runs from outputs/"


class StoreError(UserError):
    """The store is damaged, or of another version: nothing can be sent to it as it is."""


@contextlib.contextmanager
def store_lock(file: Path) -> Iterator[None]:
    """One process at a time that makes or mends the store. Raises UserError when it cannot be had."""
    from filelock import FileLock, Timeout

    lock = file.with_name(f".{file.name}.lock")
    try:
        with FileLock(lock, timeout=4 * PATIENCE):
            yield
    except Timeout:
        raise UserError(f"{lock} has been held by another process for minutes: is one stopped?") from None


def ensure_store(file: Path) -> None:
    """After it there is a store that this MLflow can use. Call it while holding `store_lock`.

    A half-made one without a run is put aside and made anew, said in one line. Raises UserError, with the way out, for
    one that holds runs and is of another version, for a damaged one, and for a database that is none of MLflow's.
    """
    fault = schema_fault(file)
    if fault and exists(file):
        fault = _wait_for_its_maker(file) or ""
        if fault:
            _put_aside(file, fault)
    if not exists(file):
        _make(file)


def exists(file: Path) -> bool:
    """Is there a file with anything in it?"""
    return file.is_file() and file.stat().st_size > 0


def check_store(file: Path) -> None:
    """Raises StoreError when the file is damaged, or of another version and holds runs; makes nothing."""
    if not exists(file):
        return
    fault = schema_fault(file)
    if fault:
        _refuse_unless_empty(file, fault)
    if file.stat().st_size <= EXAMINED:
        answer = str(_rows(file, "PRAGMA quick_check(1)")[0][0])
        if answer != "ok":
            raise damaged(file, " ".join(answer.split()).removeprefix("*** in database main *** "))


def schema_fault(file: Path) -> str:
    """What keeps this MLflow from using a file, in words; empty when nothing does. Raises UserError for a damaged one.

    A file that is not there, or empty, has the fault that it has no tables.
    """
    if not exists(file):
        return "it has no tables"
    tables = _tables(file)
    version = _rows(file, "SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
    if tables and not (tables & (CORE | {"alembic_version"})):
        raise StoreError(
            f"{file} is another database (tables {', '.join(sorted(tables)[:3])}): give another tracking.uri"
        )
    missing = sorted(CORE - tables)
    if missing:
        return f"it lacks the table {missing[0]}"
    if len(version) != 1:
        return "it does not say its version"
    return "" if version[0][0] == _head() else f"its schema is version {version[0][0]}, MLflow here wants {_head()}"


@functools.cache
def _head() -> str:
    """The version of the schema that the installed MLflow makes."""
    import mlflow
    from alembic.script import ScriptDirectory

    folder = Path(mlflow.__file__).parent / "store" / "db_migrations"
    return str(ScriptDirectory(str(folder)).get_current_head())


def damaged(file: Path, error: BaseException | str) -> StoreError:
    """The sentence for a file that SQLite cannot read."""
    why = error if isinstance(error, str) else first_line(error)
    return StoreError(
        f"{file} is damaged ({why}): move it away (mv {file.name} {file.name}.damaged, and {file.name}-wal too where "
        f"there is one); {RESTORED}"
    )


def _rows(file: Path, query: str) -> list[Any]:
    """Raises UserError for a file that SQLite finds damaged, ConnectionError for one that it cannot open now."""
    import sqlite3

    connection = read_only(file)
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError as error:  # busy, or not to be opened
        raise ConnectionError(f"{file}: {first_line(error)}") from None
    except sqlite3.DatabaseError as error:
        raise damaged(file, error) from None
    finally:
        connection.close()


def _tables(file: Path) -> set[str]:
    return {name for (name,) in _rows(file, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def _runs(file: Path) -> int:
    return int(_rows(file, "SELECT count(*) FROM runs")[0][0]) if "runs" in _tables(file) else 0


def _refuse_unless_empty(file: Path, fault: str) -> None:
    held = _runs(file)
    if held:
        runs = f"{held} run{'s' if held > 1 else ''}"
        raise StoreError(
            f"{file} holds {runs}, but {fault}: after a copy of it, run `mlflow db upgrade sqlite:///{file}` (with the "
            f"MLflow of the newer version), or move it away; {RESTORED}"
        )


def _wait_for_its_maker(file: Path) -> str:
    """The fault that is left once nobody has changed the file for a while: an `mlflow ui` may be making it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        fault = schema_fault(file)
        if not fault:
            return ""
        changed = max((f.stat().st_mtime for f in _with_logs(file) if f.exists()), default=0.0)
        if not 0.0 <= time.time() - changed < QUIET_SECONDS:
            return fault
        time.sleep(0.1)
    return schema_fault(file)


def _put_aside(file: Path, fault: str) -> None:
    """Out of the way, with its log: a half-made store that holds no run."""
    import sqlite3

    _refuse_unless_empty(file, fault)
    connection = sqlite3.connect(file, timeout=PATIENCE)
    try:
        connection.execute("BEGIN EXCLUSIVE")  # nobody is writing, and what a kill left half written is undone
        where = move_aside(file, "half-made")
    except sqlite3.DatabaseError as error:
        raise damaged(file, error) from None
    finally:
        connection.close()
    log.warning("tracking: %s was only half made (%s) and held no run: made anew (kept as %s)", file, fault, where)


def move_aside(file: Path, why: str) -> str:
    """Rename a database and its logs to the first free `<name>.<why>-<n>`; that name."""
    number = 1
    while any(f.exists() for f in _with_logs(file.with_name(f"{file.name}.{why}-{number}"))):
        number += 1
    target = file.with_name(f"{file.name}.{why}-{number}")
    for old, new in zip(_with_logs(file), _with_logs(target), strict=True):
        with contextlib.suppress(FileNotFoundError):
            old.rename(new)
    return target.name


def _with_logs(file: Path) -> list[Path]:
    return [file, *(file.with_name(file.name + end) for end in LOGS)]


def _make(file: Path) -> None:
    """Under another name, to the last table; then moved into place. A log that was left there is of another one."""
    import sqlite3

    leftovers = file.parent.glob(f".{file.name}.new*")
    for path in leftovers:  # of one that was killed: we hold the lock
        path.unlink(missing_ok=True)
    new = file.with_name(f".{file.name}.new")
    try:
        _initialize(new)
        connection = sqlite3.connect(new, timeout=30)
        try:
            connection.execute("PRAGMA journal_mode=WAL")  # readers beside one writer; the mode stays with the file
        finally:
            connection.close()
        sync_file(new)
        if any(f.exists() for f in _with_logs(file)[1:]):
            file.unlink(missing_ok=True)  # an empty one
            log.warning("tracking: the log of a store that is gone was put aside as %s-*", move_aside(file, "left"))
        new.replace(file)
    except Exception as error:
        raise ConnectionError(f"{file} cannot be made ({first_line(error)})") from None
    finally:
        for path in _with_logs(new):
            path.unlink(missing_ok=True)
    sync_folder(file.parent)


def _initialize(file: Path) -> None:
    """MLflow's own schema in a file, all its migrations run, and no connection left open."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"sqlite:///{file}"
    store: Any = SqlAlchemyStore
    store(uri, "./mlruns").engine.dispose()
