"""Paired differences over common seeds and Holm's correction (docs/reports.md). Pure; scipy only inside.

The resampling unit is the seed: one policy answers all problems, so scores within a run are correlated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

ALPHA = 0.05  # of every test, after its correction
JUDGED = 3  # common seeds that a verdict needs; two are shown: their t interval rests on one degree of freedom
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
        """Is every difference exactly zero? No evidence of equivalence: it may be that nothing came to act."""
        return self.n > 1 and self.low == self.high == 0.0

    @property
    def is_judged(self) -> bool:
        """Are there seeds enough to call it better or worse?"""
        return self.n >= JUDGED


def paired_difference(
    arm: Mapping[int, float], baseline: Mapping[int, float], confidence: float = 0.95
) -> PairedDifference:
    """Mean difference over common seeds (seed -> value), its t interval and p. Seeds whose value is nan are left out.

    mean +- t_{n-1} * sd / sqrt(n), sd unbiased. With one seed there is no interval. Differences that are all
    exactly zero give [0, 0] and p = 1; differences that are all equal and not zero say nothing about their
    spread, so no interval is claimed.
    """
    differences = differences_by_seed(arm, baseline)
    n = len(differences)
    nan = math.nan
    if n == 0:
        return PairedDifference(nan, nan, nan, nan, 0)
    mean = math.fsum(differences) / n
    if all(d == 0.0 for d in differences) and n > 1:
        return PairedDifference(0.0, 0.0, 0.0, 1.0, n)
    if n == 1:
        return PairedDifference(mean, nan, nan, nan, 1)
    sd = spread(differences)
    if sd == 0.0:
        return PairedDifference(mean, nan, nan, nan, n)
    from scipy import stats

    error = sd / math.sqrt(n)
    half = t_quantile(n - 1, confidence) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return PairedDifference(mean, mean - half, mean + half, p, n)


def differences_by_seed(arm: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """Arm minus baseline at every common seed, by seed; those that are not finite are left out."""
    seeds = sorted(set(arm) & set(baseline))
    return [arm[s] - baseline[s] for s in seeds if math.isfinite(arm[s] - baseline[s])]


def spread(values: Sequence[float]) -> float:
    """Unbiased standard deviation; nan below two values, 0 where it is float noise beside their mean."""
    n = len(values)
    if n < 2:
        return math.nan
    centre = math.fsum(values) / n
    sd = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (n - 1))
    return sd if sd > NO_SPREAD * max(1.0, abs(centre)) else 0.0


def paired_sd(arm: Mapping[int, float], baseline: Mapping[int, float]) -> float:
    """Unbiased standard deviation of the differences over common seeds; nan below two seeds, 0 for float noise."""
    return spread(differences_by_seed(arm, baseline))


def t_quantile(freedom: float, confidence: float = 0.95) -> float:
    """What a standard error is multiplied by to give half the two-sided t interval."""
    from scipy import stats

    return float(stats.t.ppf(0.5 + confidence / 2, freedom))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979), in the order given; nan stays nan and is not counted.

    Sorted ascending, p_(i) becomes max over j <= i of (m - j + 1) * p_(j), at most 1.
    """
    order = sorted((i for i, p in enumerate(pvalues) if not math.isnan(p)), key=lambda i: pvalues[i])
    adjusted = [math.nan] * len(pvalues)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * pvalues[i]))
        adjusted[i] = highest
    return adjusted


def corrected(differences: Iterable[PairedDifference]) -> list[float]:
    """Their p after Holm's correction over those that are judged, in the order given; nan of the others."""
    return holm([d.p if d.is_judged else math.nan for d in differences])


def family_size(differences: Iterable[PairedDifference]) -> int:
    """How many p are corrected over: those that are judged and have one."""
    return sum(d.is_judged and not math.isnan(d.p) for d in differences)


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values; nan when there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return math.fsum(finite) / len(finite) if finite else math.nan
