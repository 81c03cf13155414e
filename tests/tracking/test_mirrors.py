"""Mirrors hold what MLflow holds, value by value; and whatever happens to one, the run and MLflow go on."""

from __future__ import annotations

import importlib
import json
import logging
import math
import multiprocessing as mp
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import small_spec
from mirrored import Points, in_mlflow, in_tensorboard, in_trackio, in_wandb

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.parse import parse_tracking
from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.mirrors import check, events, feed
from eprli_lab.tracking.mirrors.base import Mirror, MirroredRun, Row
from eprli_lab.tracking.mirrors.check import check_mirrors
from eprli_lab.tracking.read import read_runs
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.send import PRUNED
from eprli_lab.tracking.spool import NAME
from eprli_lab.tracking.store import mlflow_client, prepare

HERE = tuple(name for name in ("wandb", "tensorboard", "trackio") if find_spec(name) is not None)
slow = pytest.mark.slow


def needs(*names: str) -> pytest.MarkDecorator:
    absent = [name for name in names if name not in HERE]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} is not installed")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a store; W&B without a network, and Trackio, which takes one place a process."""
    directory = tmp_path_factory.mktemp("mirrors")
    before, variables = Path.cwd(), dict(os.environ)
    os.chdir(directory)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(feed, "FINISH_SECONDS", 3600.0)  # whatever else the machine does
    os.environ |= {"WANDB_MODE": "offline", "TRACKIO_DIR": str(directory / "trackio")}
    assert prepare(TrackingSpec())
    yield directory
    monkey.undo()
    os.chdir(before)
    os.environ.clear()
    os.environ.update(variables)


@pytest.fixture(scope="module")
def base() -> RunSpec:
    return small_spec("tracking.flush_seconds=0.05", f"tracking.mirror=[{','.join(HERE)}]")


def start(base: RunSpec, study: str, directory: Path, **more: Any) -> RunTracker:
    spec = base.model_copy(update={"study": study, "arm": "l2", "seed": 3})
    return RunTracker(spec, **{"parent_run_id": None, "run_id": None, "run_dir": directory} | more)


def assert_mirrored(home: Path, run_id: str, study: str | None, name: str, mirrors: Sequence[str] = HERE) -> Points:
    """Every metric, step and value of the store, in every mirror, once: where the store has several the last one."""
    wanted = {key: [values[-1]] for key, values in in_mlflow(run_id, f"sqlite:///{home}/mlflow.db").items()}
    stored = mlflow_client(f"sqlite:///{home}/mlflow.db").get_run(run_id)
    params, tags, status = stored.data.params, stored.data.tags, stored.info.status
    assert wanted
    if "wandb" in mirrors:
        (folder,) = (home / "wandb").glob(f"offline-run-*-{tags['eprli.token']}")
        found = in_wandb(folder)
        assert found.points == wanted
        assert (found.run.run_group, found.run.job_type, found.run.display_name) == (
            tags.get("study", ""),
            tags.get("arm", ""),
            name,
        )
        assert found.config["tags"]["fingerprint"] == tags["fingerprint"]
        assert {k: as_param(found.config[k]) for k in params} == dict(params)
        assert found.summary["eprli.status"] == status and found.exit_code == (status != "FINISHED")
    if "tensorboard" in mirrors:
        points, texts = in_tensorboard(home / "tensorboard" / (study or "") / name)
        assert points == {key: [float(np.float32(value))] for key, (value,) in wanted.items()}
        assert texts["status"].partition(":")[0] == status and tags["fingerprint"] in texts["tags"]
        given = texts["_hparams_/session_start_info"].session_start_info.hparams
        assert set(params) == set(given) and given["budget.amount"].number_value == float(params["budget.amount"])
    if "trackio" in mirrors:
        points, config = in_trackio(home / "trackio" / f"{study or 'eprli_lab'}.db", name)
        assert points == wanted
        assert config["status"] == status and config["tags"]["fingerprint"] == tags["fingerprint"]
        assert {k: as_param(config[k]) for k in params} == dict(params)
    return wanted


