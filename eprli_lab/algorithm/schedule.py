"""Which level comes next, when a level's share of the budget is spent, and the learning rate (docs/algorithm.md)."""

from __future__ import annotations

import random
from collections.abc import Mapping

from eprli_lab.algorithm.progress import LevelProgress
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.spec import OptimSpec


def shares(curriculum: CurriculumSpec) -> dict[str, float]:
    """Each level's share of the budget; they sum to 1."""
    total = sum(level.budget_weight for level in curriculum.levels.values())
    return {name: level.budget_weight / total for name, level in curriculum.levels.items()}


def visited(curriculum: CurriculumSpec) -> list[str]:
    """The levels in the order in which they are visited: easy first, or hard first."""
    names = list(curriculum.levels)
    return names if curriculum.order == "ascending" else names[::-1]


def level_end(curriculum: CurriculumSpec, name: str, amount: float) -> float:
    """Where level `name` ends on the axis of the run's budget, in budget units, under `sequential`.

    Ends are cumulative, so what a level overshoots (a part of one round) is taken from the next one and the run as a
    whole keeps its budget.
    """
    names = visited(curriculum)
    if name == names[-1]:
        return amount
    share = shares(curriculum)
    return amount * sum(share[n] for n in names[: names.index(name) + 1])


def next_level(
    curriculum: CurriculumSpec,
    amount: float,
    spent: float,
    levels: Mapping[str, LevelProgress],
    *,
    step: int,
    seed: int,
) -> str | None:
    """The level of the next pass of the loop, or None when the run is over. Pure: same arguments, same answer.

    - sequential: level after level, each to the end of its share (the paper); hard first under order=descending.
    - mixed: all strata at once, a level drawn with probability proportional to its weight (seeded by the step).
    - adaptive: the first level until its moving accuracy reaches `promote_at`, then the next; the last level takes the
      rest. A level that is never mastered ends with its share, so every level gets its turn.
    """
    if spent >= amount:
        return None
    order = visited(curriculum)
    alive = [name for name in order if levels[name].ended is None]
    if not alive:
        return None
    if curriculum.schedule == "mixed":
        weights = [curriculum.levels[name].budget_weight for name in alive]
        return random.Random(f"mixed-{seed}-{step}").choices(alive, weights)[0]
    for name in alive:
        if spent >= level_end(curriculum, name, amount):
            continue
        if curriculum.schedule == "adaptive" and name != order[-1]:
            rule, done = curriculum.adaptive, levels[name]
            if done.updates >= rule.min_updates and (done.accuracy or 0.0) >= rule.promote_at:
                continue
        return name
    return None


def pass_end(curriculum: CurriculumSpec, name: str, amount: float) -> float:
    """Where a pass at level `name` must stop sampling, in budget units: the level's end, or the run's under `mixed`."""
    return amount if curriculum.schedule == "mixed" else level_end(curriculum, name, amount)


def affordable_problems(remaining_tokens: float, per_problem: float | None, worst: int, wanted: int) -> int:
    """Problems of the next round, so that a token budget is kept: fewer near the end, 0 when none can be paid.

    `per_problem` is the level's mean tokens a group so far. Before the first round nothing is known and a group may
    cost `worst` = G_l Len_l tokens: as many as are paid for in any case, but at least one.
    """
    if per_problem is None:
        return max(1, min(wanted, int(remaining_tokens // worst)))
    return max(0, min(wanted, round(remaining_tokens / per_problem)))


def learning_rate(optim: OptimSpec, fraction: float, update: int) -> float:
    """Learning rate of update number `update` (from 0) at `fraction` in [0, 1] of the budget.

    Warm-up rises linearly and its first step is not zero (a zero first step would be a lost update); `linear` then
    falls to a tenth at the end of the whole budget, across levels.
    """
    rate = optim.learning_rate
    if optim.schedule == "linear":
        rate *= 1.0 - 0.9 * min(1.0, fraction)
    if update < optim.warmup_updates:
        rate *= (update + 1) / (optim.warmup_updates + 1)
    return rate
