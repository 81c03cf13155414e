"""Processes that are stopped and continued, many at once, in a directory that vanishes: each run once, or a sentence."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from sweeping_work import arms, behave, expected, make_plan

from eprli_lab.sweeping.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")
    behave()


def start(node: dict[str, Any], name: str, **environment: str) -> subprocess.Popen[bytes]:
    with open(f"{name}.log", "w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeping_work", json.dumps(node)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
        )


def until(true: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "\n".join(p.read_text() for p in Path().glob("*.log"))
        time.sleep(0.05)


def stop(pid: int, kill: Callable[[int, int], None] = os.kill) -> None:
    """Stop a process, though not within a step under the study's lock: that is another case, and takes minutes."""
    with open("studies/study.lock") as lock:
        while True:
            kill(pid, signal.SIGSTOP)
            time.sleep(0.02)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                kill(pid, signal.SIGCONT)
                time.sleep(0.02)
            else:
                return


def assert_each_run_once(node: dict[str, Any]) -> None:
    study = Study(make_plan(node))
    trials = study.points()
    study.close()
    keys = Counter((t.user_attrs["arm"], t.user_attrs["seed"]) for t in trials)
    assert keys == {(a, s): 1 for a in node["arms"] for s in node["seeds"]}
    assert {t.state.name for t in trials} == {"COMPLETE"}
    assert [t.values for t in trials] == [[expected(t.user_attrs["seed"])] for t in trials]


def test_who_was_stopped_beyond_its_lease_disturbs_nobody() -> None:
    """A process of another machine is stopped in the middle of a run with its worker, taken over, and continued."""
    node = {"arms": arms("a", "b"), "seeds": [0], "workers": 1, "lease_seconds": 2.0}
    behave(a_0={"seconds": 0.4}, b_0={"seconds": 0.4})
    there = start(node, "there", ON_HOST="elsewhere")
    until(lambda: Path("outputs/study/a/seed0/state.json").exists())
    stop(there.pid, os.killpg)
    here = start(node, "here")
    owner = f":{here.pid}:"
    until(lambda: any('"trial_id": 0' in line and owner in line for line in Path("studies/study.journal").open()))
    os.killpg(there.pid, signal.SIGCONT)
    assert (there.wait(60), here.wait(60)) == (0, 0), Path("there.log").read_text() + Path("here.log").read_text()
    assert "was taken over by another process" in Path("there.log").read_text()
    assert_each_run_once(node)
    starts = [line.split() for line in Path("outputs/study/a/seed0/starts").read_text().splitlines()]
    assert len(starts) == 2 and int(starts[1][1]) > 0, "the second went on from what the first had saved"


def test_a_stopped_process_of_this_machine_is_named() -> None:
    node = {"arms": arms("a"), "seeds": [0], "workers": 1, "lease_seconds": 1.0}
    behave(a_0={"seconds": 0.3})
    first = start(node, "first")
    until(lambda: Path("outputs/study/a/seed0/state.json").exists())
    stop(first.pid)
    second = start(node, "second")
    until(lambda: f"kill -CONT {first.pid} lets it go on" in Path("second.log").read_text())
    os.kill(first.pid, signal.SIGCONT)
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert_each_run_once(node)


def test_eight_copies_at_once_and_another_sweep_in_the_same_folder() -> None:
    node = {"arms": arms("a", "b", "c"), "seeds": [0, 1], "workers": 1}
    other = {**node, "name": "other"}
    processes = [start(node, f"copy{i}") for i in range(8)] + [start(other, "other")]
    codes = [p.wait(150) for p in processes]
    assert codes == [0] * 9, "\n".join(p.read_text() for p in Path().glob("*.log"))
    assert "Traceback" not in "".join(p.read_text() for p in Path().glob("*.log"))
    assert_each_run_once(node)
    assert_each_run_once(other)
    for run in Path("outputs").glob("*/*/*/starts"):
        assert len(run.read_text().splitlines()) == 1, "made once"


def test_the_working_directory_is_deleted_under_a_sweep(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    os.chdir(directory)
    behave(a_0={"seconds": 0.5})
    node = {"arms": arms("a"), "seeds": [0], "workers": 1, "lease_seconds": 1.0}
    with open(tmp_path / "log", "w") as log:
        command = [sys.executable, "-m", "sweeping_work", json.dumps(node)]
        sweep = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    until(lambda: Path("outputs/study/a/seed0/state.json").exists())
    os.chdir(tmp_path)
    shutil.rmtree(directory)
    assert sweep.wait(60) == 2
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text and "No such file or directory" in text.splitlines()[-1]


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """A file system of that size. Skips where this user may not mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if os.getuid() != 0 or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here (needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_disk_that_is_full_for_a_while_is_waited_for(kind: str) -> None:
    # sixteen runs write more than what is left of the journal's last page, which needs no room on the disk
    node = {"arms": arms("a", "b"), "seeds": list(range(8)), "workers": 1, "lease_seconds": 1.0}
    behave(a_0={"hold_at": 1})  # what is to be written comes when the disk is full, however slowly that goes
    with small_disk(Path("studies"), "2m"):
        if kind == "sqlite":
            node["storage"] = "sqlite:///studies/all.db"
        sweep = start(node, "sweep")
        until(lambda: Path("outputs/study/a/seed0/state.json").exists())
        for i in range(5):  # what a write in progress frees is filled, too
            fill(Path(f"studies/filler{i}"))
            time.sleep(0.05)
        Path("calm").touch()
        until(lambda: "waiting for studies/" in Path("sweep.log").read_text())
        for filler in Path("studies").glob("filler*"):
            filler.unlink()
        assert sweep.wait(60) == 0, Path("sweep.log").read_text()
        assert "Traceback" not in Path("sweep.log").read_text()
        assert_each_run_once(node)