def as_param(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- what is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (["wandbb"], "tracking.mirror: 'wandbb' is no mirror (did you mean 'wandb'?)"),
        (["wandb", "wandb"], "tracking.mirror: a mirror stands there twice: name each once"),
        ("wandb", "tracking.mirror: give a list, [wandb]"),
        ([3], "tracking.mirror: '3' is no mirror (choose from: tensorboard, trackio, wandb)"),
        (None, "tracking.mirror: 'None' is no mirror (choose from: tensorboard, trackio, wandb)"),
    ],
)
def test_other_names_are_refused(value: Any, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_tracking("tracking.uri", mirror=value)
    assert str(refused.value) == sentence


def test_a_mirror_is_no_part_of_a_fingerprint_and_none_is_no_part_of_a_spec() -> None:
    plain, mirrored = compose_spec([]), compose_spec(["tracking.mirror=[tensorboard,wandb]"])
    assert mirrored.tracking.mirror == ("tensorboard", "wandb")
    assert plain.fingerprint() == mirrored.fingerprint()
    assert "mirror" not in plain.model_dump()["tracking"] and "tracking.mirror" not in plain.flat()


def test_a_package_that_is_missing_is_said_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "tensorboard", "trackio"):
        (tmp_path / name).mkdir()  # what the mirror writes in the working directory is no package
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    for name in ("wandb", "tensorboard", "trackio"):
        sentence = (
            rf"tracking.mirror: {name} needs the Python package {name}: pip install {name} \(in a checkout: pip install "
            rf"-c constraints.txt -e '\.\[{name}\]'\), or leave {name} out"
        )
        with pytest.raises(UserError, match=sentence):
            check_mirrors(TrackingSpec(mirror=(name,)), None)


def test_interfaces_have_at_most_five_methods() -> None:
    assert {n for n in vars(Mirror) if not n.startswith("_")} == {"start", "rows", "file", "finish"}
    for name in HERE:
        mirror = feed.make(name)
        assert all(callable(getattr(mirror, method)) for method in ("start", "rows", "file", "finish"))


