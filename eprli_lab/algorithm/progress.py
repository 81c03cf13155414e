"""How far a run is: what was spent at each level, and the moving average that promotion looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class LevelProgress:
    """What a level has used so far."""

    groups: int = 0  # generated
    tokens: int = 0  # generated
    updates: int = 0
    skipped: int = 0  # skipped updates in a row
    accuracy: float | None = None  # moving average over all groups, before shaping
    ended: str | None = None  # starved | budget
    seconds: float = 0.0  # training time at the level
    recent: float | None = None  # mean generated tokens a group in the last round; only where hints move it

    def spent(self, unit: str) -> float:
        """Used amount of the budget's unit, at this level."""
        return float(getattr(self, unit))

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
        """Book what was sampled at `level`: the tokens of each group, and the responses in all."""
        done = self.levels[level]
        done.groups += len(group_tokens)
        done.tokens += sum(group_tokens)
        self.problems += len(group_tokens)
        self.tokens += sum(group_tokens)
        self.responses += responses


def smooth(previous: float | None, value: float, smoothing: float) -> float:
    """Moving average that starts at its first value."""
    return value if previous is None else smoothing * previous + (1.0 - smoothing) * value
