"""Paired differences over common seeds and Holm's correction (docs/reports.md). Pure; scipy only inside.

The resampling unit is the seed: one policy answers all problems, so scores within a run are correlated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

NO_SPREAD = 1e-12  # differences closer than this, relative to their size, carry no information on their spread


class PairedDifference(NamedTuple):
    """Arm minus baseline over the seeds that both have."""

    mean: float
    low: float  # ends of the t interval; nan where there is none (n < 2, or differences without spread)
    high: float
    p: float  # two-sided paired t test; nan where there is no interval
    n: int  # common seeds

    @property
    def distinguishable(self) -> bool:
        """Does the interval exclude zero?"""
        return self.low > 0.0 or self.high < 0.0

    @property
    def identical(self) -> bool:
        """Is every difference exactly zero? No evidence of equivalence: nothing that was changed came to act."""
        return self.n > 1 and self.low == self.high == 0.0


def paired_difference(
    arm: Mapping[int, float], baseline: Mapping[int, float], confidence: float = 0.95
) -> PairedDifference:
    """Mean difference over common seeds (seed -> value), its t interval and p. Seeds whose value is nan are left out.

    mean +- t_{n-1} * sd / sqrt(n), sd unbiased. With one seed there is no interval. Differences that are all
    exactly zero give [0, 0] and p = 1; differences that are all equal and not zero say nothing about their
    spread, so no interval is claimed.
    """
    seeds = sorted(set(arm) & set(baseline))
    differences = [arm[s] - baseline[s] for s in seeds if math.isfinite(arm[s] - baseline[s])]
    n, nan = len(differences), math.nan
    if n == 0:
        return PairedDifference(nan, nan, nan, nan, 0)
    mean = math.fsum(differences) / n
    if all(d == 0.0 for d in differences) and n > 1:
        return PairedDifference(0.0, 0.0, 0.0, 1.0, n)
    if n == 1:
        return PairedDifference(mean, nan, nan, nan, 1)
    sd = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    if sd <= NO_SPREAD * max(1.0, abs(mean)):
        return PairedDifference(mean, nan, nan, nan, n)
    from scipy import stats

    error = sd / math.sqrt(n)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return PairedDifference(mean, mean - half, mean + half, p, n)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979), in the order given; nan stays nan and is not counted.

    Sorted ascending, p_(i) becomes max over j <= i of (m - j + 1) * p_(j), at most 1.
    """
    order = sorted((i for i, p in enumerate(pvalues) if not math.isnan(p)), key=lambda i: pvalues[i])
    adjusted, highest = [math.nan] * len(pvalues), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * pvalues[i]))
        adjusted[i] = highest
    return adjusted


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values; nan when there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return math.fsum(finite) / len(finite) if finite else math.nan
