"""Are two arms different on *new* problems? Seeds and problems are both a sample. Pure.

The headline (stats/paired.py) takes the evaluation's problems as they are; its interval speaks of new seeds only.
Here a difference d[s, q] of seed s on problem q of suite u is

    d[s, q] = mu_u + a_s + b_q + e[s, q]

with seeds crossed with problems: the same problems are answered by both arms and at every seed. Suites are fixed and
weigh the same. `new_problems` adds up the variances of a, b and e (two-way clustering: Cameron, Gelbach, Miller 2011,
doi 10.1198/jbes.2010.07136) and uses t with Satterthwaite's (1946) degrees of freedom, so it holds from 3 seeds
on (at 2 it covers 89 to 97%).
`crossed_bootstrap` resamples seeds and, within each suite, problems, independently of each other (Owen 2007, "The
pigeonhole bootstrap", arXiv 0712.1111): no formula, but it counts e three times, so it errs on the wide side, and it
needs as many seeds as any other bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from eprli_lab.reporting.stats.aggregates import BLOCK, MIN_SEEDS, Estimate, Matrix, expanded_levels
from eprli_lab.reporting.stats.paired import NO_SPREAD, t_quantile

Outcomes = Mapping[int, Mapping[tuple[str, str], float]]  # seed -> (suite, problem) -> share of samples correct


class NewProblems(NamedTuple):
    """Arm minus baseline, mean over suites, with an interval for new seeds and new problems."""

    mean: float
    low: float  # nan below two common seeds or two problems in a suite
    high: float
    seeds: int
    problems: int
    share_seeds: float  # of the variance of the mean; the three add up to 1 (nan where there is no variance)
    share_problems: float
    share_rest: float  # seeds x problems: sampling noise of the answers included

    @property
    def distinguishable(self) -> bool:
        """Does the interval exclude zero?"""
        return self.low > 0.0 or self.high < 0.0


def differences(arm: Outcomes, baseline: Outcomes) -> dict[str, Matrix]:
    """Suite -> common seeds x problems that every common seed of both arms answered; arm minus baseline."""
    seeds = sorted(set(arm) & set(baseline))
    if not seeds:
        return {}
    shared = set.intersection(*(set(outcomes[s]) for outcomes in (arm, baseline) for s in seeds))
    out = {}
    for suite in sorted({suite for suite, _ in shared}):
        keys = sorted(key for key in shared if key[0] == suite)
        out[suite] = np.array([[arm[s][key] - baseline[s][key] for key in keys] for s in seeds], dtype=float)
    return out


def new_problems(arm: Outcomes, baseline: Outcomes, confidence: float = 0.95) -> NewProblems:
    """Mean difference over suites with an interval for new seeds and new problems, and where its variance is from.

    Variance = V_seeds + V_problems - V_rest: the first two each contain the third. It is never taken below the
    larger of the first two. The problems at hand count as a random sample of each suite's kind.
    """
    by_suite = list(differences(arm, baseline).values())
    if not by_suite:
        return NewProblems(math.nan, math.nan, math.nan, len(set(arm) & set(baseline)), 0, *[math.nan] * 3)
    n = len(by_suite[0])
    count = len(by_suite)
    problems = sum(d.shape[1] for d in by_suite)
    mean = float(np.mean([d.mean() for d in by_suite]))
    if n < 2 or any(d.shape[1] < 2 for d in by_suite):
        return NewProblems(mean, math.nan, math.nan, n, problems, *[math.nan] * 3)
    by_seed = np.mean([d.mean(axis=1) for d in by_suite], axis=0)
    seeds = float(by_seed.var(ddof=1)) / n
    of_problems = [float(d.mean(axis=0).var(ddof=1)) / d.shape[1] / count**2 for d in by_suite]
    of_rest = [_rest(d) / d.size / count**2 for d in by_suite]
    items = math.fsum(of_problems)
    rest = math.fsum(of_rest)
    total = max(seeds + items - rest, seeds, items)
    if total <= (NO_SPREAD * max(1.0, abs(mean))) ** 2:  # equal differences, not zero, show no spread: nothing claimed
        flat = 0.0 if all((d == 0).all() for d in by_suite) else math.nan
        return NewProblems(mean, flat, flat, n, problems, *[math.nan] * 3)
    freedom = total**2 / (
        seeds**2 / (n - 1) + math.fsum(v**2 / (d.shape[1] - 1) for v, d in zip(of_problems, by_suite, strict=True))
    )
    half = t_quantile(freedom, confidence) * math.sqrt(total)
    parts = [max(0.0, seeds - rest), max(0.0, items - rest), rest]
    scale = math.fsum(parts) or math.nan
    return NewProblems(mean, mean - half, mean + half, n, problems, *(p / scale for p in parts))


def crossed_bootstrap(
    arm: Outcomes, baseline: Outcomes, confidence: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Estimate:
    """The mean difference with a percentile interval of seeds and problems drawn with replacement; from MIN_SEEDS.

    Percentiles are widened for the number of seeds as in stats/aggregates.py.
    """
    by_suite = list(differences(arm, baseline).values())
    n = len(by_suite[0]) if by_suite else 0
    mean = float(np.mean([d.mean() for d in by_suite])) if by_suite else math.nan
    if n < MIN_SEEDS:
        return Estimate(mean, math.nan, math.nan, n)
    rng = np.random.default_rng(seed)
    draws = []
    for done in range(0, resamples, BLOCK):
        size = min(BLOCK, resamples - done)
        seeds = rng.multinomial(n, [1 / n] * n, size=size) / n
        parts = []
        for d in by_suite:
            m = d.shape[1]
            items = rng.multinomial(m, [1 / m] * m, size=size) / m
            parts.append(((seeds @ d) * items).sum(axis=1))
        draws.append(np.mean(parts, axis=0))
    low, high = np.quantile(np.concatenate(draws), expanded_levels(n, confidence))
    return Estimate(mean, float(low), float(high), n)


def _rest(d: Matrix) -> float:
    """Mean square of what row and column means leave: an unbiased variance of e."""
    left = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0, keepdims=True) + d.mean()
    freedom: int = (d.shape[0] - 1) * (d.shape[1] - 1)
    return float((left**2).sum()) / freedom
