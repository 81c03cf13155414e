"""`plan`'s numbers against simulated verdicts, within 10%."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from eprli_lab.reporting.stats.looks import LookPlan
from eprli_lab.reporting.stats.paired import ALPHA, corrected, paired_difference
from eprli_lab.reporting.stats.planning import (
    Spread,
    looked_at_seeds,
    need,
    pooled,
    shown_sizes,
    simulate_looks,
    verdict_seeds,
)
from eprli_lab.reporting.stats.power import upper_sd


def share_found(effect: float, sd: float, seeds: int, comparisons: int = 1, studies: int = 10_000) -> float:
    """Share of simulated studies whose first comparison has p below 5% after Holm; the others have no effect."""
    x = np.random.default_rng(seeds).normal(0.0, sd, (studies, comparisons, seeds))
    x[:, 0] += effect
    p = stats.ttest_1samp(x, 0.0, axis=2).pvalue
    # Holm finds the first: it is below alpha / (those not smaller than it, itself included), and so is all before it
    order = np.sort(p, axis=1) * np.arange(comparisons, 0, -1)
    adjusted = np.maximum.accumulate(order, axis=1)
    rank = (p < p[:, :1]).sum(axis=1)
    return float((adjusted[np.arange(studies), rank] < ALPHA).mean())


@pytest.mark.parametrize(("sd", "comparisons"), [(0.03, 1), (0.05, 4), (0.09, 1), (0.09, 4)])
def test_seeds_detectable_effect_and_power_hold_in_simulation(sd, comparisons):
    planned = 6
    plan = need(0.05, Spread(sd), comparisons, planned)
    seeds, least = (
        (plan.alone, plan.detectable_alone) if comparisons == 1 else (plan.corrected, plan.detectable_corrected)
    )
    tenth = max(1, round(0.1 * seeds))
    assert share_found(0.05, sd, seeds + tenth, comparisons) > 0.8
    assert seeds == 3 or share_found(0.05, sd, seeds - tenth, comparisons) < 0.8
    assert share_found(least, sd, planned, comparisons) == pytest.approx(0.8, rel=0.1)
    assert share_found(0.05, sd, planned, comparisons) == pytest.approx(plan.power, rel=0.1)


def test_the_simulation_decides_as_the_report_does():
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(400):
        x = rng.normal(0.0, 0.05, (4, 8))
        x[0] += 0.05
        ds = [paired_difference(dict(enumerate(row)), dict.fromkeys(range(8), 0.0)) for row in x]
        found += ds[0].distinguishable and corrected(ds)[0] < ALPHA
    assert found / 400 == pytest.approx(share_found(0.05, 0.05, 8, 4), abs=0.075)


def test_a_verdict_needs_three_seeds_however_large_the_effect():
    assert verdict_seeds(5.0, 0.01) == 3
    few = need(5.0, Spread(0.01), 4, planned=2)
    assert few.corrected == 3 and math.isnan(few.detectable_alone) and few.power == 0.0


@pytest.mark.parametrize("n", [3, 4, 10])
def test_the_upper_bound_is_above_the_truth_in_four_pilots_of_five(n):
    sds = np.random.default_rng(n).standard_normal((20_000, n)).std(axis=1, ddof=1)
    assert (sds * upper_sd(1.0, n) > 1.0).mean() == pytest.approx(0.8, abs=0.01)
    assert math.isnan(upper_sd(1.0, 1))


def test_spreads_of_a_pilot_are_pooled_by_their_freedom():
    together = pooled([Spread(0.1, 3), Spread(0.2, 5), Spread(math.nan, 1)])
    assert together is not None and together.borrowed and together.pilot == 5
    assert together.sd == pytest.approx(math.sqrt((2 * 0.01 + 4 * 0.04) / 6))
    assert pooled([]) is None
    assert Spread(0.1).upper == 0.1 and Spread(0.1, 4).upper == pytest.approx(upper_sd(0.1, 4))


def test_looks_save_seeds_where_the_effect_is_large_and_cost_power_where_it_is_not():
    plan = LookPlan(tuple(range(9)), 3, "pocock")
    large = simulate_looks(1.0, 0.1, plan)
    assert large.power == 1.0 and large.seeds < 3.5
    none = simulate_looks(1e-9, 1.0, plan)
    assert none.power == pytest.approx(0.05, abs=0.006) and none.seeds > 8.7
    assert simulate_looks(0.05, 0.05, plan).power < share_found(0.05, 0.05, 9)
    assert none.stops == tuple(sorted(none.stops))
    assert shown_sizes(9, 3) == "3, 6 and 9"
    needed = looked_at_seeds(0.05, 0.05, 3, "obrien_fleming")
    assert needed is not None and verdict_seeds(0.05, 0.05) <= needed <= verdict_seeds(0.05, 0.05) + 3
    assert looked_at_seeds(0.001, 1.0, 3, "pocock") is None
