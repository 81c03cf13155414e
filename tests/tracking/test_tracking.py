"""Tracking against real stores: a SQLite file and, where it matters, a real server on the loopback."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from helpers import small_spec

from eprli_lab.cli.main import main as eprli_lab
from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.description import TAG, StudyDescription
from eprli_lab.tracking.parent import open_parent, parent_summary
from eprli_lab.tracking.read import _client_runs, _sqlite_runs, read_histories, read_runs
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.send import insert
from eprli_lab.tracking.spool import Spool
from eprli_lab.tracking.store import close_dead_runs, mlflow_client, prepare
from eprli_lab.tracking.upload import upload as tracking_upload
from eprli_lab.tracking.uri import check_reachable, resolve_uri, sqlite_file
from eprli_lab.tracking.views import view_link

pytestmark = pytest.mark.slow  # real stores and figures

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A working directory with a store; its creation takes seconds, so the module has one."""
    directory = tmp_path_factory.mktemp("store")
    before = Path.cwd()
    os.chdir(directory)
    assert prepare(TrackingSpec())
    yield directory
    os.chdir(before)


@pytest.fixture(scope="module")
def base():
    return small_spec("tracking.flush_seconds=1000")  # nothing is sent before a flush, a full batch or the end


def spec(base: RunSpec, study: str = "s", arm: str = "l2", seed: int = 0, uri: str | None = None) -> RunSpec:
    where = base.tracking.model_copy(update={"uri": uri} if uri else {})
    return base.model_copy(update={"study": study, "arm": arm, "seed": seed, "tracking": where})


def start(spec: RunSpec, directory: Path, **more) -> RunTracker:
    return RunTracker(spec, **{"parent_run_id": None, "run_id": None, "run_dir": directory} | more)


def train(tracker: RunTracker, first: int, last: int) -> None:
    """Steps of a deterministic training; the clock apart."""
    for step in range(first, last + 1):
        tracker.log({"score": step / 7, "policy/l1/loss": -step / 3, "time/step": time.perf_counter()}, step)
        if step % 4 == 0:  # an evaluation at the same step: its score counts
            tracker.log({"score": step / 7 + 100, "eval/heldout_easy/avg_at_k": step / 50}, step)


def points(run_id: str, uri: str = "sqlite:///mlflow.db") -> dict[tuple[str, int], list[float]]:
    """(metric, step) -> values stored, the clock's left out."""
    out: dict[tuple[str, int], list[float]] = {}
    for _, key, steps, values in read_histories(TrackingSpec(uri=uri), [run_id]):
        for step, value in zip(steps, values, strict=True):
            if not key.startswith("time/"):
                out.setdefault((key, step), []).append(value)
    return out


def expected(last: int) -> dict[tuple[str, int], list[float]]:
    out = {("policy/l1/loss", s): [-s / 3] for s in range(1, last + 1)}
    out |= {("score", s): [s / 7 + (100 if s % 4 == 0 else 0)] for s in range(1, last + 1)}
    return out | {("eval/heldout_easy/avg_at_k", s): [s / 50] for s in range(4, last + 1, 4)}


def test_of_values_at_the_same_step_the_one_logged_last_comes_last(here, base, tmp_path):
    tracker = start(spec(base), tmp_path / "run")
    tracker.log({"score": 0.5, "policy/l1/loss": 1.0}, 1)
    tracker.finish("FINISHED", None)
    db = sqlite3.connect("mlflow.db")
    at = db.execute("SELECT max(timestamp) FROM metrics WHERE key = 'score'").fetchone()[0]
    for later, value in ((2, 0.1), (1, 0.9), (-1, 0.7)):  # as a writer of another version may have left them
        row = ("score", value, at + later, tracker.run_id, 1, 0)
        db.execute("INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?,?,?,?,?,?)", row)
    db.commit()
    assert points(tracker.run_id) == {("policy/l1/loss", 1): [1.0], ("score", 1): [0.7, 0.5, 0.9, 0.1]}


