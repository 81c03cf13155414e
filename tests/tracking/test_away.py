"""A tracking server that is late, hangs, answers 500 or dies for a while: MLflow's real server code behind a door of ours.

The door refuses, hangs, answers 500 or lets requests through to MLflow's application in this process, on a real store.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import rest_exhaustive
from helpers import small_spec

from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.tracking import backoff, quiet, store
from eprli_lab.tracking import run as tracking_run
from eprli_lab.tracking.description import StudyDescription
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.read import read_histories, read_runs
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.spool import NAME, Spool
from eprli_lab.tracking.store import prepare
from eprli_lab.tracking.upload import upload

pytestmark = pytest.mark.slow  # stores are made, which takes a second each


class Door:
    """One address. `mode`: through, hang (until it is changed), error (500), lost (done, but the answer is not sent)."""

    def __init__(self, application: Any) -> None:
        self.mode = "through"
        self.requests = 0
        self.lost = ""  # path of the request that is answered too late, once
        self._changed = threading.Event()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            do_PATCH = do_POST

            def answer(self) -> None:
                door.requests += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if door.mode == "hang":
                    door._changed.wait(60)
                    return
                status, data = 500, b"{}"
                if door.mode == "through":
                    reply = application.test_client().open(
                        self.path, method=self.command, data=body, headers=list(self.headers.items())
                    )
                    status, data = reply.status_code, reply.data
                    if door.lost and door.lost in self.path:
                        door.lost = ""
                        status, data = 500, b"{}"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self._handler = Handler
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        """Listen; before it, and after `close`, connections are refused."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def set(self, mode: str) -> None:
        self.mode = mode
        self._changed.set()
        self._changed = threading.Event()

    def close(self) -> None:
        self.set("error")
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """MLflow's own server, as `mlflow server` runs it, on a SQLite store."""
    directory = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{directory}/server.db")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", (directory / "artifacts").as_uri())
        quiet.quiet_mlflow()
        from mlflow.server import app

        yield app


@pytest.fixture
def door(application: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    for module, name in ((tracking_run, "RETRY"), (backoff, "RETRY"), (backoff, "LONGEST_RETRY")):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(store, "_opened", {})
    it = Door(application)
    yield it
    it.close()


def spec(door: Door, study: str) -> RunSpec:
    base = small_spec("tracking.flush_seconds=0.05")
    where = base.tracking.model_copy(update={"uri": door.uri})
    return base.model_copy(update={"study": study, "arm": "l2", "tracking": where})


def log_steps(tracker: RunTracker, first: int, last: int) -> None:
    for step in range(first, last + 1):
        tracker.log({"score": step / 7, "policy/l1/loss": -step / 3}, step)


def expected(last: int) -> list[tuple[str, int, float]]:
    return sorted(
        [("score", s, s / 7) for s in range(1, last + 1)] + [("policy/l1/loss", s, -s / 3) for s in range(1, last + 1)]
    )


def stored(uri: str, study: str) -> list[tuple[str, int, float]]:
    """Every point of the one run of a study, as often as it is there."""
    where = TrackingSpec(uri=uri)
    runs = [r for r in read_runs(where, study) if r.tags["kind"] == "run"]
    assert [r.status for r in runs] == ["FINISHED"], "once, and ended"
    points = read_histories(where, [runs[0].run_id])
    return sorted((key, s, v) for _, key, steps, values in points for s, v in zip(steps, values, strict=True))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_that_starts_later_gets_the_run_from_the_run_itself(
    door: Door, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = spec(door, "late")
    assert not prepare(mine.tracking)
    assert open_parent(mine.tracking, "late", StudyDescription(arms=("l2",))) == ""
    caplog.clear()
    tracker = RunTracker(mine, parent_run_id=None, run_id=None, run_dir=tmp_path)
    (tmp_path / "note.txt").write_text("x")
    log_steps(tracker, 1, 10)
    tracker.artifact(tmp_path / "note.txt", "")
    assert tracker.run_id is None
    door.open()
    wait_for(lambda: tracker.run_id is not None)
    log_steps(tracker, 11, 15)
    tracker.finish("FINISHED", None)
    assert stored(door.uri, "late") == expected(15)
    said = [r.getMessage() for r in caplog.records if r.name.startswith("eprli_lab")]
    assert len(said) == 2 and "cannot be reached" in said[0] and "is there again: what was spooled is sent" in said[1]
    run = store.mlflow_client(door.uri).get_run(tracker.run_id)
    assert [p.name for p in Path(run.info.artifact_uri.removeprefix("file://")).iterdir()] == ["note.txt"]


@pytest.mark.parametrize("trouble", rest_exhaustive(["refused", "error", "hang"]))
def test_a_server_that_is_gone_for_a_while_costs_nothing(door: Door, tmp_path: Path, trouble: str) -> None:
    door.open()
    mine = spec(door, trouble)
    tracker = RunTracker(mine, parent_run_id=None, run_id=None, run_dir=tmp_path)
    log_steps(tracker, 1, 5)
    tracker.flush()
    if trouble == "refused":
        door.close()
    door.set("error" if trouble == "refused" else trouble)
    log_steps(tracker, 6, 10)
    wait_for(lambda: tracker._offline is not None)
    log_steps(tracker, 11, 12)  # nothing waits for the server
    if trouble == "refused":
        door.open()
    door.set("through")
    wait_for(lambda: tracker._offline is None)
    log_steps(tracker, 13, 20)
    tracker.finish("FINISHED", None)
    assert stored(door.uri, trouble) == expected(20)


@pytest.mark.parametrize("path", ["runs/create", "log-batch", "runs/update"])
def test_a_request_that_was_done_and_not_answered_doubles_nothing(door: Door, tmp_path: Path, path: str) -> None:
    door.open()
    mine = spec(door, f"lost {path}")
    assert prepare(mine.tracking)
    door.lost = path
    tracker = RunTracker(mine, parent_run_id=None, run_id=None, run_dir=tmp_path)
    log_steps(tracker, 1, 10)
    tracker.flush()
    tracker.finish("FINISHED", None)
    if Spool.read(tmp_path / NAME).run_id is None or not door.lost:
        upload(tmp_path)
    assert stored(door.uri, f"lost {path}") == expected(10)


def test_a_run_that_ended_while_the_server_was_gone_is_sent_by_upload_once(door: Door, tmp_path: Path) -> None:
    mine = spec(door, "after")
    tracker = RunTracker(mine, parent_run_id=None, run_id=None, run_dir=tmp_path)
    log_steps(tracker, 1, 10)
    tracker.finish("FINISHED", None)
    door.open()
    run_id, sent = upload(tmp_path)
    assert sent == 20 and upload(tmp_path) == (run_id, 0)
    assert stored(door.uri, "after") == expected(10)


def test_waits_are_bounded(door: Door, tmp_path: Path) -> None:
    """A server that takes connections and never answers: two requests' time-outs a look, and training goes on."""
    door.open()
    door.set("hang")
    mine = spec(door, "hangs")
    assert not prepare(mine.tracking)
    before = door.requests
    tracker = RunTracker(mine, parent_run_id=None, run_id=None, run_dir=tmp_path)
    assert door.requests - before <= 2, "one request and its one retry"
    log_steps(tracker, 1, 10)
    tracker.finish("FINISHED", None)
    assert Spool.read(tmp_path / NAME).end == ("FINISHED", None)
    assert {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    }.items() <= quiet.SETTINGS.items()
