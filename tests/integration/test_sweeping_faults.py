"""Four processes on one study while they are killed, on a journal file and on a real PostgreSQL; exact trial counts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from conftest import REPO
from sweeping_work import arms, behave, expected, make_plan

from eprli_lab.sweeping.study import Study

SECONDS, EVERY = 60.0, 3.0  # a kill every few seconds for a minute
NAMES, SEEDS, STEPS = "abcdef", list(range(6)), 30


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")
    behave()
    return tmp_path


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "postgresql":
        with postgres.server() as uri:
            yield uri
    else:
        yield None if request.param == "journal" else "sqlite:///studies/all.db"


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


@pytest.mark.slow
def test_four_processes_and_one_killed_every_few_seconds(storage: str | None) -> None:
    behave(**{f"{a}_{s}": {"steps": STEPS, "seconds": 0.25} for a in NAMES for s in SEEDS})
    node = {"arms": arms(*NAMES), "seeds": SEEDS, "workers": 1, "storage": storage}
    duration = SECONDS if storage is None or storage.startswith("postgresql") else SECONDS / 3
    processes, rng, kills = [start(node) for _ in range(4)], random.Random(0), 0
    end = time.monotonic() + duration
    while time.monotonic() < end:
        time.sleep(EVERY)
        i = rng.randrange(4)
        if kills % 2:  # the worker alone, or the whole process under it
            victims = children(processes[i].pid)[1:]
        else:
            victims = [processes[i].pid]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        kills += 1
        if processes[i].poll() is not None or victims == [processes[i].pid]:
            processes[i].wait()
            processes[i] = start(node)
    assert kills >= duration / EVERY / 2
    finish(processes, 240)
    study = Study(make_plan(node))
    trials = study.points()
    study.close()
    everything = {(a, s): 1 for a in NAMES for s in SEEDS}
    assert Counter((t.user_attrs["arm"], t.user_attrs["seed"]) for t in trials) == everything
    assert {t.state.name for t in trials} == {"COMPLETE"}
    assert sum(t.user_attrs.get("losses", 0) for t in trials) >= kills / 3, "the kills hit runs at work"
    for t in trials:  # as if nothing had happened
        assert t.values == [expected(t.user_attrs["seed"], STEPS)]


SEARCH = {
    "arms": arms("a"),
    "seeds": [0],
    "search_seeds": [7],
    "search": {"space": {"optim.learning_rate": "tag(log,interval(1e-5,1e-2))", "optim.weight_decay": "interval(0,1)"}},
}


@pytest.mark.slow
def test_a_target_of_twenty_with_four_processes_is_twenty(storage: str | None) -> None:
    node = {**SEARCH, "trials": 20, "workers": 2, "storage": storage}
    finish([start(node) for _ in range(4)], 120)
    plan = make_plan(node).searching()
    study = Study(plan)
    trials = study.points()
    assert [t.state.name for t in trials] == ["COMPLETE"] * 20
    points = [tuple(t.params.values()) for t in trials]
    assert len(set(points)) == 20, "no point twice, start-up points included"
    assert len({t.user_attrs["owner"] for t in trials}) > 1, "several processes had a share"
    study.close()
    finish([start(node)], 60)  # again: none is added
    study = Study(plan)
    assert len(study.points()) == 20 and study.left() == 0
    study.close()
    finish([start({**node, "trials": 23}) for _ in range(2)], 60)  # more are asked for
    study = Study(make_plan({**node, "trials": 23}).searching())
    assert len(study.points()) == 23
    study.close()