def run_of(run_id: str, uri: str = "sqlite:///mlflow.db"):
    return mlflow_client(resolve_uri(uri)).get_run(run_id)


# --- one run -----------------------------------------------------------------------------------------------------


def test_a_run_as_it_is_stored(here, base, tmp_path):
    parent = open_parent(TrackingSpec(), "roundtrip", StudyDescription(arms=("l2",), seeds=(3,), baseline="l2"))
    mine = spec(base, "roundtrip", seed=3)
    tracker = start(mine, tmp_path, parent_run_id=parent)
    train(tracker, 1, 9)
    (tmp_path / "note.txt").write_text("hello")
    tracker.artifact(tmp_path / "note.txt", "folder")
    tracker.finish("FINISHED", None)

    run = run_of(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "l2/seed3"
    assert run.data.params["curriculum.levels.l2.clip.high"] == "0.28"
    assert {
        k: json.loads(v) if not isinstance(mine.flat()[k], str) else v for k, v in run.data.params.items()
    } == mine.flat()
    wanted = {"study": "roundtrip", "arm": "l2", "seed": "3", "fingerprint": mine.fingerprint(), "kind": "run"}
    wanted |= {"mlflow.parentRunId": parent, "host": socket.gethostname(), "pid": str(os.getpid())}
    assert wanted.items() <= run.data.tags.items()
    assert points(tracker.run_id) == expected(9)
    assert run.data.metrics["score"] == 9 / 7
    assert (here / "mlartifacts").is_dir()
    files = list((here / "mlartifacts").rglob("note.txt"))
    assert [f.parent.name for f in files] == ["folder"]


def test_none_is_left_out_and_what_is_not_finite_is_kept(here, base, tmp_path):
    tracker = start(spec(base), tmp_path)
    tracker.log({"a": None, "b": math.nan, "c": math.inf, "d": -math.inf, "e": 1}, 1)
    tracker.finish("FINISHED", None)
    stored = points(tracker.run_id)
    assert ("a", 1) not in stored
    assert math.isnan(stored["b", 1][0])
    assert stored["c", 1][0] > 1e308 and stored["d", 1][0] < -1e308 and stored["e", 1] == [1.0]
    metrics = run_of(tracker.run_id).data.metrics
    assert math.isnan(metrics["b"]) and metrics["e"] == 1.0


def test_the_fast_path_leaves_what_log_batch_leaves(here, base, tmp_path, monkeypatch):
    rows = []
    for name, fast in (("fast", True), ("slow", False)):
        if not fast:
            monkeypatch.setattr("eprli_lab.tracking.send.insert", lambda *_: False)
        tracker = start(spec(base, "paths", arm=name), tmp_path / name)
        train(tracker, 1, 12)
        tracker.flush()
        train(tracker, 13, 400)  # more than one batch
        tracker.log({"nan": math.nan, "inf": math.inf}, 401)
        tracker.finish("FINISHED", None)
        with sqlite3.connect(here / "mlflow.db") as db:
            query = "SELECT key, step, value, is_nan FROM {} WHERE run_uuid = ? AND key NOT LIKE 'time/%' ORDER BY 1, 2"
            rows.append(
                [db.execute(query.format(t), [tracker.run_id]).fetchall() for t in ("metrics", "latest_metrics")]
            )
    assert rows[0] == rows[1]
    assert len(rows[0][0]) == 400 + 400 + 100 + 2


def test_a_schema_that_we_do_not_know_is_left_to_mlflow(tmp_path):
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE metrics (key TEXT, value REAL, something_new TEXT)")
    assert insert(file, "r", [("a", 1, 2.0, 3)]) is False


def test_flush_blocks_until_stored_and_a_full_batch_goes_by_itself(here, base, tmp_path):
    tracker = start(spec(base), tmp_path)
    train(tracker, 1, 5)
    assert points(tracker.run_id) == {}
    tracker.flush()
    assert points(tracker.run_id) == expected(5)
    for step in range(6, 306):
        tracker.log({f"m{i}": step for i in range(10)}, step)
    deadline = time.monotonic() + 120
    while len(points(tracker.run_id)) < 1000 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(points(tracker.run_id)) >= 1000
    tracker.finish("KILLED", "enough")
    run = run_of(tracker.run_id)
    assert (run.info.status, run.data.tags["eprli.ended"]) == ("KILLED", "enough")


def test_a_step_that_was_flushed_is_not_written_twice(here, base, tmp_path):
    tracker = start(spec(base), tmp_path)
    tracker.log({"a": 1.0, "b": 2.0}, 1)
    tracker.flush()
    tracker.log({"a": 1.0, "b": 3.0}, 1)  # the same again, and a value that replaces one
    for step in range(2, 50):
        tracker.log({"a": 1.0, "b": 2.0}, step)
    assert len(tracker._stored) <= 4  # memory does not grow with the steps
    tracker.finish("FINISHED", None)
    tracker.finish("FAILED", "too late")
    stored = points(tracker.run_id)
    assert (stored["a", 1], stored["b", 1], stored["a", 49]) == ([1.0], [2.0, 3.0], [1.0])
    assert run_of(tracker.run_id).info.status == "FINISHED"


# --- resume ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("killed_at", "sent", "checkpoint"),
    [(10, False, 8), (10, True, 8), (10, True, 10), (10, False, 10), (3, False, None), (9, True, None), (12, True, 4)],
)
def test_killed_and_resumed_equals_uninterrupted(here, base, tmp_path, killed_at, sent, checkpoint):
    mine = spec(base, "resume")
    first = start(mine, tmp_path)
    train(first, 1, killed_at)
    if sent:
        first.flush()  # the store is ahead of the checkpoint; without: behind it
    # no finish: the process is gone
    second = start(mine, tmp_path, run_id=first.run_id, resume_step=checkpoint)
    assert second.run_id == first.run_id
    assert run_of(second.run_id).info.status == "RUNNING"
    train(second, (checkpoint or 0) + 1, 14)
    second.finish("FINISHED", None)
    assert points(second.run_id) == expected(14)
    with sqlite3.connect(here / "mlflow.db") as db:
        query = "SELECT count(*), count(DISTINCT key || '@' || step) FROM metrics WHERE run_uuid = ?"
        count, distinct = db.execute(query, [second.run_id]).fetchone()
    assert count == distinct  # the clock's metrics too: one point a step


