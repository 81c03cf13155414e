"""Paired differences and Holm's correction against hand-computed numbers and scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eprli_lab.reporting.stats.paired import holm, mean, paired_difference


def test_paired_difference_by_hand():
    # differences .02, .04, .06: mean .04, sd .02, error .02/sqrt 3; t_{.975, 2} = 4.302653
    d = paired_difference({0: 0.82, 1: 0.84, 2: 0.86}, {0: 0.80, 1: 0.80, 2: 0.80})
    assert d.n == 3
    assert d.mean == pytest.approx(0.04)
    half = 4.30265272974946 * 0.02 / math.sqrt(3)
    assert (d.low, d.high) == (pytest.approx(0.04 - half), pytest.approx(0.04 + half))
    # t = 2 sqrt 3; with 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2) = 1 - sqrt(12 / 14)
    assert d.p == pytest.approx(1 - math.sqrt(12 / 14))
    assert not d.distinguishable


def test_paired_difference_uses_common_seeds_only():
    d = paired_difference({0: 1.0, 1: 2.0, 9: 100.0}, {0: 0.0, 1: 0.5, 8: -100.0})
    assert d.n == 2
    assert d.mean == pytest.approx(1.25)


values = st.floats(-1, 1, allow_nan=False)


@given(st.lists(st.tuples(values, values), min_size=2, max_size=12))
def test_paired_difference_agrees_with_scipy(pairs):
    arm, base = {i: a for i, (a, _) in enumerate(pairs)}, {i: b for i, (_, b) in enumerate(pairs)}
    d = paired_difference(arm, base)
    if math.isnan(d.p) or d.low == d.high:  # no spread
        return
    expected = stats.ttest_rel(list(arm.values()), list(base.values()))
    interval = expected.confidence_interval(0.95)
    assert d.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (d.low, d.high) == (pytest.approx(interval.low, abs=1e-9), pytest.approx(interval.high, abs=1e-9))
    swapped = paired_difference(base, arm)
    assert (swapped.mean, swapped.low, swapped.high) == (
        pytest.approx(-d.mean),
        pytest.approx(-d.high),
        pytest.approx(-d.low),
    )
    # the interval excludes zero exactly when the test rejects
    assert d.distinguishable == (d.p < 0.05) or abs(d.p - 0.05) < 1e-9


def test_one_seed_has_a_difference_and_no_interval():
    d = paired_difference({3: 0.9}, {3: 0.7})
    assert d.mean == pytest.approx(0.2)
    assert d.n == 1
    assert math.isnan(d.low) and math.isnan(d.high) and math.isnan(d.p)
    assert not d.distinguishable


def test_no_common_seed():
    d = paired_difference({0: 0.9}, {1: 0.7})
    assert d.n == 0 and math.isnan(d.mean)


def test_identical_runs_are_not_different():
    d = paired_difference({0: 0.5, 1: 0.7}, {0: 0.5, 1: 0.7})
    assert d == (0.0, 0.0, 0.0, 1.0, 2)
    assert not d.distinguishable


def test_equal_nonzero_differences_claim_no_interval():
    d = paired_difference({0: 0.7, 1: 0.8, 2: 0.3}, {0: 0.6, 1: 0.7, 2: 0.2})  # .1 each, up to rounding
    assert d.mean == pytest.approx(0.1)
    assert math.isnan(d.low) and math.isnan(d.p)
    assert not d.distinguishable


def test_nan_is_a_missing_seed():
    assert paired_difference({0: math.nan, 1: 0.8, 2: 0.9}, {0: 0.5, 1: 0.5, 2: 0.5}).n == 2


def test_holm_by_hand():
    # sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04 -> running maximum .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == [pytest.approx(v) for v in (0.03, 0.06, 0.06, 0.02)]


def test_holm_is_capped_and_leaves_nan_out():
    adjusted = holm([0.6, math.nan, 0.7])
    assert adjusted[0] == 1.0 and adjusted[2] == 1.0 and math.isnan(adjusted[1])
    assert holm([math.nan, 0.02])[1] == 0.02
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_properties(ps):
    adjusted = holm(ps)
    assert all(p <= a <= min(1.0, len(ps) * p) + 1e-12 or a <= 1.0 for p, a in zip(ps, adjusted, strict=True))
    assert all(a >= p for p, a in zip(ps, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(ps) * min(ps)))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_mean_of_what_is_there():
    assert mean([1.0, math.nan, 3.0]) == 2.0
    assert math.isnan(mean([]))
