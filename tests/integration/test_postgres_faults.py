"""PostgreSQL restarted, full of connections, or cutting them in the middle of a step: nothing doubled, nothing half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import postgres
import pytest
from conftest import REPO
from sweeping_work import arms, behave, expected, make_plan

from eprli_lab.errors import UserError
from eprli_lab.sweeping import storage
from eprli_lab.sweeping.study import Study

NAMES = "abcd"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")
    behave()


def cut_all(uri: str) -> None:
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tester' AND pid <> pg_backend_pid()"
        )


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_controllers_in_two_directories_go_on_after_a_restart(tmp_path: Path) -> None:
    """Both work on one database; it is gone for some seconds while each of them is in the middle of a run."""
    node = {"arms": arms(*NAMES), "seeds": [0, 1], "workers": 1}
    with postgres.running() as server:
        node["storage"] = server.uri
        processes = []
        for name in ("one", "two"):
            directory = tmp_path / name
            directory.mkdir()
            os.chdir(directory)
            behave(**{f"{a}_{s}": {"seconds": 0.3} for a in NAMES for s in (0, 1)})
            command = [sys.executable, "-m", "sweeping_work", json.dumps(node)]
            log = open("log", "w")
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=directory))
        end = time.monotonic() + 60
        while any(not list((tmp_path / n).glob("outputs/*/*/*/state.json")) for n in ("one", "two")):
            assert time.monotonic() < end
            time.sleep(0.05)
        server.stop("immediate")
        time.sleep(2.0)
        server.start()
        for process in processes:
            process.wait(timeout=90)
        said = "\n".join((tmp_path / n / "log").read_text() for n in ("one", "two"))
        assert {p.returncode for p in processes} == {0}, said
        assert "waiting for postgresql://tester@" in said and "Traceback" not in said
        os.chdir(tmp_path)
        study = Study(make_plan(node))
        trials = study.points()
        study.close()
    assert Counter((t.user_attrs["arm"], t.user_attrs["seed"]) for t in trials) == {
        (a, s): 1 for a in NAMES for s in (0, 1)
    }
    assert {t.state.name for t in trials} == {"COMPLETE"}
    assert sum(t.user_attrs.get("losses", 0) for t in trials) == 0, "nobody was taken for dead"
    for trial in trials:
        assert trial.values == [expected(trial.user_attrs["seed"])]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_connection_that_is_cut_at_any_statement_doubles_nothing() -> None:
    """The whole life of two trials, with the connection cut before the k-th statement."""
    import sqlalchemy
    from sqlalchemy import event

    with postgres.running() as server:
        plan = make_plan({"arms": arms("a", "b"), "seeds": [0], "storage": server.uri})
        import psycopg

        statements = 1000
        k = 0
        while k < statements:
            k += 31
            with psycopg.connect(server.uri, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            count = [0]

            def cut(*_: Any, count: list[int] = count, k: int = k) -> None:
                count[0] += 1
                if count[0] == k:
                    cut_all(server.uri)

            study = Study(plan)
            event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", cut)
            try:
                task = study.claim()
                assert task is not None and study.succeed(task, {"score": 0.25}, 1.0) == "complete"
                task = study.claim()
                assert task is not None and study.fail(task, "once") and not study.fail(task, "twice")
                study.heartbeat({})
            finally:
                event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", cut)
            assert [
                (t.state.name, t.values, t.user_attrs.get("failures"), t.user_attrs.get("losses"))
                for t in study.points()
            ] == [("COMPLETE", [0.25], None, None), ("FAIL", None, 2, None)], k
            study.close()
            statements = count[0]
        assert k > 100


@pytest.mark.slow
def test_too_many_connections_are_waited_for_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    with postgres.running("-c max_connections=5 -c superuser_reserved_connections=3") as server:
        plan = make_plan({"arms": arms("a"), "seeds": [0], "storage": server.uri})
        others = []
        try:
            while True:
                others.append(psycopg.connect(server.uri))
        except psycopg.OperationalError:
            pass
        monkeypatch.setattr(storage, "PATIENCE", 1.0)
        with pytest.raises(UserError) as caught:
            Study(plan)
        assert "too many clients" in str(caught.value) and "the same command goes on" in str(caught.value)
        monkeypatch.setattr(storage, "PATIENCE", 60.0)
        waits: list[str] = []

        def on_wait(self: Any, *arguments: Any) -> float:
            waits.append(arguments[0])
            others.pop().close()
            return original(self, *arguments)

        original = storage.Storage._wait
        monkeypatch.setattr(storage.Storage, "_wait", on_wait)
        study = Study(plan)
        study.close()
        assert waits
        for other in others:
            other.close()