def test_values_logged_at_the_checkpoints_step_survive_and_are_replaced(here, base, tmp_path):
    # the checkpoint of step 4 was saved before its evaluation was logged; the evaluation is made again
    mine = spec(base, "resume")
    first = start(mine, tmp_path)
    first.log({"score": 1.0, "progress/tokens": 40.0}, 4)
    second = start(mine, tmp_path, run_id=first.run_id, resume_step=4)
    second.log({"score": 2.0}, 4)
    second.finish("FINISHED", None)
    assert points(second.run_id) == {("score", 4): [2.0], ("progress/tokens", 4): [40.0]}


def test_a_line_cut_short_by_a_kill_is_left_out(here, base, tmp_path):
    mine = spec(base, "resume")
    first = start(mine, tmp_path)
    train(first, 1, 6)
    with (tmp_path / "spool.jsonl").open("a") as file:
        file.write('{"metrics": {"score": 0.')
    second = start(mine, tmp_path, resume_step=6)  # the id comes from the spool
    assert second.run_id == first.run_id
    train(second, 7, 8)
    second.finish("FINISHED", None)
    assert points(second.run_id) == expected(8)


def test_a_store_that_lost_the_run_gets_all_of_it_again(here, base, tmp_path):
    mine = spec(base, "resume")
    first = start(mine, tmp_path)
    train(first, 1, 6)
    first.flush()
    mlflow_client(resolve_uri("sqlite:///mlflow.db")).delete_run(first.run_id)
    second = start(mine, tmp_path, run_id=first.run_id, resume_step=6)
    assert second.run_id != first.run_id
    second.finish("FINISHED", None)
    assert points(second.run_id) == expected(6)


