"""A rehearsed run that is killed in its second level ends as one that was not, and nothing is left on Ray."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")
from rehearsed import QUICK, gone, ours, processes, start

pytestmark = pytest.mark.slow
LONG = 1500.0  # s, of a busy machine


def outcome(where: Path) -> dict[str, Any]:
    """What must not depend on interruptions."""
    (directory,) = where.glob("outputs/run-*")
    rows = [json.loads(line) for line in (directory / "ledger.jsonl").read_text().splitlines()]
    outcomes = [json.loads(line) for line in (directory / "outcomes.jsonl").read_text().splitlines()]
    return {"ledger": rows, "outcomes": outcomes}


def updates_of_l2(where: Path) -> int:
    """Its updates by the newest checkpoint that was written in level l2; 0 before there is one."""
    most = 0
    for state in where.glob("outputs/run-*/checkpoint-*/state.json"):
        with contextlib.suppress(OSError, ValueError):  # it is replaced just now
            content = json.loads(state.read_text())["state"]
            if content["level"] == "l2":
                most = max(most, content["progress"]["levels"]["l2"]["updates"])
    return most


def one_more_update(where: Path, process: subprocess.Popen[str], before: int) -> None:
    """Wait until a checkpoint was written in level l2 with more than so many of its updates."""
    end = time.monotonic() + LONG
    while time.monotonic() < end and process.poll() is None:
        if updates_of_l2(where) > before:
            return
        time.sleep(0.2)
    raise AssertionError((where / "log").read_text()[-3000:])


def victim(process: subprocess.Popen[str], what: str) -> int:
    if what == "driver":
        return process.pid
    title = {"actor": "LevelPolicyActor", "engine": "GroupRolloutActor"}[what]
    found: list[int] = []
    while not found and process.poll() is None:  # Ray renames an actor's process around every call
        found = [pid for pid, _, words in ours() if title in words]
        time.sleep(0.02)
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    where = tmp_path_factory.mktemp("calm")
    before = processes()
    process = start(where, *QUICK)
    assert process.wait(LONG) == 0, (where / "log").read_text()[-3000:]
    assert gone(before), "Ray processes were left behind after success"
    return where


def test_a_run_killed_again_and_again_in_level_2_ends_as_if_it_had_not_been(calm: Path, tmp_path: Path) -> None:
    """Ctrl-C, its engine, its actor, its driver: each after one more update, each resumed by the same command."""
    before = processes()
    for resumed, what in enumerate(("ctrl-c", "engine", "actor", "driver")):
        updates = updates_of_l2(tmp_path)
        process = start(tmp_path, *QUICK)
        one_more_update(tmp_path, process, updates)
        if what == "ctrl-c":
            process.send_signal(signal.SIGINT)
            assert process.wait(240) == 130
        else:
            os.kill(victim(process, what), signal.SIGKILL)
            assert process.wait(240) == (-9 if what == "driver" else 2)
        said = (tmp_path / "log").read_text()
        assert gone(before), f"left behind after the death of the {what}"
        if what in ("actor", "engine"):
            last = said.strip().splitlines()[-1]
            assert last.startswith("eprli_lab: backend: the run's processes on Ray"), last
            assert "the same command resumes" in last
        assert said.count("resuming") == resumed
    again = start(tmp_path, *QUICK)
    assert again.wait(LONG) == 0, (tmp_path / "log").read_text()[-3000:]
    assert outcome(tmp_path) == outcome(calm)
    assert gone(before), "left behind at the end"
