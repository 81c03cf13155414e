"""A SQLite store is whole or not there: kills, full disks, eight processes at once, half-made ones, logs left behind."""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import small_spec

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking import birth
from eprli_lab.tracking.birth import ensure_store, exists, schema_fault, store_lock
from eprli_lab.tracking.quiet import quiet_mlflow
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.store import open_store, prepare
from eprli_lab.tracking.upload import upload

pytestmark = pytest.mark.slow  # stores are made, which takes a second each
FORK = mp.get_context("fork")  # MLflow is imported once


def make(file: Path) -> None:
    with store_lock(file):
        ensure_store(file)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was just born."""
    quiet_mlflow()
    file = tmp_path_factory.mktemp("born") / "mlflow.db"
    make(file)
    return file


@pytest.fixture
def store(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(birth, "QUIET_SECONDS", 0.0)
    return Path(shutil.copy(whole, tmp_path / "mlflow.db"))


def change(file: Path, *statements: str) -> None:
    with sqlite3.connect(file) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def in_child(work: Callable[[], None]) -> int:
    """Exit code of a process that does this; 2 when it raised what is the user's to mend."""

    def body() -> None:
        try:
            work()
        except (UserError, ConnectionError):
            os._exit(2)
        os._exit(0)

    child = FORK.Process(target=body)
    child.start()
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode


def test_a_store_is_born_whole_with_nothing_beside_it(whole: Path) -> None:
    assert sorted(p.name for p in whole.parent.iterdir()) == [".mlflow.db.lock", "mlflow.db"]
    assert schema_fault(whole) == ""
    with sqlite3.connect(whole) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
    db.close()


