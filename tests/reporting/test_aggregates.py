"""IQM, whole-row intervals, probability of improvement, profiles: by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from eprli_lab.reporting.stats.aggregates import (
    bootstrap_rows,
    expanded_levels,
    iqm,
    iqm_interval,
    mean_interval,
    performance_profile,
    probability_of_improvement,
    score_matrix,
    wilson,
)


def test_iqm_by_hand():
    assert iqm([[1, 2, 3, 4]]) == 2.5
    assert iqm([[0, 10, 3, 5], [100, 4, 4, -50]]) == 4  # of -50 0 3 4 4 5 10 100 two at each end go: (3+4+4+5)/4
    assert iqm([[1, 2, 6]]) == 3, "below four cells nothing is cut off"
    assert math.isnan(iqm(np.empty((0, 3))))


def test_a_seed_without_a_suite_is_left_out():
    values = {2: {"a": 0.2, "b": 0.3}, 0: {"a": 0.5, "b": math.nan}, 1: {"a": 0.1, "b": 0.9}, 5: {"a": 1.0}}
    seeds, matrix = score_matrix(values, ["b", "a"])
    assert seeds == [1, 2]
    assert matrix.tolist() == [[0.9, 0.1], [0.3, 0.2]]
    assert score_matrix({}, ["a"])[1].shape == (0, 1)


def test_no_interval_below_five_seeds():
    four = mean_interval(np.arange(8.0).reshape(4, 2))
    assert four.value == 3.5 and math.isnan(four.low) and math.isnan(four.high) and four.n == 4
    five = mean_interval(np.arange(10.0).reshape(5, 2))
    assert five.low < five.value == 4.5 < five.high


def test_rows_are_resampled_whole():
    # every row has the mean 0.5 whatever its cells are: whole rows know the mean exactly, cells would not
    rows = np.array([[0.5 - d, 0.5 + d] for d in (0.1, 0.2, 0.3, 0.4, 0.5)])
    estimate = mean_interval(rows)
    assert estimate.low == pytest.approx(0.5) and estimate.high == pytest.approx(0.5)
    # rows of equal cells vary as much as five values do, not as ten: Phi(-t sqrt(5/4)) of 5^5 resampled means
    flat = np.repeat(np.array([0.0, 0, 0, 0, 1.0])[:, None], 2, axis=1)
    counts = stats.binom(5, 0.2)  # of the row of ones in a resample
    tail, _ = expanded_levels(5, 0.95)
    assert tail == pytest.approx(stats.norm.cdf(-stats.t.ppf(0.975, 4) * math.sqrt(5 / 4)))
    assert mean_interval(flat, resamples=40_000).high == pytest.approx(counts.ppf(1 - tail) / 5)
    assert mean_interval(flat).low == 0


def test_the_seed_decides():
    rows = np.random.default_rng(0).normal(size=(6, 3))
    assert iqm_interval(rows) == iqm_interval(rows)
    assert iqm_interval(rows) != iqm_interval(rows, seed=1)
    median = bootstrap_rows(rows, lambda stack: np.median(stack, axis=1))
    assert median.value == pytest.approx(np.median(rows))


def test_probability_of_improvement_by_hand():
    arm, base = [[1.0, 5.0], [3.0, 0.0]], [[0.0, 5.0], [4.0, 0.0]]
    # by seed: (win + tie) / 2 = 3/4, (loss + tie) / 2 = 1/4
    assert probability_of_improvement(arm, base).value == 0.5
    # every pair: suite 1: 1>0, 1<4, 3>0, 3<4 = 2/4; suite 2: tie, 5>0, 0<5, tie = 2/4
    assert probability_of_improvement(arm, base, paired=False).value == 0.5
    assert probability_of_improvement([[1.0], [2.0], [3.0]], [[0.0], [9.0]], paired=False).value == 0.5
    assert math.isnan(probability_of_improvement(arm, base).low)


def test_five_wins_of_five_do_not_claim_certainty():
    estimate = probability_of_improvement(np.ones((5, 2)), np.zeros((5, 2)))
    z2 = stats.norm.ppf(0.975) ** 2
    assert estimate.value == 1 and estimate.high == pytest.approx(1)
    assert estimate.low == pytest.approx(5 / (5 + z2))  # Wilson at a share of one: n / (n + z^2)


def test_profiles_by_hand():
    profile = performance_profile([[0.1, 0.5], [0.5, 0.9]], [0.0, 0.1, 0.5, 0.9])
    assert profile.share.tolist() == [1, 0.75, 0.25, 0]  # strictly above
    assert np.isnan(profile.low).all() and profile.n == 2
    ten = performance_profile(np.linspace(0, 1, 20).reshape(10, 2), [0.5, 2.0])
    assert ten.low[0] < ten.share[0] == 0.5 < ten.high[0]
    assert ten.low[1] == ten.share[1] == ten.high[1] == 0
    assert np.isnan(performance_profile(np.empty((0, 2)), [0.5]).share).all()


def test_wilson_by_hand():
    z2 = stats.norm.ppf(0.975) ** 2
    low, high = wilson(0.5, 30)
    half = math.sqrt(z2 * 0.25 / 30 + z2 * z2 / 3600) / (1 + z2 / 30)
    assert (low, high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    known = stats.binomtest(7, 20).proportion_ci(0.9, "wilson")
    assert wilson(0.35, 20, 0.9) == (pytest.approx(known.low), pytest.approx(known.high))
    assert wilson(0, 10)[0] == 0 and wilson(1, 10)[1] == pytest.approx(1)


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[1.0, math.nan]]])
def test_what_is_no_matrix_is_refused(bad):
    with pytest.raises(ValueError, match="a matrix of seeds x suites is needed"):
        mean_interval(bad)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(3, 1\)"):
        probability_of_improvement(np.ones((2, 1)), np.ones((3, 1)))
