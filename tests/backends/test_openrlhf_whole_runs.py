"""Whole rehearsed runs beside an undisturbed one: killed in the second level, and with the user's functions.

A killed run ends as if it had not been, and nothing is left on Ray.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")
from conftest import REPO, rest_exhaustive
from rehearsed import QUICK, SMALL, environment, gone, ours, processes, start

pytestmark = pytest.mark.slow
LONG = 1500.0  # s, of a busy machine


def outcome(where: Path) -> dict[str, Any]:
    """What must depend neither on interruptions nor on whether a run is an arm."""
    (directory,) = [*where.glob("outputs/run-*"), *where.glob("outputs/smoke/l2/seed0")]
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
    """Undisturbed runs: arms l1 and l2 of the sweep of docs/cluster.md, "Rehearse the job on CPU", with small updates."""
    where = tmp_path_factory.mktemp("calm")
    page = subprocess.run([REPO / ".ci" / "readme", "rehearsal"], capture_output=True, text=True, check=True).stdout
    words = shlex.split(page.strip().rpartition("&& ")[2])
    assert words[:4] == ["python", "-m", "eprli_lab.run", "-m"], "behind its installation"
    before = processes()
    process = start(where, *words[3:], *QUICK)
    assert process.wait(LONG) == 0, (where / "log").read_text()[-3000:]
    assert gone(before), "Ray processes were left behind after success"
    return where


def test_the_command_of_the_page_ends_in_its_table(calm: Path) -> None:
    assert "How it reads:" in (calm / "log").read_text()
    assert len((calm / "reports" / "smoke" / "table.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("deaths", rest_exhaustive([(("driver",),), (("ctrl-c", "group", "engine", "actor"),)]))
def test_a_run_killed_again_and_again_in_level_2_ends_as_if_it_had_not_been(
    calm: Path, tmp_path: Path, deaths: tuple[str, ...]
) -> None:
    """Each death after one more update, each resumed by the same command."""
    before = processes()
    for resumed, what in enumerate(deaths):
        updates = updates_of_l2(tmp_path)
        process = start(tmp_path, *QUICK, process_group=0)
        one_more_update(tmp_path, process, updates)
        if what in ("ctrl-c", "group"):  # as a terminal does it, and as Slurm or `timeout`
            process.send_signal(signal.SIGINT) if what == "ctrl-c" else os.killpg(process.pid, signal.SIGTERM)
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


@pytest.mark.exhaustive
def test_the_users_functions_act_on_this_engine_too(calm: Path, tmp_path: Path) -> None:
    """The files of docs/extending.md as arms: an objective in OpenRLHF's actor, the others in our loop."""
    page = (REPO / "docs" / "extending.md").read_text()
    for source in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        (tmp_path / source.splitlines()[0].removeprefix("# ")).write_text(source)
    arms = {
        "truncated": ["algorithm.objective=my_losses:truncated_weight"],
        "mine": [
            "curriculum.levels.l1.length_term=my_terms:quadratic",
            "curriculum.levels.l1.length_coef=0.2",
            "curriculum.levels.l1.reward=my_terms:by_difficulty",
            "algorithm.advantage=my_losses:max_rl",
            "curriculum.selection=my_curriculum:Retry",
            "curriculum.schedule=my_curriculum:RoundRobin",
        ],
    }
    study = {
        "name": "two",
        "baseline": "truncated",
        "seeds": [0],
        "arms": {a: {"overrides": o} for a, o in arms.items()},
    }
    (tmp_path / "sweeps").mkdir()
    head = "# @package _global_\ndefaults:\n  - override /hydra/sweeper: ablation\nstudy: "
    (tmp_path / "sweeps" / "two.yaml").write_text(head + json.dumps(study) + "\n")
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "eprli_lab.run",
        "-m",
        "sweep=two",
        "study.figures=false",
        *SMALL,
        *QUICK,
    ]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ledgers = {a: (tmp_path / f"outputs/two/{a}/seed0/ledger.jsonl").read_text().splitlines() for a in arms}
    plain, truncated = outcome(calm)["ledger"], [json.loads(line) for line in ledgers["truncated"]]
    assert [row for row in truncated if row["step"] == 1] == [row for row in plain if row["step"] == 1]
    assert truncated != plain, "the objective was never used"
    assert {json.loads(line)["level"] for line in ledgers["mine"] if json.loads(line)["step"] <= 2} == {"l1", "l2"}
    rewards = {r for line in ledgers["mine"] for r in json.loads(line)["rewards"] if json.loads(line)["level"] == "l1"}
    assert len(rewards) > 2 and 0.0 in rewards, "reward by difficulty, and a length term: more than two values"
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        kept = {k for (k,) in store.execute("SELECT DISTINCT key FROM latest_metrics WHERE key LIKE 'sampler/%'")}
    assert kept == {"sampler/l1/waiting", "sampler/l2/waiting"}
