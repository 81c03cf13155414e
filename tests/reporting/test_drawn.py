"""The figure of what was drawn when: shares by level and difficulties, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import planted
import pytest

from eprli_lab.reporting import figures
from eprli_lab.reporting.figures.drawn import drawn_of
from eprli_lab.tracking import names

pytestmark = pytest.mark.slow  # real figures


def row(step: int, level: str, difficulty: float | None) -> dict[str, object]:
    return {"step": step, "level": level, "difficulty": difficulty, "verdict": "admitted", "accuracy": 0.5}


def test_groups_are_spread_over_the_tokens_of_their_step() -> None:
    run = planted.clean_run("a", 0)
    run.histories.clear()
    for step, tokens in enumerate((0, 1000, 3000, 3000)):
        planted.put(run, names.TOKENS, step, tokens)
    rows = [row(1, "l1", 0.2), row(1, "l1", 0.4), row(2, "l2", 1.0), row(2, "l1", None), row(3, "l2", 1.0)]
    found = drawn_of([run], {"a-0": [*rows, row(9, "l1", 0.1), row(1, "l9", 0.1)]}, ["l1", "l2"], [0.0, 2.0, 4.0])
    # step 1 lies in the first bin, step 2 half in each; step 3 made no tokens, 9 was not logged, l9 is no level
    assert found.counts["l1"].tolist() == [2.5, 0.5] and found.counts["l2"].tolist() == [0.5, 0.5]
    assert found.shares()["l1"] == pytest.approx([2.5 / 3, 0.5])
    assert found.mean() == pytest.approx([(0.2 + 0.4 + 0.5) / 2.5, 1.0])
    assert found.quantile(0.1).tolist() == [0.2, 1.0] and found.quantile(0.9).tolist() == [1.0, 1.0]
    empty = drawn_of([run], {}, ["l1"], [0.0, 2.0])
    assert empty.counts == {} and math.isnan(empty.mean()[0])


def test_it_is_drawn_where_something_is_chosen() -> None:
    study = planted.study(seeds=2)
    ledger = {r.run_id: [row(s, "l1" if s <= 20 else "l2", s / 40) for s in range(1, 41)] for r in study.runs}

    def pictures() -> list[figures.Picture]:
        return list(figures.pictures(study, only=["drawn"], ledger=ledger))

    assert pictures() == [], "levels in order, problems uniformly: nothing to show"
    study.of("other")[0].params["curriculum.schedule"] = "bandit"
    [picture] = pictures()
    assert picture.alt.endswith("other level l1 0.50, level l2 0.50, difficulty 0.04 to 0.99.")
    ax = picture.figure.axes[1]
    assert ax.get_title(loc="left") == "other"
    line = next(line for line in ax.lines if str(line.get_label()).startswith("difficulty"))
    assert np.all(np.diff(line.get_ydata()) > 0)
    for key, value in (("curriculum.selection", "pools"), ("curriculum.remeasure.every", "4")):
        study.of("other")[0].params.pop("curriculum.schedule", None)
        study.of("other")[0].params[key] = value
        assert len(pictures()) == 1
        study.of("other")[0].params.pop(key)
    study.of("other")[0].params["curriculum.remeasure.every"] = "None"
    assert pictures() == [] and list(figures.pictures(study, only=["drawn"])) == []
