"""New seeds and new problems: by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from eprli_lab.reporting.stats.hierarchical import crossed_bootstrap, differences, new_problems


def outcomes(matrices: dict[str, list[list[float]]]) -> dict:
    """Suite -> seeds x problems, as seed -> (suite, problem) -> share."""
    seeds = range(len(next(iter(matrices.values()))))
    return {s: {(u, f"q{q}"): v for u, m in matrices.items() for q, v in enumerate(m[s])} for s in seeds}


def zeros(matrices):
    return outcomes({u: np.zeros_like(np.array(m)).tolist() for u, m in matrices.items()})


def test_only_common_seeds_and_problems_count():
    arm = {0: {("a", "p"): 1.0, ("a", "q"): 0.5}, 1: {("a", "p"): 0.0, ("a", "q"): 0.5}, 9: {("a", "p"): 1.0}}
    base = {0: {("a", "p"): 0.5, ("a", "q"): 0.5}, 1: {("a", "p"): 0.5, ("a", "r"): 0.5}}
    assert differences(arm, base)["a"].tolist() == [[0.5], [-0.5]]
    assert differences(arm, {}) == {}
    assert math.isnan(new_problems(arm, {}).mean)


def test_variance_by_hand():
    # rows (seeds) 0 2 / 4 10: row means 1, 7; column means 2, 6; what is left +-1 (mean square 4)
    d = {"a": [[0.0, 2.0], [4.0, 10.0]]}
    e = new_problems(outcomes(d), zeros(d))
    seeds, problems, rest = 18 / 2, 8 / 2, 4 / 4
    total = seeds + problems - rest
    freedom = total**2 / (seeds**2 / 1 + problems**2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(total)
    assert e.mean == 4 and (e.low, e.high) == (pytest.approx(4 - half), pytest.approx(4 + half))
    assert (e.seeds, e.problems) == (2, 2)
    assert (e.share_seeds, e.share_problems, e.share_rest) == (8 / 12, 3 / 12, 1 / 12)


def test_suites_weigh_the_same():
    d = {"a": [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]], "b": [[0.0, 0.0], [0.0, 0.0]]}
    e = new_problems(outcomes(d), zeros(d))
    assert e.mean == 0.5 and math.isnan(e.low), "equal differences show no spread"


def test_what_varies_is_named():
    rng = np.random.default_rng(0)
    seeds, problems = rng.normal(size=(8, 1)), rng.normal(size=(1, 50))
    for d, share in ((seeds + 0 * problems, "share_seeds"), (problems + 0 * seeds, "share_problems")):
        matrices = {"a": d.tolist()}
        assert getattr(new_problems(outcomes(matrices), zeros(matrices)), share) == pytest.approx(1)
    noise = {"a": rng.normal(size=(8, 50)).tolist()}
    assert new_problems(outcomes(noise), zeros(noise)).share_rest > 0.5


def test_identical_arms_lone_seeds_and_lone_problems():
    d = {"a": [[0.5, 1.0], [0.0, 0.5]]}
    same = new_problems(outcomes(d), outcomes(d))
    assert (same.mean, same.low, same.high) == (0, 0, 0) and not same.distinguishable
    one = {"a": [[0.5, 1.0]]}
    assert math.isnan(new_problems(outcomes(one), zeros(one)).low)
    lone = {"a": [[0.5], [1.0], [0.0]]}
    assert new_problems(outcomes(lone), zeros(lone)).mean == 0.5 and math.isnan(
        new_problems(outcomes(lone), zeros(lone)).low
    )


def test_the_bootstrap_agrees_where_only_seeds_vary():
    rng = np.random.default_rng(1)
    d = {"a": np.repeat(rng.normal(0.1, 0.02, size=(6, 1)), 30, axis=1).tolist()}
    e, b = new_problems(outcomes(d), zeros(d)), crossed_bootstrap(outcomes(d), zeros(d))
    assert b.value == pytest.approx(e.mean)
    assert (b.high - b.low) == pytest.approx(e.high - e.low, rel=0.35)
    few = {"a": rng.normal(size=(4, 30)).tolist()}
    assert math.isnan(crossed_bootstrap(outcomes(few), zeros(few)).low)
