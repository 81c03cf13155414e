"""Four processes on one study while they are killed, on a journal file and on a real PostgreSQL; exact trial counts."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from conftest import REPO
from sweeping_work import arms, behave, expected, make_plan, run

from eprli_lab.sweeping.study import Study

NAMES, STEPS = "abcdef", 100
KILLS = {"journal": 8, "sqlite": 5, "postgresql": 6}  # the whole storm where most studies are kept
SEEDS = {"journal": 3, "sqlite": 2, "postgresql": 2}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")
    behave()
    return tmp_path


KINDS = ["journal", "sqlite", "postgresql"]


@contextlib.contextmanager
def opened(kind: str) -> Iterator[str | None]:
    """The URI of an empty storage of this kind, as `study.storage` takes it."""
    if kind == "postgresql":
        with postgres.server() as uri:
            yield uri
    else:
        yield None if kind == "journal" else "sqlite:///studies/all.db"


def start(node: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sweeping_work", json.dumps(node)]
    log = open("controllers.log", "a")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def children(pid: int) -> list[int]:
    """Worker processes of a controller (one of them is Python's resource tracker)."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def finish(processes: list[subprocess.Popen[str]], seconds: float) -> None:
    for p in processes:
        p.wait(timeout=seconds)
    assert {p.returncode for p in processes} == {0}, Path("controllers.log").read_text()[-3000:]


def workers_at_work(controller: subprocess.Popen[str]) -> list[int]:
    """Worker processes of a controller that hold a run and have made a step of it since they began it."""
    pids = set(children(controller.pid))
    found = []
    for starts in Path("outputs/study").glob("*/*/starts"):
        words = starts.read_text().split()  # a pair a start; none yet where a worker was killed as it made the file
        if not words:
            continue
        pid, first = int(words[-2]), int(words[-1])
        state = starts.with_name("state.json")
        if pid in pids and state.is_file() and first < json.loads(state.read_text())[0] < STEPS:
            found.append(pid)
    return found


def workers() -> set[str]:
    """The processes that ever began a run here."""
    return {line.split()[0] for path in Path("outputs").rglob("starts") for line in path.read_text().splitlines()}


def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, Path("controllers.log").read_text()[-3000:]
        time.sleep(0.02)


def wait_for_work(controller: subprocess.Popen[str]) -> list[int]:
    """Wait until a controller's worker is in the middle of a run; the worker."""
    found: list[int] = []
    until(lambda: bool(found.extend(workers_at_work(controller)) or found or controller.poll() is not None))
    assert found, Path("controllers.log").read_text()[-3000:]
    return found


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_four_processes_that_are_killed_one_after_another(kind: str) -> None:
    """By turns the worker alone and the whole process over it, at a random moment of a run; now and then another one
    while it starts. Steps take their time until the file `calm` is there, so no run ends before the storm does."""
    seeds = list(range(SEEDS[kind]))
    behave(**{f"{a}_{s}": {"steps": STEPS, "seconds": 0.4} for a in NAMES for s in seeds})
    with opened(kind) as storage:
        node = {"arms": arms(*NAMES), "seeds": seeds, "workers": 1, "storage": storage}
        rng = random.Random(0)
        processes = [start(node) for _ in range(4)]
        for kill in range(KILLS[kind]):
            i = rng.randrange(4)
            victims = wait_for_work(processes[i])
            time.sleep(rng.uniform(0.0, 0.4))  # anywhere between two of its steps
            if kill % 2:
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)
                continue
            processes[i].kill()
            processes[i].wait()
            processes[i] = start(node)
            if kill % 4 == 2:  # the new one again, while it starts
                time.sleep(rng.uniform(0.0, 1.0))
                processes[i].kill()
                processes[i].wait()
                processes[i] = start(node)
        Path("calm").touch()
        finish(processes, 240)
        study = Study(make_plan(node))
        trials = study.points()
        study.close()
    everything = {(a, s): 1 for a in NAMES for s in seeds}
    assert Counter((t.user_attrs["arm"], t.user_attrs["seed"]) for t in trials) == everything
    assert {t.state.name for t in trials} == {"COMPLETE"}
    assert sum(t.user_attrs.get("losses", 0) for t in trials) >= KILLS[kind] - 2, "the kills hit runs at work"
    for t in trials:  # as if nothing had happened
        assert t.values == [expected(t.user_attrs["seed"], STEPS)]


SEARCH = {
    "arms": arms("a"),
    "seeds": [0],
    "search_seeds": [7],
    "search": {"space": {"optim.learning_rate": "tag(log,interval(1e-5,1e-2))", "optim.weight_decay": "interval(0,1)"}},
}


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_target_of_twenty_with_four_processes_is_twenty(kind: str) -> None:
    with opened(kind) as storage:
        node = {**SEARCH, "trials": 20, "workers": 1, "storage": storage}
        behave(curve_={"steps": 2, "seconds": 100.0})
        processes = [start(node) for _ in range(4)]
        until(lambda: len(workers()) == 4)  # each of the four has begun a trial
        Path("calm").touch()
        finish(processes, 120)
        plan = make_plan(node).searching()
        study = Study(plan)
        trials = study.points()
        assert [t.state.name for t in trials] == ["COMPLETE"] * 20
        points = [tuple(t.params.values()) for t in trials]
        assert len(set(points)) == 20, "no point twice, start-up points included"
        assert len({t.user_attrs["owner"] for t in trials}) == 4, "each of the processes had a share"
        study.close()
        run(plan)  # again: none is added
        study = Study(plan)
        assert len(study.points()) == 20 and study.left() == 0
        study.close()
        finish([start({**node, "trials": 23}) for _ in range(2)], 60)  # more are asked for
        study = Study(make_plan({**node, "trials": 23}).searching())
        assert [t.state.name for t in study.points()] == ["COMPLETE"] * 23
        study.close()
