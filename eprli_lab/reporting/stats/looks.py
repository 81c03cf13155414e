"""Looks of a study before its last seed: when they are taken, what they decide, and when the study may stop. Pure.

A look is taken when every arm has its runs of the first n_k seeds (or they failed for good). A comparison is decided
when its p, adjusted for all looks so far (stats/sequential.py), is below 5% after Holm's correction over its family:
a closed test with Bonferroni's tests of the intersections, so that the chance of any wrong decision at any look is at
most 5% (Maurer and Bretz 2013, doi 10.1080/19466315.2013.807748), whatever it is that stops the study.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eprli_lab.reporting.stats.paired import ALPHA, JUDGED, holm, paired_difference
from eprli_lab.reporting.stats.sequential import nominal_level, sequential_p
from eprli_lab.tracking.description import Spending

Scores = Mapping[str, Mapping[int, float]]  # arm -> seed -> value
Pair = tuple[str, str]  # (arm, what it is compared with)
Key = tuple[str, int]  # (arm, seed)


@dataclass(frozen=True)
class LookPlan:
    """When a study is looked at, fixed before its first run."""

    seeds: tuple[int, ...]  # in the order in which they are run
    looks: int
    spending: Spending = "obrien_fleming"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Seeds at each look; the last one has all."""
        return look_sizes(len(self.seeds), self.looks)

    def seeds_of(self, look: int) -> tuple[int, ...]:
        """Those of look 1, 2, ...; none of look 0, all of those after the last."""
        return self.seeds[: (0, *self.sizes)[min(look, self.looks)]]


@dataclass(frozen=True)
class Look:
    """A look that was taken."""

    number: int  # 1, 2, ...
    missing: frozenset[Key] = frozenset()  # runs of its seeds that had failed for good: they never enter it


@dataclass(frozen=True)
class SequentialTest:
    """What the looks so far say of one comparison."""

    p: float  # adjusted for the looks, not for other comparisons; nan where none could test it
    level: float  # what the newest test's p is compared with, of 5%; nan likewise
    seeds: tuple[int, ...]  # common ones at the newest look
    by_look: tuple[float, ...]  # `p` as it was at each look


def look_sizes(seeds: int, looks: int) -> tuple[int, ...]:
    """Seeds at each of so many looks, as even as can be, the first blocks the larger ones."""
    return tuple(math.ceil(k * seeds / looks) for k in range(1, looks + 1))


def refusal(seeds: int, looks: int) -> str:
    """Why so many seeds cannot be looked at so often; empty where they can."""
    if looks > 1 and look_sizes(seeds, looks)[0] < JUDGED:
        least = (JUDGED - 1) * looks + 1
        return (
            f"{seeds} seeds give the first of {looks} looks {look_sizes(seeds, looks)[0]}, and a verdict needs "
            f"{JUDGED}: plan {least} seeds or more, or fewer looks"
        )
    return ""


def examine(scores: Scores, pairs: Sequence[Pair], plan: LookPlan, taken: Sequence[Look]) -> list[SequentialTest]:
    """The test of every pair after these looks, in the order given."""
    return [_test(scores, pair, plan, taken) for pair in pairs]


def decided(tests: Sequence[SequentialTest]) -> list[int]:
    """For each comparison of one family the look that decided it; 0: it is open."""
    looks = max((len(test.by_look) for test in tests), default=0)
    out = [0] * len(tests)
    for k in range(looks):
        for i, p in enumerate(holm([test.by_look[k] for test in tests])):
            if not out[i] and p < ALPHA:
                out[i] = k + 1
    return out


def adjusted(tests: Sequence[SequentialTest]) -> list[float]:
    """p of each comparison of one family, adjusted for the looks and by Holm; below 5%: it is decided."""
    return holm([test.p for test in tests])


def is_over(scores: Scores, pairs: Sequence[Pair], plan: LookPlan, taken: Sequence[Look]) -> bool:
    """Does the newest look end the study: is everything decided, or is it the last one?"""
    if not taken:
        return False
    return taken[-1].number >= plan.looks or (bool(pairs) and all(decided(examine(scores, pairs, plan, taken))))


def _test(scores: Scores, pair: Pair, plan: LookPlan, taken: Sequence[Look]) -> SequentialTest:
    sizes: list[int] = []
    fractions: list[float] = []
    by_look: list[float] = []
    seeds: tuple[int, ...] = ()
    p = level = math.nan
    for look in taken:
        arm, base = (_at(scores.get(name, {}), name, plan, look) for name in pair)
        d = paired_difference(arm, base)
        seeds = tuple(s for s in plan.seeds if s in arm and s in base and math.isfinite(arm[s] - base[s]))
        # too few seeds, no new ones, or no spread: the look tests nothing and spends nothing
        if d.is_judged and not math.isnan(d.p) and d.n > (sizes[-1] if sizes else 0):
            sizes.append(d.n)
            fractions.append(1.0 if look.number == plan.looks else d.n / len(plan.seeds))
            now = sequential_p(d.p, sizes, fractions, plan.spending)
            p = now if math.isnan(p) else min(p, now)
            level = nominal_level(ALPHA, sizes, fractions, plan.spending)
        by_look.append(p)
    return SequentialTest(p, level, seeds, tuple(by_look))


def _at(values: Mapping[int, float], arm: str, plan: LookPlan, look: Look) -> dict[int, float]:
    """An arm's values that a look may see."""
    return {s: values[s] for s in plan.seeds_of(look.number) if s in values and (arm, s) not in look.missing}


def write_looks(taken: Sequence[Look], is_stopped: bool) -> str:
    """As the study's storage and the tag of its parent run keep them."""
    looks = [{"number": look.number, "missing": sorted(map(list, look.missing))} for look in taken]
    return json.dumps({"taken": looks, "stopped": is_stopped})


def read_looks(text: str) -> tuple[tuple[Look, ...], bool]:
    """(the looks taken, did the newest one stop the study early?); none of an empty text.

    Raises ValueError for what is no such text.
    """
    if not text:
        return (), False
    tree = json.loads(text)
    try:
        looks = [(int(t["number"]), frozenset((str(a), int(s)) for a, s in t["missing"])) for t in tree["taken"]]
        return tuple(Look(*look) for look in looks), bool(tree["stopped"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no looks of a study: {error}") from error
