"""What a study would need before it is run: seeds, detectable effects, and what looks cost and save. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eprli_lab.reporting.stats.looks import LookPlan, look_sizes, refusal
from eprli_lab.reporting.stats.paired import ALPHA, JUDGED
from eprli_lab.reporting.stats.power import POWER, minimum_detectable_effect, power_of, seeds_needed, upper_sd
from eprli_lab.reporting.stats.sequential import nominal_level
from eprli_lab.tracking.description import Spending

SURE = 0.8  # confidence of the upper bound of a spread that a pilot estimated
STUDIES = 20_000  # simulated, with one fixed stream
MOST_LOOKED_AT = 400  # seeds up to which looks are simulated


@dataclass(frozen=True)
class Spread:
    """Standard deviation of a comparison's paired differences from seed to seed, and how well it is known."""

    sd: float
    pilot: int = 0  # differences that it was estimated from; 0: it was given
    borrowed: bool = False  # of other comparisons, since this one has no runs yet

    @property
    def upper(self) -> float:
        """It is smaller than this in four pilots of five; the sd itself where it was given."""
        return upper_sd(self.sd, self.pilot, SURE) if self.pilot else self.sd


@dataclass(frozen=True)
class Need:
    """What one comparison needs to find an effect, by itself and as one of a family under Holm's correction."""

    alone: int  # seeds; three or more, or there is no verdict
    corrected: int
    sure_alone: int  # the same where the spread is at its upper bound
    sure_corrected: int
    detectable_alone: float  # with the planned seeds; nan below three
    detectable_corrected: float
    power: float  # of finding the effect with the planned seeds, after correction; 0 below three


def need(effect: float, spread: Spread, comparisons: int, planned: int, power: float = POWER) -> Need:
    """ValueError unless effect and sd are above zero. After Holm: the step that is hardest, alpha / comparisons."""
    alone, corrected, sure_alone, sure_corrected = (
        verdict_seeds(effect, sd, power, many) for sd in (spread.sd, spread.upper) for many in (1, comparisons)
    )
    least, least_corrected = (
        minimum_detectable_effect(spread.sd, planned, power, comparisons=many) if planned >= JUDGED else math.nan
        for many in (1, comparisons)
    )
    found = power_of(effect, spread.sd, planned, ALPHA / comparisons) if planned >= JUDGED else 0.0
    return Need(alone, corrected, sure_alone, sure_corrected, least, least_corrected, found)


def verdict_seeds(effect: float, sd: float, power: float = POWER, comparisons: int = 1) -> int:
    """The fewest common seeds at which a verdict finds the effect with this power: three at least."""
    return max(JUDGED, seeds_needed(effect, sd, power, comparisons=comparisons))


def pooled(spreads: Sequence[Spread]) -> Spread | None:
    """The spread of comparisons together, known as well as the best of them alone: they share arms; None of none."""
    known = [s for s in spreads if s.pilot > 1 and s.sd > 0]
    if not known:
        return None
    freedom = sum(s.pilot - 1 for s in known)
    variance = math.fsum((s.pilot - 1) * s.sd**2 for s in known) / freedom
    return Spread(math.sqrt(variance), max(s.pilot for s in known), borrowed=True)


class Looked(NamedTuple):
    """A study that may stop early, simulated: one comparison at its level."""

    power: float  # chance to decide at any look
    seeds: float  # mean seeds at its end
    stops: tuple[float, ...]  # chance to have decided by each look


def simulate_looks(effect: float, sd: float, plan: LookPlan, comparisons: int = 1) -> Looked:
    """By `STUDIES` simulated studies of a fixed stream (Monte Carlo error of the power: below .004)."""
    import numpy as np
    from scipy import stats

    total = len(plan.seeds)
    x = effect / sd + np.random.default_rng(0).standard_normal((STUDIES, total))
    decided = np.zeros(STUDIES, dtype=bool)
    spent = np.zeros(STUDIES)
    stops = []
    sums, squares = np.cumsum(x, axis=1), np.cumsum(x * x, axis=1)
    sizes = plan.sizes
    for k, n in enumerate(sizes):
        variance = (squares[:, n - 1] - sums[:, n - 1] ** 2 / n) / (n - 1)
        p = 2 * stats.t.sf(np.abs(sums[:, n - 1]) / np.sqrt(n * variance), n - 1)
        level = nominal_level(ALPHA / comparisons, sizes[: k + 1], [s / total for s in sizes[: k + 1]], plan.spending)
        spent += np.where(decided, 0, n - (sizes[k - 1] if k else 0))
        decided |= p < level
        stops.append(float(decided.mean()))
    return Looked(stops[-1], float(spent.mean()), tuple(stops))


def looked_at_seeds(
    effect: float, sd: float, looks: int, spending: Spending, comparisons: int = 1, power: float = POWER
) -> int | None:
    """The fewest seeds, all looks together, that find the effect with this power; None above MOST_LOOKED_AT."""
    low = verdict_seeds(effect, sd, power, comparisons)  # looks cost seeds, never save planned ones
    while low <= MOST_LOOKED_AT and refusal(low, looks):
        low += 1
    step = max(1, low // 50)
    while low <= MOST_LOOKED_AT:
        if simulate_looks(effect, sd, LookPlan(tuple(range(low)), looks, spending), comparisons).power >= power:
            return low
        low += step
    return None


def shown_sizes(seeds: int, looks: int) -> str:
    """`3, 6 and 9`."""
    *most, last = map(str, look_sizes(seeds, looks))
    return f"{', '.join(most)} and {last}" if most else last
