"""Power, detectable effects, seeds, equivalence: against published numbers and by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from eprli_lab.reporting.stats.paired import paired_sd
from eprli_lab.reporting.stats.power import (
    equivalence,
    minimum_detectable_effect,
    power_of,
    sd_interval,
    seeds_needed,
)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_of_cohens_small_medium_and_large_effect(effect, n):
    # the sample sizes that G*Power and Cohen's tables give for a two-sided paired t test, alpha .05, power .80
    assert seeds_needed(effect, 1.0) == n
    assert power_of(effect, 1.0, n) >= 0.8 > power_of(effect, 1.0, n - 1)


def test_detectable_effect_and_seeds_are_inverse():
    for n in (2, 3, 4, 5, 10):
        effect = minimum_detectable_effect(0.03, n)
        assert power_of(effect, 0.03, n) == pytest.approx(0.8, abs=1e-6)
        assert seeds_needed(effect * 1.0001, 0.03) == n
    assert minimum_detectable_effect(0.06, 5) == pytest.approx(2 * minimum_detectable_effect(0.03, 5))
    assert minimum_detectable_effect(0.03, 5, comparisons=4) > minimum_detectable_effect(0.03, 5)
    assert minimum_detectable_effect(0.03, 5, comparisons=4) == minimum_detectable_effect(0.03, 5, alpha=0.0125)


def test_power_at_no_effect_is_alpha_and_far_out_is_one():
    assert power_of(0.0, 1.0, 4) == pytest.approx(0.05)
    assert power_of(1e6, 1.0, 4) == 1.0
    assert power_of(-0.5, 1.0, 9) == pytest.approx(power_of(0.5, 1.0, 9))


def test_few_seeds_say_nothing():
    assert math.isnan(power_of(1.0, 1.0, 1)) and math.isnan(minimum_detectable_effect(1.0, 1))
    assert math.isnan(minimum_detectable_effect(math.nan, 4)) and minimum_detectable_effect(0.0, 4) == 0.0
    assert math.isnan(sd_interval(1.0, 1)[0])
    assert seeds_needed(1e-9, 1.0) == 10_000


@pytest.mark.parametrize(("effect", "sd"), [(0.0, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, math.nan)])
def test_impossible_questions_are_refused(effect, sd):
    with pytest.raises(ValueError, match=r"effect of zero|must be above zero"):
        seeds_needed(effect, sd)


def test_sd_of_common_seeds():
    assert paired_sd({0: 0.82, 1: 0.84, 2: 0.86, 7: 9.0}, {0: 0.80, 1: 0.80, 2: 0.80, 8: 0.0}) == pytest.approx(0.02)
    assert math.isnan(paired_sd({0: 1.0}, {0: 2.0}))
    low, high = sd_interval(1.0, 3)  # chi2 with 2 degrees of freedom: quantile -2 log(1 - q)
    assert low == pytest.approx(math.sqrt(2 / (-2 * math.log(0.025))))
    assert high == pytest.approx(math.sqrt(2 / (-2 * math.log(0.975))))
    assert high / low == pytest.approx(12.07, abs=0.01)


def test_equivalence_by_hand():
    # differences .00 .01 .02: mean .01, error .01 / sqrt 3; margin .05: t = .04 sqrt 3 / .01 with 2 degrees
    arm, base = {0: 0.50, 1: 0.51, 2: 0.52}, {0: 0.5, 1: 0.5, 2: 0.5}
    result = equivalence(arm, base, 0.05)
    assert result.p == pytest.approx(stats.t.sf(4 * math.sqrt(3), 2))
    assert result.equivalent
    half = 2.9199856 * 0.01 / math.sqrt(3)  # t_{.95, 2}: the interval is the 90% one
    assert (result.low, result.high) == (pytest.approx(0.01 - half), pytest.approx(0.01 + half))
    narrow = equivalence(arm, base, 0.02)
    assert not narrow.equivalent and narrow.p > 0.05
    for margin in (0.0269, 0.0268):  # the interval's far end is at .026858: both rules agree
        assert equivalence(arm, base, margin).equivalent == (half + 0.01 < margin)


def test_equivalence_of_identical_lone_and_constant_runs():
    same = {0: 0.5, 1: 0.7}
    assert equivalence(same, dict(same), 0.01).equivalent
    assert not equivalence({0: 0.5}, {0: 0.5}, 0.01).equivalent
    shifted = equivalence({0: 0.51, 1: 0.71}, same, 0.05)
    assert not shifted.equivalent and math.isnan(shifted.p)
    with pytest.raises(ValueError, match="must be above zero"):
        equivalence(same, same, 0.0)
