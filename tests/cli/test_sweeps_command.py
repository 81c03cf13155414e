"""`eprli-lab sweeps` and `eprli-lab status`: what there is and what it costs; how far a study is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import REPO
from plans import own_sweep
from sweeping_work import arms, make_plan

from eprli_lab.cli.main import main as eprli_lab
from eprli_lab.config.compose import compose_spec
from eprli_lab.sweeping.cost import measured_rates, run_cost
from eprli_lab.sweeping.study import Study

pytestmark = pytest.mark.slow  # one of many

ISSUE = (
    "levels thresholds clip length_reward lengths order sharing admission group estimator inner_iterations label_noise "
    "reward_density model_size domain neighbours aa smoke buffer temperature kl conditioning reward_per_level spectrum "
    "hints control_ladder control_interference control_hints control_limits learning_rate objectives entropy samplers transfer"
)


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")


@pytest.mark.exhaustive
def test_every_sweep_is_listed_with_its_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_sweep(tmp_path, "    a: {}\n    b: {overrides: [curriculum=l3]}\n")
    own_sweep(tmp_path, "    a: {overrides: [optim.learning_rat=1]}\n", name="broken")
    assert eprli_lab(["sweeps", "preset=smoke"]) == 0
    out = capsys.readouterr().out
    listed = {line.partition(":")[0] for line in out.splitlines() if not line.startswith(" ") and ":" in line}
    assert listed >= {*ISSUE.split(), "mine", "broken"}
    assert "broken: does not compose: arm a: optim.learning_rat: unknown key" in out
    assert out.count("does not compose") == 1, "all that are ours do"
    assert "5 arms x 2 seeds; about 0." in out and "after a search of 4 trials x 3 seeds" in out
    assert "cost not measured" not in out


def test_some_are_listed_and_a_wrong_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_sweep(tmp_path, "    a: {}\n    b: {overrides: [curriculum=l3]}\n")
    assert eprli_lab(["sweeps", "only=mine,aa", "preset=smoke"]) == 0
    listed = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if line[:1].isalpha()]
    assert listed[:2] == ["mine", "aa"] and "levels" not in listed
    assert eprli_lab(["sweeps", "only=levls"]) == 2
    assert "only=levls: there is no such sweep (did you mean 'levels'?)" in capsys.readouterr().err


def test_every_file_says_what_a_reader_must_know() -> None:
    from eprli_lab.config.paths import SWEEPS_DIR

    assert {p.stem for p in SWEEPS_DIR.glob("*.yaml")} == set(ISSUE.split())
    for path in SWEEPS_DIR.glob("*.yaml"):
        text = " ".join(line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#"))
        for word in ("Question:", "Claim tested:", "Baseline:", "Budget", "tokens"):
            assert word in text or (path.stem == "levels" and word == "Budget"), f"{path.name}: {word}"


def test_the_cost_of_a_run_is_its_tokens_times_what_a_token_cost() -> None:
    rates = measured_rates()["models"]["qwen3-0.1m-mod10"]
    spec = compose_spec(["evaluation.curve_points=0", "curriculum=l1"])
    answers = 4 * 2 * 3 * 256
    expected = rates["start"] + 60000 * (rates["generate"] + rates["train"])
    expected += answers * rates["response_tokens"] * rates["generate"]
    assert run_cost(spec) == pytest.approx(expected) and 3 < expected < 20
    doubled = compose_spec(["evaluation.curve_points=0", "curriculum=l1", "curriculum.levels.l1.inner_iterations=2"])
    assert run_cost(doubled) == pytest.approx(expected + 60000 * rates["train"])
    assert run_cost(spec.model_copy(update={"model": spec.model.model_copy(update={"name": "own"})})) is None


def test_status_of_a_study_at_work(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(make_plan({"arms": arms("a", "b"), "seeds": [0, 1], "retries": 0}))
    first, second, third = (study.claim() for _ in range(3))
    assert first and second and third
    study.succeed(first, {"score": 0.8125}, 1.0)
    study.fail(second, "the data is bad")
    study.heartbeat({third.number: 0.43})
    assert eprli_lab(["status", "study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study study: 1 of 4 runs complete, 1 running, 0 waiting to resume"
    assert [line.split() for line in lines[1:4]] == [
        ["arm", "seed", "0", "seed", "1"],
        ["a", "0.812", "43%"],
        ["b", "failed", "-"],
    ]
    assert f"process {os.getpid()} on " in lines[4] and lines[4].endswith("a seed 1")
    assert lines[5] == "failed: b seed 0: the data is bad"
    study.close()
    eprli_lab(["status", "study"])
    assert "0 running, 1 waiting to resume" in capsys.readouterr().out


def test_status_of_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    node = {"arms": arms("a"), "search_seeds": [7], "trials": 3}
    plan = make_plan({**node, "search": {"space": {"optim.learning_rate": "interval(0.1,0.2)"}}})
    study = Study(plan.searching())
    task = study.claim()
    assert task is not None
    study.succeed(task, {"score": 0.5}, 1.0)
    study.close()
    eprli_lab(["status", "study"])
    assert "study study-search: 1 of 3 trials complete, 0 pruned, 0 running" in capsys.readouterr().out


def test_mistakes_get_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Study(make_plan({"arms": arms("a"), "name": "levels"})).close()
    for arguments, words in (
        (["status", "level"], "there is no such study here (did you mean 'levels'?)"),
        (["status"], "write: eprli-lab status NAME"),
        (["status", "levels", "x=1"], "x: unknown key"),
        (["sweeps", "levels"], "'levels' is not key=value"),
        (["sweeps", "preset=smok"], "preset=smok: there is no such preset (did you mean 'smoke'?)"),
        (["status", "levels", "study.storage=nowhere"], "is no storage"),
    ):
        assert eprli_lab(arguments) == 2
        err = capsys.readouterr().err
        assert words in err and err.startswith("eprli_lab: ") and len(err.splitlines()) == 1
