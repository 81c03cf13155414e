"""The main job for real: a small `sweep=levels`, its store and its table; runs and sweeps killed and resumed."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from conftest import REPO

pytestmark = pytest.mark.slow

SMALL = ["preset=smoke", "budget.amount=7000", "study.name=small", "checkpoint.every_updates=2"] + [
    f"evaluation.suites.heldout_{s}.generated.problems=96" for s in ("easy", "medium", "hard")
]
ONE_SKILL = ["model=mod10", "evaluation=heldout"]  # at this budget the ladder is not climbed
SWEEP = ["-m", "sweep=levels", *ONE_SKILL, *SMALL, "curriculum.levels.l2.clip.high=0.2718", "study.figures=false"]
ARMS = ("l1", "l1_matched", "l2", "l3", "l4", "l3_shuffled")
CHEAP = ["checkpoint.every_updates=2", "evaluation.samples=2", "evaluation.boundary_problems=8"] + [
    f"evaluation.suites.heldout_{s}.generated.problems=16" for s in ("easy", "medium", "hard")
]  # where no accuracy is looked at
ONE = [
    "budget.amount=14000",
    *CHEAP,
    "curriculum=l3",
    "curriculum.levels.l1.minibatches=2",
    "seed=5",
]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}


def lab(*arguments: str, cwd: Path, module: str = "eprli_lab.run") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=600,
    )


def start(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eprli_lab.run", *arguments]
    return subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Store:
    """The MLflow store by plain SQL, so that nothing of the package is trusted here."""

    def __init__(self, directory: Path) -> None:
        self.sql = sqlite3.connect(directory / "mlflow.db")

    def runs(self, status: str = "FINISHED") -> dict[str, dict[str, str]]:
        """run id -> tags, of the children with this status."""
        out: dict[str, dict[str, str]] = defaultdict(dict)
        query = "select r.run_uuid, t.key, t.value from runs r join tags t using (run_uuid) where r.status = ?"
        for run, key, value in self.sql.execute(query, (status,)):
            out[run][key] = value
        return {r: t for r, t in out.items() if t.get("kind") == "run"}

    def series(self, run: str) -> dict[str, list[tuple[int, float]]]:
        """name -> [(step, value)] in the order of steps."""
        out = defaultdict(list)
        query = "select key, step, value from metrics where run_uuid = ? order by step, timestamp"
        for key, step, value in self.sql.execute(query, (run,)):
            out[key].append((step, value))
        return dict(out)

    def numbers(self, run: str) -> dict[str, list[tuple[int, float]]]:
        """Every metric but clocks."""
        return {k: v for k, v in self.series(run).items() if not k.startswith(("time/", "perf/", "system/"))}

    def params(self, run: str) -> dict[str, str]:
        return dict(self.sql.execute("select key, value from params where run_uuid = ?", (run,)))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A directory in which the sweep ran, and what it printed."""
    directory = tmp_path_factory.mktemp("swept")
    done = lab(*SWEEP, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory, done.stdout


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The numbers of one uninterrupted run."""
    directory = tmp_path_factory.mktemp("whole")
    done = lab(*ONE, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(directory)
    (run,) = store.runs()
    return store.numbers(run), json.loads((next(directory.glob("outputs/*/spec.json"))).read_text())


def test_every_arm_and_seed_is_there_once(swept):
    tags = Store(swept[0]).runs().values()
    found = Counter((t["arm"], t["seed"]) for t in tags)
    assert found == {(a, s): 1 for a in ARMS for s in ("0", "1")}
    assert {t["study"] for t in tags} == {"small"}
    for state in ("RUNNING", "FAILED", "KILLED"):
        assert not Store(swept[0]).runs(state)


def test_buffer_counts_add_up_at_every_step_of_every_run(swept):
    store, checked = Store(swept[0]), 0
    for run in store.runs():
        series = store.series(run)
        heads = {k.removesuffix("generated") for k in series if k.endswith("/groups/generated")}
        assert heads
        for head in heads:
            verdicts = [dict(series[head + v]) for v in ("admitted", "too_hard", "too_easy", "no_signal", "errored")]
            for step, generated in series[head + "generated"]:
                assert generated == sum(v[step] for v in verdicts)
                checked += 1
        for name, points in series.items():
            assert len({s for s, _ in points}) == len(points), f"{name} has two values at a step"
    assert checked > 20


def test_the_table_equals_the_store_and_every_accuracy_improves(swept):
    store = Store(swept[0])
    last = {
        (t["arm"], int(t["seed"])): {k: v[-1][1] for k, v in store.series(r).items()} for r, t in store.runs().items()
    }
    first = {
        (t["arm"], int(t["seed"])): {k: v[0][1] for k, v in store.series(r).items()} for r, t in store.runs().items()
    }
    with open(swept[0] / "reports" / "small" / "table.csv") as f:
        table = {row["arm"]: row for row in csv.DictReader(f)}
    assert list(table) == list(ARMS)
    for arm, row in table.items():
        for metric, column in {
            "score": "score/end",
            **{f"eval/heldout_{s}/avg_at_k": f"heldout_{s}/end" for s in ("easy", "medium", "hard")},
        }.items():
            mean = statistics.fmean(last[arm, s][metric] for s in (0, 1))
            assert float(row[column]) == pytest.approx(mean, abs=1e-12)
            assert mean > statistics.fmean(first[arm, s][metric] for s in (0, 1)), (arm, metric)
        assert float(row["updates"]) == pytest.approx(
            statistics.fmean(last[arm, s]["progress/updates"] for s in (0, 1))
        )
        if arm != "l1":
            difference = statistics.fmean(last[arm, s]["score"] - last["l1", s]["score"] for s in (0, 1))
            assert float(row["difference"]) == pytest.approx(difference, abs=1e-12)
    for seed in (0, 1):  # the matched arm made exactly as many updates as the deepest one
        assert last["l1_matched", seed]["progress/updates"] == last["l4", seed]["progress/updates"]
        assert first["l1", seed]["score"] == first["l4", seed]["score"]  # same start, same problems, same seeds


def test_one_number_walks_from_the_command_line_to_the_table(swept):
    directory, printed = swept
    store = Store(directory)
    for run, tags in store.runs().items():
        params = store.params(run)
        spec = json.loads(
            (directory / "outputs" / "small" / tags["arm"] / f"seed{tags['seed']}" / "spec.json").read_text()
        )
        if tags["arm"] in ("l1", "l1_matched"):
            assert "curriculum.levels.l2.clip.high" not in params
            continue
        assert spec["curriculum"]["levels"]["l2"]["clip"]["high"] == 0.2718
        assert spec["curriculum"]["levels"]["l1"]["clip"]["high"] == 0.28
        assert params["curriculum.levels.l2.clip.high"] == "0.2718"
        if tags["arm"] == "l2":  # deeper arms may not reach an update at l2 with so few tokens
            assert "policy/l2/clip_fraction/high" in store.series(run)
    assert "0.2718" in printed[printed.index("Differs from l1 by") :]
    assert "0.2718" in (directory / "reports" / "small" / "table.csv").read_text()


def test_figures_that_were_left_out_are_not_there_and_the_command_that_draws_them_is_printed(swept):
    directory, printed = swept
    report = directory / "reports" / "small"
    assert not list(report.glob("*.png")) and "<figure" not in (report / "report.html").read_text()
    assert "\nwith figures (study.figures=false left them out): eprli-lab report study=small" in printed
    assert "\nagain: " not in printed


@pytest.mark.exhaustive
def test_the_report_again_and_the_sweep_again(swept):
    directory, printed = swept
    report = lab("study=small", cwd=directory, module="analysis.report")
    assert report.returncode == 0, report.stderr
    head = next(line for line in printed.splitlines() if line.startswith("l4 "))
    assert head in report.stdout
    for figure in ("learning_curves.png", "buffer.png", "effects.png", "reward_variance.png"):
        assert (directory / "reports" / "small" / figure).read_bytes()[:4] == b"\x89PNG"
    page = (directory / "reports" / "small" / "report.html").read_text()
    assert page.count("<figure") > 4
    assert "eprli_lab.run -m sweep=" in page and "torch 2" in page, "the command and the versions that made it"
    assert "on new problems" in page and "outcomes.parquet is not there" not in page
    again = lab(*SWEEP, cwd=directory)
    assert again.returncode == 0 and "12 of them done before" in again.stdout and head in again.stdout
    assert len(Store(directory).runs()) == 12


@pytest.mark.exhaustive
def test_a_changed_config_under_the_same_name_is_refused(swept):
    done = lab(*SWEEP, "optim.learning_rate=1e-4", cwd=swept[0])
    assert done.returncode == 2
    assert "optim.learning_rate: 0.0005 -> 0.0001" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.exhaustive
def test_the_same_seed_gives_the_same_numbers(whole, tmp_path):
    assert lab(*ONE, cwd=tmp_path).returncode == 0
    store = Store(tmp_path)
    (run,) = store.runs()
    assert store.numbers(run) == whole[0]


@pytest.mark.exhaustive
def test_killed_at_three_points_and_resumed_equals_uninterrupted(whole, tmp_path):
    """SIGKILL once before the first update's checkpoint, once in the first level, once near the end."""
    directory = tmp_path / "outputs"
    for mark in ("checkpoint-00000000", "checkpoint-00000002", "checkpoint-00000006"):
        run = start(*ONE, cwd=tmp_path)
        deadline = time.monotonic() + 120
        while not any(p.name >= mark for p in directory.glob("*/checkpoint-*")):
            assert run.poll() is None and time.monotonic() < deadline, f"no {mark}"
            time.sleep(0.005)
        time.sleep(0.05)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    done = lab(*ONE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming" in done.stdout
    store = Store(tmp_path)
    (run_id,) = store.runs()
    assert store.numbers(run_id) == whole[0]
    assert not store.runs("RUNNING")


@pytest.mark.exhaustive
def test_interrupted_run_says_how_to_resume(whole, tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-m", "eprli_lab.run", *ONE], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("outputs/*/checkpoint-00000002")) and run.poll() is None:
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGINT)
    error = run.communicate(timeout=120)[1]
    assert run.returncode == 130
    assert "the same command resumes" in error and "Traceback" not in error
    assert len(Store(tmp_path).runs("KILLED")) == 1
    assert lab(*ONE, cwd=tmp_path).returncode == 0
    store = Store(tmp_path)
    (run_id,) = store.runs()
    assert store.numbers(run_id) == whole[0]


@pytest.mark.exhaustive
def test_a_sweep_killed_in_the_middle_ends_with_every_run_once_and_the_same_numbers(swept, tmp_path):
    part = [
        *SWEEP,
        "study.only=[l1_matched]",
    ]  # with the baseline and the arm that it waits for: six runs of the twelve
    sweep = start(*part, cwd=tmp_path)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("outputs/small/*/*/outcomes.parquet"))) < 2:
        assert sweep.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    done = lab(*part, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    mine, theirs = Store(tmp_path), Store(swept[0])
    key = lambda tags: (tags["arm"], tags["seed"])
    ours = {key(t): mine.numbers(r) for r, t in mine.runs().items()}
    assert Counter(key(t) for t in mine.runs().values()) == dict.fromkeys(ours, 1)
    assert ours.keys() == {(a, s) for a in ("l1", "l4", "l1_matched") for s in "01"}
    assert ours == {key(t): theirs.numbers(r) for r, t in theirs.runs().items() if key(t) in ours}
    assert not mine.runs("RUNNING")


@pytest.mark.exhaustive
def test_nan_fails_the_run_names_the_step_and_the_sweep_goes_on(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "hot.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/sweeper: ablation\n"
        "study:\n  name: hot\n  baseline: calm\n  arms:\n    calm: {}\n"
        "    hot: {overrides: [optim.learning_rate=0.99, algorithm.kl_coef=1.0, curriculum.levels.l1.inner_iterations=8]}\n"
    )
    done = lab(
        "-m",
        "sweep=hot",
        "preset=smoke",
        "budget.amount=5000",
        *CHEAP,
        "study.seeds=[0]",
        "study.retries=0",
        cwd=tmp_path,
    )
    # after one huge step the k3 term exp(reference - new) of an old sample overflows in the next pass
    assert done.returncode == 1, done.stdout + done.stderr
    assert "hot seed 0" in done.stderr and "the last good checkpoint is" in done.stderr
    store = Store(tmp_path)
    assert [t["arm"] for t in store.runs().values()] == ["calm"]
    assert [t["arm"] for t in store.runs("FAILED").values()] == ["hot"]


@pytest.mark.exhaustive
def test_the_same_config_twice_is_no_difference(tmp_path):
    done = lab("-m", "sweep=aa", *ONE_SKILL, "budget.amount=5000", "study.seeds=[0,1,2]", *CHEAP, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"b: \S+ \[-\S+, \+\S+\] in score over 3 common seeds: not distinguishable from zero", done.stdout)
    assert "b: replicate=1" in done.stdout
    store = Store(tmp_path)
    scores = {(t["arm"], t["seed"]): store.numbers(run)["score"] for run, t in store.runs().items()}
    assert all(scores["a", s][0] == scores["b", s][0] for s in "012")  # before training: the same policy and sampling
    assert all(scores["a", s][-1] != scores["b", s][-1] for s in "012")  # other luck, not the same run again