KILLED = """
import json, os, signal, sys
sys.path[:0] = [{repo!r}, {tests!r}, {tests!r} + "/.."]
from pathlib import Path
from test_tracking import start, train
from eprli_lab.config.parse import parse_spec
tracker = start(parse_spec(json.loads(sys.argv[1])), Path(sys.argv[2]))
train(tracker, 1, 10)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_sigkill_loses_nothing_and_leaves_no_run_running(here, base, tmp_path):
    mine = spec(base, "sigkill")
    code = KILLED.format(repo=str(REPO), tests=str(REPO / "tests" / "tracking"))
    done = subprocess.run([sys.executable, "-c", code, mine.model_dump_json(), str(tmp_path)], cwd=here)
    assert done.returncode == -signal.SIGKILL
    run_id = Spool.read(tmp_path / "spool.jsonl").run_id
    assert run_of(run_id).info.status == "RUNNING"
    assert close_dead_runs(TrackingSpec()) >= 1
    run = run_of(run_id)
    assert (run.info.status, run.data.tags["eprli.ended"]) == ("FAILED", "process died")
    tracker = start(mine, tmp_path, run_id=run_id, resume_step=8)
    assert "eprli.ended" not in run_of(run_id).data.tags
    train(tracker, 9, 14)
    tracker.finish("FINISHED", None)
    assert points(run_id) == expected(14)


def test_dead_runs_are_closed_and_living_ones_left(here, base, tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    changed = {
        "dead": {"pid": str(gone.pid)},
        "reused": {"process_start": "another boot/1"},  # this process's id, but not this process
        "elsewhere": {"pid": str(gone.pid), "host": "another-host"},
        "alive": {},
    }
    runs = {}
    for name, tags in changed.items():
        tracker = start(spec(base, "dead", arm=name), tmp_path / name)
        for key, value in tags.items():
            tracker._client.set_tag(tracker.run_id, key, value)
        runs[name] = tracker
    close_dead_runs(TrackingSpec())
    status = {name: run_of(tracker.run_id).info.status for name, tracker in runs.items()}
    reused = "FAILED" if Path("/proc/self/stat").exists() else "RUNNING"
    assert status == {"dead": "FAILED", "reused": reused, "elsewhere": "RUNNING", "alive": "RUNNING"}
    for tracker in runs.values():
        tracker.finish("FINISHED", None)


def test_the_parent_is_made_once_and_holds_the_description(here):
    description = StudyDescription(question="Why?", baseline="a", arms=("a", "b"), seeds=(0,))
    first = open_parent(TrackingSpec(), "parent's", description)  # a quote in the name
    parent_summary(TrackingSpec(), first, {"summary/a/score": 0.5})
    assert run_of(first).info.status == "RUNNING", "a report is not the end of a study"
    parent_summary(TrackingSpec(), first, {"summary/a/score": 0.5}, end=True)
    assert run_of(first).info.status == "FINISHED"
    assert open_parent(TrackingSpec(), "parent's", None) == first
    run = run_of(first)
    assert run.info.status == "RUNNING"
    assert StudyDescription.from_tag(run.data.tags[TAG]) == description
    assert run.data.metrics == {"summary/a/score": 0.5}
    assert "Why?" in run.data.tags["mlflow.note.content"]
    assert "viewStateShareKey=eprli-parent-s" in view_link(TrackingSpec(), "parent's")


# --- stores that are not there -----------------------------------------------------------------------------------


def test_sql_reads_what_the_client_reads(here, base, tmp_path):
    """Of a study with a quote in its name, beside a deleted run and another experiment's."""
    where, name = TrackingSpec(), "it's"
    parent = open_parent(where, name, StudyDescription(question="Q?"))
    for seed in (0, 1, 2):
        tracker = start(spec(base, name, seed=seed), tmp_path / str(seed), parent_run_id=parent)
        tracker.finish("FAILED" if seed == 1 else "FINISHED", None)
    client = mlflow_client(resolve_uri(where.uri))
    client.delete_run(tracker.run_id)
    other = TrackingSpec(experiment="other")
    open_parent(other, name, StudyDescription())
    file = sqlite_file(where.uri)
    for experiment in ("eprli_lab", "other"):
        for study in (name, None):
            by_sql = _sqlite_runs(file, experiment, study)
            by_client = _client_runs(resolve_uri(where.uri), experiment, study)
            assert {r.run_id: r for r in by_sql} == {r.run_id: r for r in by_client}
            assert [r.started for r in by_sql] == [r.started for r in by_client]
    assert [r.status for r in read_runs(where, name)] == ["RUNNING", "FINISHED", "FAILED"]
    assert _sqlite_runs(file, "none", name) is None