@needs("wandb")
@slow
def test_wandb_without_a_key_is_refused_and_never_asks(tmp_path: Path) -> None:
    """On a terminal, where W&B would ask; by a run and by a sweep, before anything is made."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")} | {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "none"),
    }
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "eprli_lab.run", "tracking.mirror=[wandb]"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment)
    os.close(theirs)
    said = b""
    while True:
        try:
            if not select.select([ours], [], [], 1200)[0]:
                raise TimeoutError(said)
            said += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    assert process.wait() == 2
    text = " ".join(said.decode().split())
    assert (
        "tracking.mirror: wandb has no API key: run `wandb login`, set WANDB_API_KEY, or set WANDB_MODE=offline" in text
    )
    assert "Traceback" not in text and not (tmp_path / "mlflow.db").exists() and not (tmp_path / "outputs").exists()


@needs("wandb")
@slow
def test_a_wandb_that_is_not_there_and_a_project_that_it_does_not_take(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    wandb.teardown()  # what it read of the environment
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for variable in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(variable, raising=False)
            monkeypatch.delenv(variable.upper(), raising=False)
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        with pytest.raises(UserError, match=f"wandb's {url} cannot be reached .*: set WANDB_MODE=offline"):
            check_mirrors(TrackingSpec(mirror=("wandb",)), "s")
    with pytest.raises(UserError, match="tracking.experiment: 'a/b' is no name for a project of wandb: leave out /"):
        check_mirrors(TrackingSpec(experiment="a/b", mirror=("wandb",)), "s")
    monkeypatch.setenv("WANDB_PROJECT", "p#1")
    with pytest.raises(UserError, match="WANDB_PROJECT: 'p#1' is no name for a project of wandb: leave out #"):
        check_mirrors(TrackingSpec(mirror=("wandb",)), "s")
    monkeypatch.undo()
    wandb.teardown()


@needs("trackio")
@slow
def test_what_trackio_would_not_take_or_take_elsewhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored = TrackingSpec(mirror=("trackio",))
    check_mirrors(mirrored, "levels-smoke")
    with pytest.raises(UserError, match="study.name: 'registry-x' is a name that trackio keeps for itself"):
        check_mirrors(mirrored, "registry-x")
    with pytest.raises(UserError, match="tracking.experiment: 'my lab' is no name for a project of trackio"):
        check_mirrors(TrackingSpec(experiment="my lab", mirror=("trackio",)), None)
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/space")
    with pytest.raises(UserError, match="trackio is written on this machine only, and TRACKIO_SPACE_ID is set"):
        check_mirrors(mirrored, "s")


# --- what they hold ------------------------------------------------------------------------------------------------


@slow
def test_every_value_of_the_store_is_in_every_mirror(here: Path, base: RunSpec, tmp_path: Path) -> None:
    tracker = start(base, "values", tmp_path)
    for step in range(130):  # more than a batch
        tracker.log({"score": step / 7, "policy/l1/loss": -step / 3, "left_out": None}, step)
        if step % 40 == 0:  # a later value of a step replaces an earlier one
            tracker.log({"score": step / 7 + 100, "eval/heldout_easy/avg_at_k": step / 50}, step)
    tracker.log({"not_a_number": math.nan}, 130)
    (tmp_path / "note.txt").write_text("hello")
    tracker.artifact(tmp_path / "note.txt", "folder")
    tracker.finish("FINISHED", "level l1 starved")
    points = {k: v for k, v in in_mlflow(tracker.run_id).items() if k[0] != "not_a_number"}
    assert len(points) == 130 * 2 + 4
    if "wandb" in HERE:
        (folder,) = (here / "wandb").glob(f"offline-run-*-{tracker._spool.header['token']}")
        found = in_wandb(folder)
        assert math.isnan(found.points.pop(("not_a_number", 130))[0]) and found.points == points
        assert found.summary["eprli.ended"] == "level l1 starved"
        assert (folder / "files" / "folder" / "note.txt").read_text() == "hello"
    if "tensorboard" in HERE:
        scalars, texts = in_tensorboard(here / "tensorboard" / "values" / "l2" / "seed3")
        assert math.isnan(scalars.pop(("not_a_number", 130))[0])
        assert scalars == {key: [float(np.float32(v)) for v in values] for key, values in points.items()}
        assert texts["status"] == "FINISHED: level l1 starved"
    if "trackio" in HERE:
        rows, config = in_trackio(here / "trackio" / "values.db", "l2/seed3")
        assert math.isnan(rows.pop(("not_a_number", 130))[0]) and rows == points
        assert (config["status"], config["ended"], config["_Group"]) == ("FINISHED", "level l1 starved", "l2")


@slow
@pytest.mark.parametrize(
    ("status", "message"), [("FAILED", "boom"), ("KILLED", PRUNED), ("KILLED", "interrupted; state saved")]
)
def test_every_end_is_mirrored(here: Path, base: RunSpec, tmp_path: Path, status: Any, message: str) -> None:
    study = f"end-{message[:4]}"
    tracker = start(base, study, tmp_path)
    for step in range(3):
        tracker.log({"score": step / 7}, step)
    tracker.finish(status, message)
    assert len(assert_mirrored(here, str(tracker.run_id), study, "l2/seed3")) == 3


def killed(base: RunSpec, directory: Path) -> None:
    """Steps 0 to 12, of which every mirror has the first ones; then the process is killed."""
    tracker = start(base, "killed", directory)
    for step in range(13):
        tracker.log({"score": step / 7, "policy/l1/loss": -step / 3}, step)
    tracker.artifact(directory / NAME, "")  # behind all of them in the queues
    feeds = tracker._mirrors._feeds
    while any(f._queue for f in feeds) or tracker._queue:
        time.sleep(0.02)
    time.sleep(0.5)  # what was taken from the queues is under way
    os.kill(os.getpid(), signal.SIGKILL)


@slow
def test_a_run_that_goes_on_after_a_kill_is_whole_and_nothing_is_doubled(
    here: Path, base: RunSpec, tmp_path: Path
) -> None:
    """It goes on from step 8; what was logged after it is done again, and comes out differently."""
    child = mp.get_context("spawn").Process(target=killed, args=(base, tmp_path))
    child.start()
    child.join(1200)
    assert child.exitcode == -signal.SIGKILL
    if "tensorboard" in HERE:
        before, _ = in_tensorboard(here / "tensorboard" / "killed" / "l2" / "seed3")
        assert before["score", 11] == [float(np.float32(11 / 7))], "sent before the kill"
    tracker = start(base, "killed", tmp_path, resume_step=8)
    tracker.log({"eval/heldout_easy/avg_at_k": 0.5}, 8)  # the step of the checkpoint is completed
    for step in range(9, 11):
        tracker.log({"score": step / 7 + 0.25, "policy/l1/loss": -step / 3}, step)
    tracker.finish("FINISHED", None)
    points = assert_mirrored(here, str(tracker.run_id), "killed", "l2/seed3", [n for n in HERE if n == "none"])
    wanted = {("score", s): [s / 7] for s in range(9)} | {("score", s): [s / 7 + 0.25] for s in (9, 10)}
    wanted |= {("policy/l1/loss", s): [-s / 3] for s in range(11)} | {("eval/heldout_easy/avg_at_k", 8): [0.5]}
    assert wanted.items() <= points.items()
    if "wandb" in HERE:
        (folder,) = (here / "wandb").glob(f"offline-run-*-{tracker._spool.header['token']}")
        assert in_wandb(folder).points == wanted
    if "tensorboard" in HERE:
        scalars, _ = in_tensorboard(here / "tensorboard" / "killed" / "l2" / "seed3")
        assert scalars == {key: [float(np.float32(value))] for key, (value,) in wanted.items()}
    if "trackio" in HERE:
        assert in_trackio(here / "trackio" / "killed.db", "l2/seed3")[0] == wanted


@slow
def test_mirrors_are_told_while_the_store_is_away(
    base: RunSpec, here: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = base.tracking.model_copy(update={"uri": "sqlite:////nowhere/mlflow.db"})
    tracker = start(base.model_copy(update={"tracking": away}), "away", tmp_path)
    for step in range(4):
        tracker.log({"score": step / 7}, step)
    tracker.finish("FINISHED", None)
    assert tracker.run_id is None and "cannot be reached" in caplog.text
    if "tensorboard" in HERE:
        scalars, _ = in_tensorboard(here / "tensorboard" / "away" / "l2" / "seed3")
        assert scalars == {("score", s): [float(np.float32(s / 7))] for s in range(4)}


# --- what befalls one of them --------------------------------------------------------------------------------------


class Breaks:
    """Takes a few rows, then raises."""

    taken: list[int] = []

    def start(self, run: MirroredRun) -> int:
        return 0

    def rows(self, rows: Sequence[Row]) -> None:
        self.taken += [row.step for row in rows]
        if len(self.taken) > 60:
            raise OSError(28, "No space left on device")

    def file(self, path: Path, folder: str) -> None:
        raise AssertionError

    def finish(self, status: str, message: str | None) -> None:
        raise AssertionError


class Hangs(Breaks):
    """Never comes back."""

    def rows(self, rows: Sequence[Row]) -> None:
        threading.Event().wait()


def broken(base: RunSpec, kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> list[str]:
    """A run with a mirror of this kind: what was said of it. MLflow has everything."""
    monkeypatch.setitem(feed.MIRRORS, "tensorboard", f"test_mirrors:{kind}")
    monkeypatch.setattr(sys.modules[__name__].Breaks, "taken", [])
    monkeypatch.setitem(sys.modules, "test_mirrors", sys.modules[__name__])
    alone = base.tracking.model_copy(update={"mirror": ("tensorboard",)})
    tracker = start(base.model_copy(update={"tracking": alone}), f"broken-{kind}", directory)
    for step in range(200):
        tracker.log({"score": step / 7}, step)
    tracker.finish("FINISHED", None)
    assert in_mlflow(str(tracker.run_id)) == {("score", s): [s / 7] for s in range(200)}
    assert mlflow_client(f"sqlite:///{Path.cwd()}/mlflow.db").get_run(str(tracker.run_id)).info.status == "FINISHED"
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@slow
def test_a_mirror_that_breaks_is_said_once_and_the_run_goes_on(
    here: Path, base: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert broken(base, "Breaks", tmp_path, monkeypatch, caplog) == [
        "tracking.mirror: tensorboard has no more of this run ([Errno 28] No space left on device): the run goes on, and "
        "MLflow has all of it"
    ]


@slow
def test_a_mirror_that_hangs_is_left(
    here: Path, base: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed, "FINISH_SECONDS", 0.25)
    assert broken(base, "Hangs", tmp_path, monkeypatch, caplog) == [
        "tracking.mirror: tensorboard has no more of this run (it was not done 0.25 s after the run): the run goes on, "
        "and MLflow has all of it"
    ]


@slow
def test_a_mirror_that_is_too_far_behind_is_given_up(
    here: Path, base: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed, "FARTHEST", 100)
    assert broken(base, "Hangs", tmp_path, monkeypatch, caplog) == [
        "tracking.mirror: tensorboard has no more of this run (it is 100 steps behind): the run goes on, and MLflow has "
        "all of it"
    ]


@slow
@needs("tensorboard")
def test_a_full_disk_ends_tensorboard_alone(
    here: Path, base: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "_next_name", lambda folder: "/dev/full")  # a real disk without any room
    tracker = start(base, "full", tmp_path)
    for step in range(5):
        tracker.log({"score": step / 7}, step)
    tracker.finish("FINISHED", None)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("eprli_lab")]
    assert [line for line in said if "tensorboard" in line] == [
        "tracking.mirror: tensorboard has no more of this run ([Errno 28] No space left on device): the run goes on, and "
        "MLflow has all of it"
    ]
    assert_mirrored(here, str(tracker.run_id), "full", "l2/seed3", [n for n in HERE if n != "tensorboard"])


@slow
@needs("trackio")
def test_a_damaged_database_ends_trackio_alone(
    here: Path, base: RunSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "trackio").mkdir(exist_ok=True)
    (here / "trackio" / "garbage.db").write_bytes(b"no database" * 1000)
    tracker = start(base, "garbage", tmp_path)
    for step in range(5):
        tracker.log({"score": step / 7}, step)
    tracker.finish("FINISHED", None)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("eprli_lab")]
    assert len(said) == 1 and said[0].startswith("tracking.mirror: trackio has no more of this run (")
    assert_mirrored(here, str(tracker.run_id), "garbage", "l2/seed3", [n for n in HERE if n != "trackio"])


def test_the_check_knows_every_mirror() -> None:
    assert (
        set(feed.MIRRORS) == {"wandb", "tensorboard", "trackio"} and check.check_mirrors(TrackingSpec(), None) is None
    )


# --- whole commands ------------------------------------------------------------------------------------------------


class Proxy:
    """A proxy that answers nobody, and counts who comes: where a network would have been used."""

    def __init__(self) -> None:
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.visits += 1
            connection.close()

    def variables(self) -> dict[str, str]:
        return {name: self.url for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}


SMALL = [
    "budget.amount=1500",
    "evaluation.samples=1",
    "evaluation.curve_points=0",
    "evaluation.boundary_problems=16",
    "checkpoint.every_updates=1",
]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[tuple[dict[str, str], Proxy]]:
    """The environment of commands that are to reach no network, and who would see that they do."""
    proxy = Proxy()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "TRACKIO"))}
    yield kept | proxy.variables() | {"WANDB_MODE": "offline", "NO_PROXY": "", "no_proxy": ""}, proxy


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "eprli_lab.run", *more, f"tracking.mirror=[{','.join(HERE)}]"]


@slow
@pytest.mark.exhaustive
def test_a_sweep_with_two_workers(tmp_path: Path, commands: tuple[dict[str, str], Proxy]) -> None:
    environment, proxy = commands
    done = subprocess.run(
        command("-m", "sweep=smoke", "study.seeds=[0,1]", "study.workers=2", *SMALL),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "wandb:" not in done.stdout + done.stderr and "rackio" not in done.stderr and proxy.visits == 0
    runs = [
        run
        for run in read_runs(TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db"), "smoke")
        if run.tags["kind"] == "run"
    ]
    assert len(runs) == 4
    for run in runs:
        assert len(assert_mirrored(tmp_path, run.run_id, "smoke", f"{run.tags['arm']}/seed{run.tags['seed']}")) > 50
        log = tmp_path / "outputs" / "smoke" / run.tags["arm"] / f"seed{run.tags['seed']}" / "log.txt"
        assert not log.exists() or "wandb:" not in log.read_text()


@slow
@pytest.mark.exhaustive
def test_a_run_killed_in_training(tmp_path: Path, commands: tuple[dict[str, str], Proxy]) -> None:
    environment, _ = commands
    words = command("budget.amount=7000", *SMALL[1:])
    first = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not any((tmp_path / "outputs").glob("*/checkpoint-*3")) and first.poll() is None:
        time.sleep(0.05)
    first.kill()
    assert first.wait() == -signal.SIGKILL, first.stderr.read() if first.stderr else ""
    again = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    (directory,) = (tmp_path / "outputs").iterdir()
    run_id = json.loads((directory / "run.json").read_text())["run_id"]
    points = assert_mirrored(tmp_path, run_id, None, directory.name)
    assert max(step for _, step in points) > 3
