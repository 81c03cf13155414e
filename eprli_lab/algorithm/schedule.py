"""Which level comes next, when a level's share of the budget is spent, and the learning rate (docs/algorithm.md)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from eprli_lab.algorithm.memory import Remembering
from eprli_lab.algorithm.progress import Progress
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.extensions import resolve
from eprli_lab.config.spec import OptimSpec
from eprli_lab.errors import UserError


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


class Schedule(Remembering):
    """Base of schedules: which level the next pass of the loop is made at. `choose` is to be given.

    A schedule with memory keeps it in plain data that `state` returns and the constructor takes back.
    """

    boundaries = False  # is leaving a level an event: evaluated, saved, its policy kept where levels have their own?

    def __init__(
        self, curriculum: CurriculumSpec, amount: float, seed: int, state: dict[str, Any] | None = None
    ) -> None:
        """`amount`: the run's budget, in its unit."""
        self.curriculum, self.amount, self.seed = curriculum, amount, seed

    def choose(self, open_levels: Sequence[str], progress: Progress, spent: float) -> str | None:
        """One of the levels that have not ended, or None when the run is over.

        `spent`: of the budget, in its unit. Asked more than once a step: the same question has the same answer.
        """
        raise NotImplementedError

    def pass_end(self, level: str) -> float:
        """Where a pass at this level must stop sampling, on the axis of the run's budget."""
        return self.amount


def next_level(schedule: Schedule, progress: Progress, spent: float) -> str | None:
    """The level of the next pass of the loop; None when the budget is spent or every level has ended.

    Raises UserError for a schedule that names a level which is none of those.
    """
    if spent >= schedule.amount:
        return None
    open_levels = [name for name in visited(schedule.curriculum) if progress.levels[name].ended is None]
    if not open_levels:
        return None
    level = schedule.choose(open_levels, progress, spent)
    if level is not None and level not in open_levels:
        raise UserError(
            f"curriculum.schedule: {schedule.curriculum.schedule} chose {level!r}, of {', '.join(open_levels)}"
        )
    return level


class Sequential(Schedule):
    """Level after level, each to the end of its share (the paper); hard first under order=descending."""

    boundaries = True

    def choose(self, open_levels: Sequence[str], progress: Progress, spent: float) -> str | None:
        """The first level whose share is not spent."""
        return next((n for n in open_levels if spent < self.pass_end(n) and not self.leave(n, progress)), None)

    def leave(self, level: str, progress: Progress) -> bool:
        """Is the level left before its share is spent? Never."""
        return False

    def pass_end(self, level: str) -> float:
        """Where the level's share ends."""
        return level_end(self.curriculum, level, self.amount)


class Adaptive(Sequential):
    """The first level until its moving accuracy reaches `promote_at`, then the next; the last level takes the rest.

    A level that is never mastered ends with its share, so every level gets its turn.
    """

    def leave(self, level: str, progress: Progress) -> bool:
        """Is the level mastered?"""
        rule, done = self.curriculum.adaptive, progress.levels[level]
        mastered = done.updates >= rule.min_updates and (done.accuracy or 0.0) >= rule.promote_at
        return mastered and level != visited(self.curriculum)[-1]


class Mixed(Schedule):
    """All strata at once: a level drawn with probability proportional to its weight, seeded by the step."""

    def choose(self, open_levels: Sequence[str], progress: Progress, spent: float) -> str | None:
        """A draw among the levels that have not ended."""
        weights = [self.curriculum.levels[name].budget_weight for name in open_levels]
        return random.Random(f"mixed-{self.seed}-{progress.steps}").choices(open_levels, weights)[0]


def make_schedule(
    curriculum: CurriculumSpec, amount: float, seed: int, state: dict[str, Any] | None = None
) -> Schedule:
    """The schedule of a curriculum; `state`: as it was saved."""
    made: Schedule = resolve("schedule", curriculum.schedule)(curriculum, amount, seed, state)
    return made


def level_fraction(schedule: Schedule, progress: Progress, level: str, unit: str) -> float:
    """How much of a level's own share of the budget it has spent, in [0, 1].

    Where levels follow one another the share is what was left for the level when it began (an overshoot of the level
    before is taken from it, what an early promotion left is given to it); else its weight's part of the budget.
    """
    own = progress.levels[level].spent(unit)
    if isinstance(schedule, Sequential):
        share = own + schedule.pass_end(level) - progress.spent(unit)
    else:
        share = shares(schedule.curriculum)[level] * schedule.amount
    return min(1.0, own / share) if share > 0 else 1.0


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
    falls to a tenth at the end of the budget. Both count for one network: of the whole run, across levels, or, under
    `weights: separate`, of a level.
    """
    rate = optim.learning_rate
    if optim.schedule == "linear":
        rate *= 1.0 - 0.9 * min(1.0, fraction)
    if update < optim.warmup_updates:
        rate *= (update + 1) / (optim.warmup_updates + 1)
    return rate
