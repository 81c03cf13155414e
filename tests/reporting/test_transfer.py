"""Transfer and forgetting by hand, entropy at the end, and where the table shows them; does Q order accuracy?"""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import planted
import pytest

from eprli_lab.reporting import derived
from eprli_lab.reporting.load import History, RunData
from eprli_lab.reporting.report.level_blocks import falls, levels_block
from eprli_lab.reporting.stats.transfer import LevelMatrix, backward_transfer, forgetting, forward_transfer
from eprli_lab.reporting.tables.document import document
from eprli_lab.reporting.tables.rows import ablation_table

# accuracy on the levels a, b, c before training, after a's, after b's, after c's
BEFORE = (0.1, 0.2, 0.3)
AFTER = ((0.5, 0.3, 0.3), (0.6, 0.7, 0.5), (0.4, 0.65, 0.9))
MATRIX = LevelMatrix(("a", "b", "c"), np.array(BEFORE), np.array(AFTER))


def test_transfer_and_forgetting_by_hand():
    assert forward_transfer(MATRIX) == pytest.approx(((0.3 - 0.2) + (0.5 - 0.3)) / 2)  # R[1, 2], R[2, 3]
    assert backward_transfer(MATRIX) == pytest.approx(((0.4 - 0.5) + (0.65 - 0.7)) / 2)
    assert forgetting(MATRIX) == pytest.approx(((0.6 - 0.4) + (0.7 - 0.65)) / 2), "from the best, not from its own end"
    one = LevelMatrix(("a",), np.array([0.1]), np.array([[0.5]]))
    assert all(math.isnan(measure(one)) for measure in (forward_transfer, backward_transfer, forgetting))


def run_of(matrix: LevelMatrix, quantity: str = "common/avg_at_k", steps: int = 3) -> RunData:
    """A run that trained each level for `steps` steps and was evaluated at every boundary, and once on the way."""
    run = RunData("r", "arm", 0, {}, {})
    for j, level in enumerate(matrix.levels):
        points = [(0, float(matrix.before[j])), (1, 0.999)]  # the evaluation on the way is no boundary
        points += [(steps * (i + 1), float(row[j])) for i, row in enumerate(matrix.after)]
        run.histories[f"heldout/{level}/{quantity}"] = History.of(points)
        trained = range(steps * j + 1, steps * (j + 1) + 1)
        run.histories[f"buffer/{level}/groups/generated"] = History.of((s, 8.0) for s in trained)
    return run


def test_the_matrix_is_read_at_the_ends_of_training_spans():
    found = derived.level_matrix(run_of(MATRIX))
    assert found is not None and found.levels == ("a", "b", "c")
    assert found.before.tolist() == list(BEFORE) and found.after.tolist() == [list(row) for row in AFTER]
    hard_first = LevelMatrix(("z", "a"), np.array([0.1, 0.6]), np.array([[0.3, 0.65], [0.2, 0.9]]))
    found = derived.level_matrix(run_of(hard_first))
    assert found is not None and found.levels == ("z", "a"), "in the order of training, not of names"
    values = derived.transfer(run_of(hard_first))
    assert values == pytest.approx({"forward_transfer": 0.05, "backward_transfer": -0.1, "forgetting": 0.1})


def test_problems_that_all_evaluations_share_go_before_all_problems():
    """Boundaries may ask a quarter of the problems: the easiest quarter of a level is no transfer."""
    run = run_of(MATRIX)
    other = MATRIX._replace(after=np.array(AFTER) + 0.05)
    run.histories.update({k: v for k, v in run_of(other, "avg_at_k").histories.items() if k.startswith("heldout")})
    found = derived.level_matrix(run)
    assert found is not None and found.after[0, 0] == 0.5
    alone = derived.level_matrix(run_of(other, "avg_at_k"))
    assert alone is not None and alone.after[0, 0] == 0.55


def test_without_boundaries_there_is_no_transfer():
    mixed = run_of(MATRIX)
    mixed.histories["buffer/a/groups/generated"] = History.of((s, 8.0) for s in (1, 2, 5))  # comes back to a
    unasked = run_of(MATRIX)
    unasked.histories["heldout/b/common/avg_at_k"] = History.of([(0, 0.2), (9, 0.65)])  # not asked at boundaries
    single = run_of(LevelMatrix(("a",), np.array([0.1]), np.array([[0.5]])))
    for run in (mixed, unasked, single, RunData("r", "arm", 0, {}, {})):
        assert derived.level_matrix(run) is None
        assert all(math.isnan(v) for v in derived.transfer(run).values())


