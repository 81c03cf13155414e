"""What a number of seeds can show: minimum detectable effect, seeds needed, equivalence (TOST). Pure.

All of it is for the paired t test over common seeds, the test of the headline (stats/paired.py). `sd` is the
standard deviation of the paired differences from seed to seed, in the unit of the objective. Under a true effect d the
statistic follows the noncentral t with n - 1 degrees of freedom and noncentrality d sqrt(n) / sd (Cohen 1988; Julious
2004, doi 10.1002/sim.1783).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from eprli_lab.reporting.stats.paired import ALPHA, PairedDifference, paired_difference, paired_sd, t_quantile

POWER = 0.80  # the convention of Cohen (1988): four true effects in five are found
MOST_SEEDS = 10_000  # nobody runs more; also where the search for seeds ends


class Equivalence(NamedTuple):
    """Two one-sided tests of arm minus baseline against +-margin (Schuirmann 1987, doi 10.1007/BF01068419)."""

    mean: float
    low: float  # ends of the (1 - 2 alpha) t interval; nan where there is none
    high: float
    p: float  # the larger of the two one-sided p
    n: int  # common seeds
    margin: float
    equivalent: bool  # p <= alpha: the interval lies within (-margin, margin)


def sd_interval(sd: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a standard deviation estimated from n normal values: sd sqrt((n - 1) / chi2). (nan, nan) if n < 2.

    Few seeds know their own spread badly: from 3 of them it is known within a factor of 12.
    """
    if n < 2 or not math.isfinite(sd):
        return math.nan, math.nan
    from scipy import stats

    high, low = (float(stats.chi2.ppf(q, n - 1)) for q in ((1 - confidence) / 2, (1 + confidence) / 2))
    return sd * math.sqrt((n - 1) / low), sd * math.sqrt((n - 1) / high)


def upper_sd(sd: float, n: int, confidence: float = 0.8) -> float:
    """One-sided upper confidence bound of a standard deviation estimated from n normal values; nan if n < 2.

    Seeds that are planned with the bound at 80% find the effect with the power asked for in four pilots of five
    (Browne 1995, doi 10.1002/sim.4780141709); planned with the estimate itself, in about half of them.
    """
    if n < 2 or not math.isfinite(sd):
        return math.nan
    from scipy import stats

    return sd * math.sqrt((n - 1) / float(stats.chi2.ppf(1 - confidence, n - 1)))


def power_of(effect: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that the two-sided paired t test at n seeds rejects when the true difference is `effect`.

    ValueError unless sd > 0; nan below two seeds.
    """
    _check(sd, alpha)
    if n < 2:
        return math.nan
    from scipy import stats

    critical = t_quantile(n - 1, 1 - alpha)
    shift = abs(effect) * math.sqrt(n) / sd
    right = float(stats.nct.sf(critical, n - 1, shift))
    left = float(stats.nct.cdf(-critical, n - 1, shift))
    # scipy answers nan where a tail is 1 or 0 to every digit
    return (1.0 if math.isnan(right) else right) + (0.0 if math.isnan(left) else left)


def minimum_detectable_effect(
    sd: float, n: int, power: float = POWER, alpha: float = ALPHA, comparisons: int = 1
) -> float:
    """The true difference that n seeds find with this power; nan below two seeds, 0 for sd = 0.

    `comparisons`: arms compared to the baseline; alpha is divided by it, the first step of Holm's correction.
    """
    if n < 2 or not math.isfinite(sd):
        return math.nan
    if sd == 0:
        return 0.0
    from scipy import optimize

    level = alpha / comparisons
    high = 1.0
    while power_of(high, 1.0, n, level) < power:
        high *= 2
    return sd * float(optimize.brentq(lambda d: power_of(d, 1.0, n, level) - power, 0.0, high))


def seeds_needed(effect: float, sd: float, power: float = POWER, alpha: float = ALPHA, comparisons: int = 1) -> int:
    """The fewest seeds, two or more, that find a true difference with this power; at most MOST_SEEDS.

    ValueError for an effect of zero: no number of seeds finds it.
    """
    _check(sd, alpha)
    if effect == 0 or not math.isfinite(effect):
        raise ValueError("no number of seeds finds an effect of zero: give the effect that would matter")
    low = 2
    high = 2
    while high < MOST_SEEDS and power_of(effect, sd, high, alpha / comparisons) < power:
        low = high + 1
        high = min(MOST_SEEDS, 2 * high)
    while low < high:
        middle = (low + high) // 2
        if power_of(effect, sd, middle, alpha / comparisons) < power:
            low = middle + 1
        else:
            high = middle
    return high


def comparisons(differences: Iterable[PairedDifference]) -> int:
    """How many of them have a p: what Holm corrects for; at least 1."""
    return max(1, sum(not math.isnan(d.p) for d in differences))


def seeds_range(effect: float, sd: float, n: int, comparisons: int = 1) -> tuple[int, int]:
    """Fewest seeds at both ends of the 95% interval of an sd that was estimated from n differences."""
    low, high = (seeds_needed(effect, end, comparisons=comparisons) for end in sd_interval(sd, n))
    return low, high


def seeds_text(seeds: int) -> str:
    """1,234; >10,000 where the search for them ended."""
    return f"{seeds:,}" if seeds < MOST_SEEDS else f">{MOST_SEEDS - 1:,}"


def equivalence(
    arm: Mapping[int, float], baseline: Mapping[int, float], margin: float, alpha: float = ALPHA
) -> Equivalence:
    """TOST over common seeds: is the difference within (-margin, margin)? So "no difference" can be a finding.

    The margin is the smallest difference that would matter, fixed before looking, in the unit of the objective. One
    seed, or differences that are equal and not zero, show nothing. ValueError unless margin > 0.
    """
    if not margin > 0:
        raise ValueError(f"the margin of an equivalence test must be above zero, not {margin}")
    d = paired_difference(arm, baseline, confidence=1 - 2 * alpha)
    if math.isnan(d.low):
        return Equivalence(d.mean, math.nan, math.nan, math.nan, d.n, margin, False)
    sd = paired_sd(arm, baseline)
    if sd == 0:  # all differences exactly zero
        return Equivalence(d.mean, d.low, d.high, 0.0, d.n, margin, True)
    from scipy import stats

    nearer = (margin - abs(d.mean)) / (sd / math.sqrt(d.n))
    p = float(stats.t.sf(nearer, d.n - 1))
    return Equivalence(d.mean, d.low, d.high, p, d.n, margin, p <= alpha)


def _check(sd: float, alpha: float) -> None:
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(f"the standard deviation over seeds must be above zero, not {sd}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
