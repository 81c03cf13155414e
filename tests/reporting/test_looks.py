"""Sequential looks: published boundaries, exactness for few seeds, decisions, and 5% in simulated A/A studies."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from planted import described
from planted import study as planted
from scipy import stats

from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats import sequential
from eprli_lab.reporting.stats.looks import (
    Look,
    LookPlan,
    adjusted,
    decided,
    examine,
    is_over,
    look_sizes,
    read_looks,
    refusal,
    write_looks,
)
from eprli_lab.reporting.stats.paired import paired_difference, t_quantile
from eprli_lab.reporting.stats.sequential import nominal_level, sequential_p, spent
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.reporting.tables.verdicts import headline
from eprli_lab.tracking.description import LOOKS

THIRDS = (1 / 3, 2 / 3, 1.0)


def wrong_decisions(plan: LookPlan, arms: int, studies: int, seed: int) -> tuple[int, list[int]]:
    """(A/A studies in which anything was decided, how many studies were over at each look): the sweep's decisions."""
    rng = np.random.default_rng(seed)
    names = ["base", *(f"arm{i}" for i in range(1, arms))]
    pairs = [(name, "base") for name in names[1:]]
    wrong = 0
    ends = [0] * plan.looks
    for _ in range(studies):
        scores = {name: dict(zip(plan.seeds, rng.normal(size=len(plan.seeds)), strict=True)) for name in names}
        taken: list[Look] = []
        while not taken or not is_over(scores, pairs, plan, taken):
            taken.append(Look(len(taken) + 1))
        wrong += any(decided(examine(scores, pairs, plan, taken)))
        ends[taken[-1].number - 1] += 1
    return wrong, ends


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spending", "published"),  # two-sided 5%, three even looks: Lan and DeMets' program, as R's ldbounds gives it
    [("obrien_fleming", (3.7103, 2.5114, 1.9930)), ("pocock", (2.2794, 2.2949, 2.2959))],
)
def test_many_seeds_give_the_published_boundaries(spending, published):
    sizes = (300, 600, 900)  # t is normal there
    levels = [nominal_level(0.05, sizes[:k], THIRDS[:k], spending) for k in (1, 2, 3)]
    assert [stats.norm.isf(level / 2) for level in levels] == pytest.approx(published, abs=0.012)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_three_seeds_a_look_spend_what_they_may(spending):
    """The levels of the t tests, by simulation; those of the normal distribution would reject in 5.3% and 5.5%."""
    x = np.random.default_rng(5).standard_normal((200_000, 9))
    rejected = np.zeros(len(x), bool)
    for k, n in enumerate((3, 6, 9), start=1):
        t = np.abs(x[:, :n].mean(1)) / x[:, :n].std(1, ddof=1) * math.sqrt(n)
        rejected |= 2 * stats.t.sf(t, n - 1) < nominal_level(0.05, (3, 6, 9)[:k], THIRDS[:k], spending)
        assert rejected.mean() == pytest.approx(spent(THIRDS[k - 1], 0.05, spending), abs=0.0015)


def test_sequential_p_is_the_level_at_which_the_look_rejects():
    for look in (1, 2, 3):
        sizes, fractions = (3, 6, 9)[:look], THIRDS[:look]
        for level in (0.002, 0.0125, 0.05, 0.3):
            p = nominal_level(level, sizes, fractions, "pocock")
            assert sequential_p(p, sizes, fractions, "pocock") == pytest.approx(level, rel=0.01)
    assert sequential_p(0.05, (3, 6, 9), THIRDS, "obrien_fleming") > 0.05  # the price of having looked
    assert sequential_p(0.99, (3, 6), THIRDS[:2], "pocock") == 1.0
    assert math.isnan(sequential_p(math.nan, (3,), (1.0,), "pocock"))
    assert sequential_p(0.04, (4,), (1.0,), "obrien_fleming") == pytest.approx(0.04, rel=0.01)  # one look is no look


def test_what_is_spent_ends_at_the_whole_level():
    for spending in ("obrien_fleming", "pocock"):
        assert spent(1.0, 0.05, spending) == pytest.approx(0.05)
        assert spent(0.3, 0.05, spending) < spent(0.6, 0.05, spending) < 0.05
    assert spent(1 / 3, 0.05, "obrien_fleming") == pytest.approx(0.0002, abs=2e-5)
    with pytest.raises(ValueError, match="more at each"):
        sequential._nominal((3, 3), (0.5, 1.0), "pocock")