def test_a_database_that_is_no_store_is_said_to_be_none(tmp_path):
    for name, content in (("empty.db", b""), ("text.db", b"not a database, but long enough to be looked at" * 30)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read: (it is no MLflow store|file is not a database)"):
            read_runs(TrackingSpec(uri=f"sqlite:///{tmp_path / name}"), "s")
        assert (tmp_path / name).read_bytes() == content


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def broken(kind: str, directory: Path) -> str:
    if kind == "refused":
        return f"http://127.0.0.1:{free_port()}"
    if kind == "no database":
        (directory / "text.db").write_text("this is not a database, it is a text of some length")
        return f"sqlite:///{directory / 'text.db'}"
    return f"sqlite:///{directory / 'missing' / 'mlflow.db'}"


@pytest.mark.parametrize("kind", ["refused", "no database", "no directory"])
def test_an_unreachable_store_spools_says_so_once_and_uploads_later(here, base, tmp_path, kind, caplog):
    mine = spec(base, f"spooled {kind}", uri=broken(kind, tmp_path))
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        tracker = start(mine, tmp_path / "run")
        train(tracker, 1, 10)
        (tmp_path / "file.txt").write_text("x")
        tracker.artifact(tmp_path / "file.txt", "")
        tracker.flush()
        tracker.finish("FINISHED", "well")
    assert time.monotonic() - began < 60  # it gives up, and soon
    assert tracker.run_id is None
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 1
    assert f"eprli-lab upload {tmp_path / 'run'}" in said[0]

    run_id, sent = tracking_upload(tmp_path / "run", "sqlite:///mlflow.db")
    assert sent == len(expected(10)) + 10
    assert points(run_id) == expected(10)
    run = run_of(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "l2/seed0")
    assert run.data.params["budget.unit"] == "tokens"
    assert run_of(run.data.tags["mlflow.parentRunId"]).info.run_name == mine.study
    assert tracking_upload(tmp_path / "run", "sqlite:///mlflow.db") == (run_id, 0)
    spool = Spool.read(tmp_path / "run" / "spool.jsonl")
    spool.run_id = None
    spool.rewrite()
    assert tracking_upload(tmp_path / "run", "sqlite:///mlflow.db") == (run_id, 0)  # found by its token
    assert len(read_runs(TrackingSpec(), mine.study)) == 2  # parent and child


def test_upload_says_what_is_wrong(here, base, tmp_path, capsys):
    assert eprli_lab(["upload", str(tmp_path)]) == 2
    assert "holds no spool.jsonl" in capsys.readouterr().err
    assert eprli_lab(["upload"]) == 2
    assert "usage" in capsys.readouterr().err
    tracker = start(spec(base, uri=broken("refused", tmp_path)), tmp_path)
    assert eprli_lab(["upload", str(tmp_path)]) == 2
    assert "still going on" in capsys.readouterr().err
    tracker.finish("FINISHED", None)
    assert eprli_lab(["upload", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "cannot be reached" in error and len(error.splitlines()) == 1
    assert eprli_lab(["upload", str(tmp_path), "tracking.uri=sqlite:///mlflow.db"]) == 0
    assert "0 points sent" in capsys.readouterr().out


def test_reading_creates_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run a sweep in this directory first"):
        read_runs(TrackingSpec(), "levels")
    assert list(tmp_path.iterdir()) == []


def test_relative_uris_are_resolved_against_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert resolve_uri("sqlite:////a/b.db") == "sqlite:////a/b.db"
    assert resolve_uri("http://host:1") == "http://host:1"


# --- several processes, a real server ----------------------------------------------------------------------------

WRITER = """
import json, sys
sys.path[:0] = [{repo!r}, {tests!r}, {tests!r} + "/.."]
from pathlib import Path
from test_tracking import start, train
from eprli_lab.config.parse import parse_spec
from eprli_lab.tracking.store import prepare
spec = parse_spec(json.loads(sys.argv[1]))
assert prepare(spec.tracking)
tracker = start(spec, Path(sys.argv[2]))
for i in range(0, 400, 5):
    train(tracker, i + 1, i + 5)
    tracker.flush()
tracker.finish("FINISHED", None)
print(tracker.run_id)
"""


@pytest.mark.exhaustive
def test_processes_create_and_write_one_store_at_once(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = WRITER.format(repo=str(REPO), tests=str(REPO / "tests" / "tracking"))
    specs = [spec(base, "many", seed=seed) for seed in range(3)]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, s.model_dump_json(), str(tmp_path / str(s.seed))],
            stdout=subprocess.PIPE,
            text=True,
        )
        for s in specs
    ]
    ids = [job.communicate(timeout=120)[0].strip() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0]
    for run_id in ids:
        assert points(run_id) == expected(400)
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        assert db.execute("SELECT count(*) FROM experiments WHERE name = 'eprli_lab'").fetchone() == (1,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def serve(directory: Path, port: int) -> subprocess.Popen:
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{directory / 'server.db'}",
        "--artifacts-destination",
        str(directory / "a"),
    ]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(
        command, env=environment, cwd=directory, stdout=quiet, stderr=quiet, start_new_session=True
    )
    deadline = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return server
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)


