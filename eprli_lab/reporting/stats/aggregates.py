"""IQM and mean over suites, probability of improvement, performance profiles; the unit is the row of a seed.

Source: Agarwal et al., "Deep RL at the Edge of the Statistical Precipice" (arXiv 2108.13264), with one change: whole
rows (seeds) are resampled, never cells. One policy answers every suite, so the cells of a row are correlated, and
resampling them one by one covers the truth about 60% of the time where 95% is claimed
(tests/reporting/test_coverage.py).

The plain percentile interval is too narrow for few rows. Its two levels are therefore widened as Hesterberg's
expanded percentile interval has it ("What Teachers Should Know about the Bootstrap", arXiv 1411.5279).

A matrix is seeds x suites, float, without nan; `score_matrix` makes one. Pure; everything random has a seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprli_lab.reporting.stats.paired import t_quantile

Matrix = NDArray[np.float64]
MIN_SEEDS = 5  # rows below which no bootstrap is claimed: n^n resamples say next to nothing (27 for 3 rows)
MIN_SEEDS_OF_A_BAND = 10  # with 5 rows a share of one suite is often 0 or 1 in all: such a band held 80%, not 95%
RESAMPLES = 10_000  # the widened levels of 5 rows lie 0.1% from the ends: ten resamples are beyond each
BLOCK = 2_000  # resamples held in memory at a time


class Estimate(NamedTuple):
    """A number and its interval; low and high are nan where none is claimed."""

    value: float
    low: float
    high: float
    n: int  # seeds; for a comparison of two arms the fewer of the two


class Profile(NamedTuple):
    """Share of runs above each threshold, with a band that holds threshold by threshold (pointwise)."""

    taus: Matrix  # thresholds, T
    share: Matrix  # T, of (seed, suite) cells strictly above
    low: Matrix  # T; nan where none is claimed
    high: Matrix  # T
    n: int  # seeds


def score_matrix(values: Mapping[int, Mapping[str, float]], suites: Sequence[str]) -> tuple[list[int], Matrix]:
    """(seeds, seeds x suites) of seed -> suite -> score, by seed; a seed that lacks a suite is left out."""
    rows = {s: [float(values[s].get(suite, math.nan)) for suite in suites] for s in sorted(values)}
    seeds = [s for s, row in rows.items() if all(math.isfinite(v) for v in row)]
    return seeds, np.array([rows[s] for s in seeds], dtype=float).reshape(len(seeds), len(suites))


def iqm(matrix: ArrayLike) -> float:
    """Interquartile mean: the mean of all cells after floor(cells / 4) were cut off at each end; nan of nothing."""
    cells = np.asarray(matrix, dtype=float)
    return float(_iqm_of_stack(cells.reshape(1, -1))[0]) if cells.size else math.nan


def iqm_interval(matrix: ArrayLike, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """IQM over seeds and suites with its whole-row interval; no interval below MIN_SEEDS rows."""
    return bootstrap_rows(matrix, _iqm_of_stack, confidence, resamples, seed)


def mean_interval(matrix: ArrayLike, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Mean over seeds and suites with its whole-row interval; no interval below MIN_SEEDS rows."""
    return bootstrap_rows(matrix, _mean_of_stack, confidence, resamples, seed)