def test_entropy_at_the_end_is_that_of_the_last_five_updates_whatever_their_level():
    run = run_of(MATRIX)
    run.histories["policy/a/entropy"] = History.of([(1, 9.0), (2, 0.5), (3, 0.4)])
    run.histories["policy/b/entropy"] = History.of([(4, 0.3), (5, 0.2), (6, 0.1), (7, math.nan)])
    assert derived.final_entropy(run) == pytest.approx((0.5 + 0.4 + 0.3 + 0.2 + 0.1) / 5)
    assert math.isnan(derived.final_entropy(RunData("r", "arm", 0, {}, {})))


def leveled(plain: bool = True):
    """A planted study whose arm `other` has levels with boundaries; `plain` stands for an earlier version's runs."""
    study = planted.study(seeds=2)
    for run in study.runs:
        run.params.update({
            "curriculum.levels.l1.quality_threshold": "0.5", "curriculum.levels.l2.quality_threshold": "1.0",
        })  # fmt: skip
        if run.arm == "plain" and plain:
            continue
        shift = 0.02 * run.seed
        for level, values in {"l1": (0.6, 0.8, 0.7 + shift), "l2": (0.2, 0.3, 0.6)}.items():
            for step, value in zip((0, 20, 40), values, strict=True):
                planted.put(run, f"heldout/{level}/common/avg_at_k", step, value)
                planted.put(run, f"heldout/{level}/avg_at_k", step, value)
                planted.put(run, f"heldout/{level}/problems", step, 256)
        planted.put(run, "model/parameters", 0, 98304)
    return study


def test_columns_show_means_over_seeds_and_dashes_where_nothing_was_logged():
    table = ablation_table(leveled())
    rows = {r["arm"]: r for r in csv.DictReader(io.StringIO(table.csv()))}
    other = rows["other"]
    assert float(other["forward_transfer"]) == pytest.approx(0.1)
    assert float(other["backward_transfer"]) == pytest.approx(-0.09) and float(other["forgetting"]) == pytest.approx(
        0.09
    )
    assert other["parameters"] == "98304.0" and 0.05 < float(other["entropy"]) < 0.2
    assert [rows["plain"][k] for k in ("forward_transfer", "backward_transfer", "forgetting", "parameters")] == [""] * 4
    blocks = {b.title: b for b in document(table).blocks}
    assert [c.text for c in blocks["transfer between levels"].rows[0]] == ["plain", "-", "-", "-"]
    assert [c.text for c in blocks["transfer between levels"].rows[1]] == ["other", "+.100", "-.090", "+.090"]
    assert blocks["what training took"].header[-2:] == ["entropy at the end", "parameters"]
    assert [c.text for c in blocks["what training took"].rows[1]][-1] == "98,304"
    earlier = document(ablation_table(planted.study()))
    assert "transfer between levels" not in [b.title for b in earlier.blocks], "no block of dashes"


def test_does_accuracy_fall_by_the_wider_interval():
    """1,000 problems at .6 and .5: binomial half width 1.96 sqrt(.24/1000 + .25/1000) = .043."""
    at = lambda value, *more: dict(enumerate((value, *more)))
    assert falls(at(0.6), at(0.5), (1000, 1000)) == "yes" and falls(at(0.5), at(0.6), (1000, 1000)) == "no"
    assert falls(at(0.54), at(0.5), (1000, 1000)) == "not shown" and falls(at(0.545), at(0.5), (1000, 1000)) == "yes"
    assert falls(at(0.6, 0.9), at(0.5, 0.5), (1000, 1000)) == "not shown", "seeds that disagree: t interval of .1, .4"
    assert falls(at(1.0), at(0.9), (4, 1000)) == "not shown", "four problems that are all solved are no certainty"
    assert falls(at(math.nan), at(0.5), (10, 10)) == "-"


def test_the_block_says_whether_q_orders_accuracy():
    study = leveled()
    block = levels_block(study)
    assert block is not None
    assert [[c.text for c in row] for row in block.rows] == [
        ["other", "l1", ".500", "256", ".600 → .710", "-", "-"],
        ["other", "l2", "1.000", "256", ".200 → .600", "yes", "not shown"],
    ]
    assert block.note.startswith(
        "Does accuracy fall from each level to the next? Before training: yes in other. After training: not shown in other."
    )
    for run in study.of("other"):
        planted.change(run, "heldout/l2/avg_at_k", lambda step, value: 0.95 if step == 40 else value)
    turned = levels_block(study)
    assert turned is not None and [c.text for c in turned.rows[1]][-2:] == ["yes", "no"]
    assert levels_block(planted.study()) is None, "of an earlier version"