def stop(server: subprocess.Popen) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.mark.exhaustive
def test_a_server_that_dies_in_the_middle_of_a_run(base, tmp_path, caplog):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    server = serve(tmp_path, port)
    try:
        check_reachable(uri)
        assert prepare(TrackingSpec(uri=uri))
        caplog.clear()
        mine = spec(base, "server", uri=uri)
        parent = open_parent(mine.tracking, "server", StudyDescription(arms=("l2",), seeds=(0,)))
        tracker = start(mine, tmp_path / "run", parent_run_id=parent)
        train(tracker, 1, 10)
        tracker.flush()
        assert points(tracker.run_id, uri) == expected(10)
        stop(server)
        began = time.monotonic()
        train(tracker, 11, 20)
        assert time.monotonic() - began < 4  # training is not held up: less than one time-out of a request
        tracker.finish("FINISHED", None)
        assert time.monotonic() - began < 90
        assert sum("upload it with" in r.getMessage() for r in caplog.records) == 1
        server = serve(tmp_path, port)
        run_id, sent = tracking_upload(tmp_path / "run")
        assert run_id == tracker.run_id
        assert sent == len(expected(20)) - len(expected(10)) + 10
        assert points(run_id, uri) == expected(20)
        assert run_of(run_id, uri).info.status == "FINISHED"
        assert tracking_upload(tmp_path / "run") == (run_id, 0)
    finally:
        stop(server)