def bootstrap_rows(
    matrix: ArrayLike,
    statistic: Callable[[Matrix], Matrix],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """A statistic with the expanded percentile interval of whole rows drawn with replacement.

    `statistic`: stack (B, rows x suites) -> B values. ValueError unless the matrix has two dimensions.
    """
    rows = _matrix(matrix)
    n = len(rows)
    if rows.size == 0:
        return Estimate(math.nan, math.nan, math.nan, n)
    value = float(statistic(rows.reshape(1, -1))[0])
    if n < MIN_SEEDS:
        return Estimate(value, math.nan, math.nan, n)
    draws = np.concatenate([statistic(rows[i].reshape(len(i), -1)) for i in _indices(n, resamples, seed)])
    low, high = np.quantile(draws, expanded_levels(n, confidence))
    return Estimate(value, float(low), float(high), n)


def probability_of_improvement(
    arm: ArrayLike,
    baseline: ArrayLike,
    paired: bool = True,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Chance that a run of the arm beats one of the baseline on a suite drawn at random; a tie counts half.

    Paired: the rows belong to the same seeds, in order, and are compared and resampled together. Unpaired: every run
    against every run (Mann-Whitney), rows of the two arms resampled apart (arXiv 2108.13264). The interval is the
    wider of the bootstrap's, which alone covers 6 to 95% as nearly every resample agrees, and of Wilson's for as many
    Bernoulli draws as there are seeds: never too narrow, often wide. ValueError unless the suites are the same, and
    for paired the rows.
    """
    x = _matrix(arm)
    y = _matrix(baseline)
    if x.shape[1] != y.shape[1] or (paired and len(x) != len(y)):
        raise ValueError(f"probability of improvement of shapes {x.shape} and {y.shape}, paired={paired}")
    n = min(len(x), len(y))
    if x.size == 0 or y.size == 0:
        return Estimate(math.nan, math.nan, math.nan, n)
    wins = _wins(x, y) if paired else _wins(x[:, None, :], y[None, :, :])  # n, or n x m
    value = float(wins.mean())
    if n < MIN_SEEDS:
        return Estimate(value, math.nan, math.nan, n)
    if paired:
        parts = [wins[i].mean(axis=1) for i in _indices(n, resamples, seed)]
    else:
        blocks = zip(_indices(len(x), resamples, seed), _indices(len(y), resamples, seed + 1), strict=True)
        parts = [wins[i[:, :, None], j[:, None, :]].mean(axis=(1, 2)) for i, j in blocks]
    low, high = np.quantile(np.concatenate(parts), expanded_levels(n, confidence))
    at_least = wilson(value, n, confidence)
    return Estimate(value, min(float(low), at_least[0]), max(float(high), at_least[1]), n)


def performance_profile(
    matrix: ArrayLike, taus: ArrayLike, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Profile:
    """Share of (seed, suite) scores strictly above each tau, pointwise whole-row band.

    The run-score distribution of arXiv 2108.13264. The band holds where the share varies from seed to seed; beyond
    the range of the scores it has no width. None is claimed below MIN_SEEDS_OF_A_BAND rows.
    """
    rows = _matrix(matrix)
    thresholds = np.asarray(taus, dtype=float)
    n = len(rows)
    nothing = np.full(thresholds.shape, math.nan)
    if rows.size == 0:
        return Profile(thresholds, nothing, nothing, nothing, n)
    above = (rows[:, :, None] > thresholds).mean(axis=1)  # n x T
    if n < MIN_SEEDS_OF_A_BAND:
        return Profile(thresholds, above.mean(axis=0), nothing, nothing, n)
    draws = np.concatenate([above[i].mean(axis=1) for i in _indices(n, resamples, seed)])
    low, high = np.quantile(draws, expanded_levels(n, confidence), axis=0)
    return Profile(thresholds, above.mean(axis=0), low, high, n)


def wilson(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of n draws: the p with |share - p| <= z sqrt(p (1 - p) / n)."""
    from scipy import stats

    z = float(stats.norm.ppf(0.5 + confidence / 2))
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _matrix(values: ArrayLike) -> Matrix:
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim != 2:
        raise ValueError(f"a matrix of seeds x suites is needed, not one of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("a matrix of seeds x suites is needed without missing values: leave such seeds out")
    return matrix


def _iqm_of_stack(stack: Matrix) -> Matrix:
    from scipy import stats

    return np.asarray(stats.trim_mean(stack, 0.25, axis=1))


def _mean_of_stack(stack: Matrix) -> Matrix:
    return np.asarray(stack.mean(axis=1))


def _wins(x: Matrix, y: Matrix) -> Matrix:
    """Mean over suites of 1 where x > y, half where they are equal."""
    return np.asarray(((x > y) + 0.5 * (x == y)).mean(axis=-1))


def _indices(n: int, resamples: int, seed: int) -> list[NDArray[np.int64]]:
    """Row numbers with replacement, in blocks of at most BLOCK x n."""
    rng = np.random.default_rng(seed)
    sizes = [min(BLOCK, resamples - done) for done in range(0, resamples, BLOCK)]
    return [rng.integers(n, size=(size, n)) for size in sizes]


def expanded_levels(n: int, confidence: float) -> tuple[float, float]:
    """Percentiles that make the interval of a mean as wide as the t interval: Phi(-t_{n-1} sqrt(n / (n - 1)))."""
    from scipy import stats

    t = t_quantile(n - 1, confidence)
    tail = float(stats.norm.cdf(-t * math.sqrt(n / (n - 1))))
    return tail, 1.0 - tail