def test_looks_are_even_and_need_three_seeds():
    assert look_sizes(9, 3) == (3, 6, 9)
    assert look_sizes(10, 3) == (4, 7, 10)
    assert look_sizes(7, 3) == (3, 5, 7)
    assert refusal(7, 3) == "" and refusal(4, 1) == ""
    assert "give the first of 3 looks 2, and a verdict needs 3: plan 7 seeds or more" in refusal(6, 3)
    plan = LookPlan((5, 3, 8, 1, 9, 2), 2)
    assert plan.seeds_of(0) == () and plan.seeds_of(1) == (5, 3, 8) and plan.seeds_of(3) == plan.seeds
    assert read_looks(write_looks([Look(1, frozenset({("a", 3)}))], True)) == ((Look(1, frozenset({("a", 3)})),), True)
    assert read_looks("") == ((), False)


def test_a_decision_stays_and_the_others_go_on():
    plan = LookPlan(tuple(range(6)), 2, "pocock")
    clear = {s: 1.0 + 0.001 * (-1) ** s for s in range(6)}
    noise = dict(enumerate((0.1, -0.1, 0.05, -0.07, 0.08, -0.02)))
    scores = {"clear": clear, "noise": noise, "base": dict.fromkeys(range(6), 0.0)}
    pairs = [("clear", "base"), ("noise", "base")]
    tests = examine(scores, pairs, plan, [Look(1)])
    assert decided(tests) == [1, 0] and tests[0].seeds == (0, 1, 2)
    assert not is_over(scores, pairs, plan, [Look(1)]) and is_over(scores, pairs[:1], plan, [Look(1)])
    worn = {**scores, "clear": {**clear, 3: -9.0, 4: -9.0, 5: -9.0}}  # what comes later does not undo it
    assert decided(examine(worn, pairs, plan, [Look(1), Look(2)])) == [1, 0]
    assert adjusted(examine(worn, pairs, plan, [Look(1), Look(2)]))[0] < 0.05
    assert is_over(worn, pairs, plan, [Look(1), Look(2)])


def test_a_run_that_failed_costs_its_look_a_seed_for_good():
    plan = LookPlan(tuple(range(8)), 2)
    scores = {"a": {s: 1.0 + 0.1 * s for s in range(8)}, "b": dict.fromkeys(range(8), 0.0)}
    failed = Look(1, frozenset({("a", 1)}))
    assert examine(scores, [("a", "b")], plan, [failed])[0].seeds == (0, 2, 3)  # although it is there by now
    two_left = Look(1, frozenset({("a", 1), ("b", 2)}))
    assert math.isnan(
        examine(scores, [("a", "b")], plan, [two_left])[0].p
    )  # two seeds judge nothing, and spend nothing
    both = examine(scores, [("a", "b")], plan, [two_left, Look(2)])[0]
    assert both.p == pytest.approx(stats.ttest_1samp([1.0 + 0.1 * s for s in range(8)], 0).pvalue, rel=0.02)


def test_aa_studies_keep_five_percent_few():
    wrong, ends = wrong_decisions(LookPlan(tuple(range(9)), 3, "pocock"), arms=3, studies=150, seed=1)
    assert sum(ends) == 150
    assert stats.binomtest(wrong, 150, 0.05, alternative="greater").pvalue > 0.001


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
@pytest.mark.parametrize(("seeds", "looks", "arms"), [(9, 3, 2), (9, 3, 4), (7, 3, 3)])
def test_aa_studies_keep_five_percent(spending, seeds, looks, arms):
    wrong, _ = wrong_decisions(LookPlan(tuple(range(seeds)), looks, spending), arms, studies=2000, seed=seeds + arms)
    assert stats.binomtest(wrong, 2000, 0.05, alternative="greater").pvalue > 0.001
    if arms == 2:  # one comparison: the whole level is spent, no more and no less
        assert stats.binomtest(wrong, 2000, 0.05).pvalue > 0.001


def test_unadjusted_looks_would_not_keep_it():
    """The fault that all this is for: 5% at each of three looks is more than twice that."""
    x = np.random.default_rng(2).standard_normal((20_000, 9))
    any_look = np.zeros(len(x), bool)
    for n in (3, 6, 9):
        any_look |= stats.ttest_1samp(x[:, :n], 0, axis=1).pvalue < 0.05
    assert any_look.mean() > 0.10


