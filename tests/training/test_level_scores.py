"""Accuracy over the held-out problems of exactly D_l: by hand, and where the loop logs it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from helpers import ScriptedBackend, small_spec
from test_train import Log, trainer

from eprli_lab.config.data import EvaluationSpec
from eprli_lab.records import Problem
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.evaluate import Outcome, asked_always, heldout_levels, level_scores


def problem(name: str, difficulty: float | None, prompt: str = "") -> Problem:
    return Problem(name, prompt or name, ("7",), difficulty)


SUITES = {
    "one": [problem("a", 0.25), problem("b", 0.5), problem("c", 0.51), problem("d", None)],
    "two": [problem("e", 1.0), problem("again", 0.25, prompt="a"), problem("f", 0.26)],
}


def scored(suite: str, name: str, correct: int) -> Outcome:
    return Outcome(suite, name, None, 4, correct, False, 1.0, 0)


@pytest.mark.parametrize("strata", ["band", "cumulative", "all"])
def test_a_level_holds_what_lies_between_its_thresholds_each_problem_once(strata):
    """Q = .25, .5, 1: bounds belong to the lower level; without a difficulty, or asked before, of none."""
    curriculum = small_spec("curriculum=l3", f"curriculum.strata={strata}").curriculum
    held = {("one", "a"): "l1", ("one", "b"): "l2", ("one", "c"): "l3", ("two", "e"): "l3", ("two", "f"): "l2"}
    assert heldout_levels(SUITES, curriculum) == held


def test_problems_above_the_last_threshold_are_of_no_level():
    curriculum = small_spec("curriculum=l2", "curriculum.levels.l2.quality_threshold=0.6").curriculum
    assert ("two", "e") not in heldout_levels(SUITES, curriculum)
    assert set(heldout_levels(SUITES, curriculum).values()) == {"l1", "l2"}


def test_level_scores_by_hand():
    levels = heldout_levels(SUITES, small_spec("curriculum=l3").curriculum)
    spec = EvaluationSpec.model_validate({**small_spec().evaluation.model_dump(), "boundary_problems": 2})
    always = asked_always(SUITES, spec)
    assert always == {("one", "a"), ("one", "b"), ("two", "e"), ("two", "again")}
    counts = {"a": 4, "b": 2, "c": 1, "d": 4}
    rows = [scored("one", k, v) for k, v in counts.items()]
    rows += [scored("two", k, v) for k, v in {"e": 3, "again": 0, "f": 1}.items()]
    out = level_scores(rows, levels, always)
    assert out == {
        "heldout/l1/avg_at_k": 1.0, "heldout/l1/problems": 1.0, "heldout/l1/common/avg_at_k": 1.0,
        "heldout/l2/avg_at_k": 0.375, "heldout/l2/problems": 2.0, "heldout/l2/common/avg_at_k": 0.5,
        "heldout/l3/avg_at_k": 0.5, "heldout/l3/problems": 2.0, "heldout/l3/common/avg_at_k": 0.75,
        "common/score": (0.75 + 0.375) / 2,
    }  # fmt: skip
    assert level_scores([scored("one", "d", 4)], levels, ()) == {}, "no level, and none that is asked always"
    everything = asked_always(SUITES, spec.model_copy(update={"boundary_problems": 0}))
    assert len(everything) == 7


def test_every_evaluation_logs_its_levels_and_training_labels_do_not_move_them(tmp_path: Path):
    """Recounted from the outcomes that the run kept; shuffled training labels leave the held-out levels alone."""
    settings = ["budget.amount=8000", "curriculum=l3"]
    backend = ScriptedBackend(lambda p, u: 1.0 - (p.difficulty or 0.0))
    log = Log()
    trainer(small_spec(*settings), tmp_path / "a", backend, log).run()
    tops = {"l1": 0.25, "l2": 0.5, "l3": 1.0}
    by_step: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    stages: dict[str, int] = {}
    for row in RunStore(tmp_path / "a", "").rows("outcomes"):
        level = next(name for name, top in tops.items() if row["difficulty"] <= top)
        by_step[row["step"]][level].append(row["correct"] / row["samples"])
        stages[row["stage"]] = row["step"]
    assert {"start", "end_l1", "curve_1", "end_l2", "final"} <= set(stages)
    for step, levels in by_step.items():
        for level, shares in levels.items():
            assert log.points[step, f"heldout/{level}/problems"] == len(shares)
            assert log.points[step, f"heldout/{level}/avg_at_k"] == pytest.approx(sum(shares) / len(shares))
    first, last = stages["start"], stages["final"]
    assert [log.points[s, "heldout/l1/problems"] for s in (first, stages["end_l1"], last)] == [8, 4, 8]
    boundary = stages["end_l1"]  # asks exactly what every evaluation asks
    assert log.points[boundary, "common/score"] == log.points[boundary, "score"]
    asked = {r["problem"] for r in RunStore(tmp_path / "a", "").rows("outcomes") if r["stage"] == "end_l1"}
    begun = [r for r in RunStore(tmp_path / "a", "").rows("outcomes") if r["stage"] == "start"]
    shares = [r["correct"] / r["samples"] for r in begun if r["problem"] in asked]
    assert len(shares) == 12 and log.points[first, "common/score"] == pytest.approx(sum(shares) / 12)
    noisy = Log()
    trainer(small_spec(*settings, "data.label_noise=1.0"), tmp_path / "b", backend, noisy).run()
    assert [noisy.points[first, f"heldout/{lv}/problems"] for lv in tops] == [8, 8, 8]
    assert noisy.points[first, "heldout/l3/avg_at_k"] == log.points[first, "heldout/l3/avg_at_k"]
