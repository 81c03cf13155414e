"""Which level comes next, when a level's share of the budget is spent, and the learning rate (DESIGN 2.7, 2.9)."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eprli_lab.spec import CurriculumSpec, OptimSpec


@dataclass
class LevelProgress:
    """What a level has used so far."""

    groups: int = 0  # generated
    tokens: int = 0  # generated
    updates: int = 0
    skipped: int = 0  # skipped updates in a row
    accuracy: float | None = None  # moving average over all groups, before shaping
    ended: str | None = None  # starved | budget

    @property
    def tokens_per_group(self) -> float | None:
        """Mean generated tokens a group so far."""
        return self.tokens / self.groups if self.groups else None

    def observe(self, accuracies: Sequence[float], smoothing: float) -> None:
        """Move the accuracy average by one step's groups; a step without any leaves it alone."""
        if accuracies:
            self.accuracy = smooth(self.accuracy, math.fsum(accuracies) / len(accuracies), smoothing)


@dataclass
class Progress:
    """What a run has used so far; the x axes."""

    tokens: int = 0
    responses: int = 0
    problems: int = 0
    updates: int = 0
    rounds: int = 0  # sampling rounds; names the sampling seed
    steps: int = 0  # passes of the loop: updates made and skipped; the step axis of every metric
    seconds: float = 0.0  # training time, evaluation left out
    levels: dict[str, LevelProgress] = field(default_factory=dict)

    def spent(self, unit: str) -> float:
        """Used amount of the budget's unit."""
        return float(getattr(self, unit))

    def count(self, level: str, group_tokens: Sequence[int], responses: int) -> None:
        """Book one sampling round of `level`: the tokens of each group, and the responses in all."""
        done = self.levels[level]
        done.groups += len(group_tokens)
        done.tokens += sum(group_tokens)
        self.rounds += 1
        self.problems += len(group_tokens)
        self.tokens += sum(group_tokens)
        self.responses += responses


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


def smooth(previous: float | None, value: float, smoothing: float) -> float:
    """Moving average that starts at its first value."""
    return value if previous is None else smoothing * previous + (1.0 - smoothing) * value


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