def looked_at(seeds: int, **gains) -> StudyData:
    """A planted study of nine seeds and three looks, Pocock's spending, of which so many seeds are there."""
    data = planted(arms=("plain", "other"), seeds=seeds, **gains)
    contrasts = ("other - plain",)
    return described(data, looks=3, spending="pocock", seeds=tuple(range(9)), contrasts=contrasts)


def test_the_report_says_where_the_study_stopped_and_by_what():
    data = looked_at(3, other=(0.3, 0.3, 0.3))
    assert data.looks is not None and data.looks.is_stopped and data.looks.not_run == (3, 4, 5, 6, 7, 8)
    assert data.looks.rest == "seeds 3, 4, 5, 6, 7, 8: not run: stopped at look 1 of 3"
    table = ablation_table(data)
    text = table.text()
    assert "Stopped at look 1 of 3 after 3 of 9 seeds: all that the study asks is decided" in text
    assert "better than plain (p " in text and "after 1 look)" in text
    assert "repeated confidence intervals" in text and "corrected for the looks" in text
    (effect,) = table.contrasts
    level = nominal_level(0.05, (3,), (1 / 3,), "pocock")
    assert effect.difference.p < effect.p_holm == pytest.approx(0.05 * effect.difference.p / level, rel=0.05)
    plain = paired_difference(*({r.seed: r.last("score") for r in data.of(arm)} for arm in ("other", "plain")))
    widths = [d.high - d.low for d in (effect.difference, plain)]
    assert widths[0] / widths[1] == pytest.approx(t_quantile(2, 1 - level) / t_quantile(2), rel=1e-3)
    assert headline(table).startswith("Stopped at look 1 of 3")


def test_between_looks_nothing_but_the_last_look_is_judged():
    early = looked_at(2, other=(0.3, 0.3, 0.3))
    assert early.looks is not None and not early.looks.taken
    assert "not judged before look 1 of 3 (after 3 seeds)" in ablation_table(early).text()
    assert math.isnan(ablation_table(early).rows[1].p_holm)
    between = looked_at(5, other=(-0.003, -0.003, -0.003))
    table = ablation_table(between)
    assert between.looks is not None and len(between.looks.taken) == 1 and not between.looks.is_stopped
    assert "Look 1 of 3 after 3 of 9 seeds: the study goes on" in table.text()
    assert table.contrasts[0].difference.n == 3


def test_the_last_look_has_what_is_left_of_the_level():
    data = looked_at(9, other=(-0.003, -0.003, -0.003))
    (effect,) = ablation_table(data).contrasts
    assert effect.difference.n == 9 and effect.p_holm >= effect.difference.p
    assert "Look 3 of 3, the last, after 9 seeds" in ablation_table(data).text()


def test_a_changed_plan_judges_nothing():
    data = described(looked_at(3, other=(0.3, 0.3, 0.3)), forced=("looks: seeds: [0] -> [0, 1]",))
    text = ablation_table(data).text()
    assert "Looks: not judged, since the looks were changed after the study had runs (study.force)." in text
    assert "better than" not in text and "worse than" not in text


def test_one_look_is_the_table_that_it_was():
    data = planted(arms=("plain", "other"), seeds=4, other=(0.3, 0.3, 0.3))
    once = described(data, looks=1)
    assert once.looks is None and ablation_table(once).text() == ablation_table(data).text()
    assert '"looks"' not in data.description.to_tag()
    assert '"looks": 3' in described(data, looks=3).description.to_tag()


def test_what_the_sweep_recorded_goes_before_what_the_runs_say():
    data = looked_at(4, other=(0.3, 0.3, 0.3))
    assert data.looks is not None and data.looks.is_stopped
    record = write_looks([Look(1, frozenset({("other", 1)}))], False)  # that run came only after the look
    recorded = dataclasses.replace(data, tags={LOOKS: record})
    assert recorded.looks is not None and not recorded.looks.is_stopped
    (effect,) = ablation_table(recorded).contrasts
    assert effect.difference.n == 2 and math.isnan(effect.p_holm)
    assert "two seeds are shown, not judged" in ablation_table(recorded).text()
    damaged = dataclasses.replace(data, tags={LOOKS: "{}"})
    assert damaged.looks == data.looks