def test_a_kill_while_it_is_made_leaves_nothing_that_the_next_start_stumbles_over(whole: Path, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    child = FORK.Process(target=make, args=(file,))
    child.start()
    new = tmp_path / ".mlflow.db.new"
    while not (new.is_file() and new.stat().st_size > 100_000):  # in the middle of its migrations
        assert child.is_alive(), "it was made before it could be killed"
        time.sleep(0.001)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(60)
    assert not file.exists() and new.exists(), "half made, under another name"
    make(file)
    assert schema_fault(file) == "" and not list(tmp_path.glob(".mlflow.db.new*"))


def test_eight_processes_at_once_make_one(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    children = [FORK.Process(target=open_store, args=(TrackingSpec(),)) for _ in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * 8
    with sqlite3.connect("mlflow.db") as db:
        assert db.execute("SELECT count(*) FROM experiments WHERE name = 'eprli_lab'").fetchone() == (1,)
    db.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = '451aebb31d03'",
        "DROP TABLE latest_metrics",
    ],
    ids=["an earlier version", "a table missing"],
)
def test_a_half_made_store_without_runs_is_made_anew_and_said(
    store: Path, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    change(store, statement)
    with caplog.at_level(logging.WARNING):
        assert prepare(TrackingSpec())
    assert schema_fault(store) == ""
    assert store.with_name("mlflow.db.half-made-1").is_file(), "nothing is thrown away"
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 1 and "was only half made" in said[0] and "mlflow.db.half-made-1" in said[0]


def test_a_store_of_another_version_that_holds_runs_is_named_with_the_way_out(store: Path) -> None:
    open_store(TrackingSpec())[0].create_run("1")
    change(store, "UPDATE alembic_version SET version_num = '451aebb31d03'")
    before = sqlite3.connect(store).execute("SELECT run_uuid FROM runs").fetchall()
    with pytest.raises(
        UserError, match=r"holds 1 run, but its schema is version 451aebb31d03.*mlflow db upgrade"
    ) as error:
        prepare(TrackingSpec())
    assert "move it away; the next start restores the runs from outputs/" in str(error.value)
    assert sqlite3.connect(store).execute("SELECT run_uuid FROM runs").fetchall() == before and len(before) == 1


def test_a_store_that_another_program_is_making_is_waited_for(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = sqlite3.connect(store).execute("SELECT version_num FROM alembic_version").fetchone()[0]
    change(store, "DELETE FROM alembic_version")
    monkeypatch.setattr(birth, "QUIET_SECONDS", 60.0)
    looks: list[str] = []

    def look(file: Path) -> str:
        if looks:
            change(file, f"INSERT INTO alembic_version VALUES ('{version}')")
        looks.append(fault := schema_fault(file))
        return fault

    monkeypatch.setattr(birth, "schema_fault", look)
    ensure_store(store)
    assert looks[0] == "it does not say its version" and looks[-1] == ""
    assert not store.with_name("mlflow.db.half-made-1").exists()


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.db"
    change(file, "CREATE TABLE letters (text)", "INSERT INTO letters VALUES ('dear')")
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"is another database \(tables letters\): give another tracking.uri"):
        prepare(TrackingSpec(uri=f"sqlite:///{file}"))
    assert file.read_bytes() == before


def test_the_log_of_a_store_that_was_moved_away_is_not_taken_for_the_new_ones(store: Path) -> None:
    keeper = sqlite3.connect(store)
    keeper.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('old', 'active')")
    keeper.commit()
    log = store.with_name("mlflow.db-wal").read_bytes()
    keeper.close()
    store.unlink()
    store.with_name("mlflow.db-wal").write_bytes(log)
    assert prepare(TrackingSpec())
    assert sqlite3.connect(store).execute("SELECT name FROM experiments WHERE name = 'old'").fetchall() == []
    assert store.with_name("mlflow.db.left-1-wal").read_bytes() == log


@pytest.mark.exhaustive
def test_an_empty_file_is_no_store_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mlflow.db").touch()
    assert prepare(TrackingSpec()) and exists(Path("mlflow.db"))


def test_a_store_that_was_replaced_under_a_process_is_opened_anew(store: Path, whole: Path) -> None:
    client, experiment = open_store(TrackingSpec())
    lost = client.create_run(experiment).info.run_id
    birth.move_aside(store, "gone")
    client, experiment = open_store(TrackingSpec())
    kept = client.create_run(experiment).info.run_id
    rows = sqlite3.connect(store).execute("SELECT run_uuid FROM runs").fetchall()
    assert rows == [(kept,)] and lost != kept


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", [300_000, 600_000])
def test_a_disk_that_is_full_while_it_is_made_leaves_nothing(whole: Path, tmp_path: Path, size: int) -> None:
    file = tmp_path / "mlflow.db"

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        make(file)

    assert in_child(limited) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mlflow.db.lock"]
    if size == 600_000:
        make(file)
        assert schema_fault(file) == ""


@pytest.mark.exhaustive
def test_a_disk_that_becomes_full_leaves_a_store_that_goes_on(store: Path, tmp_path: Path) -> None:
    """A run whose store may not grow any more is spooled; once there is space, all of it is sent, and nothing twice."""
    mine = small_spec("tracking.flush_seconds=0.01").model_copy(update={"arm": "a", "study": "s"})
    directory = tmp_path / "run"
    open_store(TrackingSpec())

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        room = max(store.stat().st_size, store.with_name("mlflow.db-wal").stat().st_size) + 30_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        tracker = RunTracker(mine, parent_run_id=None, run_id=None, run_dir=directory)
        for step in range(40):
            tracker.log({f"metric/{i}": step / 7 + i for i in range(50)}, step)
            tracker.flush()
        tracker.finish("FINISHED", None)

    assert in_child(limited) == 0
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        before = db.execute("SELECT count(*) FROM metrics").fetchone()[0]
    db.close()
    assert before < 2000, "the limit was not reached"
    upload(directory)
    with sqlite3.connect(store) as db:
        count = "SELECT count(*), count(DISTINCT key || '@' || step) FROM metrics"
        assert db.execute(count).fetchone() == (2000, 2000)
        assert db.execute("SELECT status FROM runs WHERE name = 'a/seed0'").fetchall() == [("FINISHED",)]
    db.close()


def test_a_store_that_ends_with_its_process_is_refused() -> None:
    with pytest.raises(UserError, match=r"sqlite:///:memory: ends with its process: give a file"):
        prepare(TrackingSpec(uri="sqlite:///:memory:"))


def test_a_missing_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eprli_lab.tracking.store.check_reachable", lambda uri: None)  # as if a server listened there
    with pytest.raises(UserError, match=r"needs the Python package \w+: install it"):
        prepare(TrackingSpec(uri="mssql+pyodbc://me@127.0.0.1:1/none"))
