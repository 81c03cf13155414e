"""`eprli-lab plan`: its words, its refusals, and what it says from given and logged spreads."""

from __future__ import annotations

from pathlib import Path

import pytest
from stores import describe, open_parent, plant

from eprli_lab.cli.plan import as_words, command
from eprli_lab.config.parse import parse_tracking


@pytest.fixture(autouse=True)
def _in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_options_are_words_too():
    assert as_words(["levels", "--effect", "0.05", "--sd=0.1", "preset=smoke"]) == [
        "levels", "effect=0.05", "sd=0.1", "preset=smoke",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which sweep? usage: eprli-lab plan SWEEP"),
        (["levels", "aa", "effect=0.1"], "levels aa: plan one sweep at a time"),
        (["levels"], "effect: give the smallest difference"),
        (["levels", "--effect"], "--effect: its value is missing, for instance --effect 0.05"),
        (["levels", "--efect", "0.1"], "--efect: there is no such option"),
        (["levels", "effect=0"], "effect=0: a number above 0 is needed"),
        (["levels", "effect=0.1", "power=1.5"], "power=1.5: a number above 0.05 and below 1 is needed"),
        (["levels", "effect=0.1", "sd=x"], "sd=x: a number above 0 is needed"),
        (["levels", "effect=0.1", "effect=0.2"], "effect: given twice (0.1, 0.2)"),
        (["levels", "effect=0.1", "sd=0.1", "from=x"], "from=x and sd=0.1: either past runs"),
        (["levels", "effect=0.1", "from=../x"], "from: "),
    ],
)
def test_what_cannot_be_meant_is_refused(words, sentence, capsys):
    assert command.run(words) == 2
    err = capsys.readouterr().err
    assert sentence in err and "Traceback" not in err


@pytest.mark.slow
def test_a_given_sd_plans_every_named_contrast(capsys):
    assert command.run(["levels", "--effect", "0.05", "--sd", "0.04", "study.seeds=range(0,9)", "study.looks=3"]) == 0
    out = capsys.readouterr().out
    assert "levels: to find a difference of .050 in score with power .80" in out
    rows = [line for line in out.splitlines() if line.startswith(("l4 - ", "l2 - ", "l3_shuffled - "))]
    assert len(rows) == 4 and all(" 8 " in row and " 11 " in row for row in rows)
    assert "all comparisons, Holm: 11 seeds x 6 arms = 66 runs, about " in out
    assert "looks after 3, 6 and 9 seeds (obrien_fleming)" in out


@pytest.mark.slow
@pytest.mark.exhaustive
def test_past_runs_give_spread_and_cost(capsys):
    tracking = parse_tracking("t", uri="sqlite:///mlflow.db")
    (Path("sweeps")).mkdir()
    Path("sweeps/mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/sweeper: ablation\n"
        "study:\n  name: mine\n  baseline: l1\n  seeds: [0, 1, 2]\n  arms:\n    l1:\n      overrides: [curriculum=l1]\n"
        "    l2:\n      overrides: [curriculum=l2]\n"
    )
    assert command.run(["mine", "effect=0.05"]) == 2  # nothing is there yet
    assert "nothing says how far seeds differ; name a study that has run (from=NAME)" in capsys.readouterr().err
    parent = open_parent(tracking, "pilot", describe(["l1", "l2"], [0, 1, 2, 3]))
    for arm in ("l1", "l2"):
        for seed in range(4):
            plant(Path("runs"), parent, "pilot", arm, seed)
    assert command.run(["mine", "effect=0.05", "from=pilot"]) == 0
    out = capsys.readouterr().out
    assert "spread from seed to seed: the runs of pilot in sqlite:///mlflow.db" in out
    assert "(4 seeds; ." in out and "(sure: " in out and "the same, sure: " in out
    assert "pilot ran l1, l2 with another configuration than is planned" in out


@pytest.mark.slow
def test_a_cluster_is_planned_in_gpu_hours(capsys):
    assert command.run(["levels", "effect=0.05", "sd=0.04", "experiment=eprli_1p5b", "study.only=[l1_matched]"]) == 0
    lines = capsys.readouterr().out.splitlines()
    planned = next(line for line in lines if line.startswith("as planned: 4 seeds x 3 arms = 12 runs, about "))
    hours = float(planned.rpartition("about ")[2].removesuffix(" GPU-hours").replace(",", ""))
    assert 10 < hours < 100_000  # the arm with as many updates counts like the one that it waits for
    assert "cost: by formulas (backend.dry_run=true), orders of magnitude" in lines
