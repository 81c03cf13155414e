"""Schedules that learn which level to train at: a softmax bandit on |A|, and Thompson sampling on admitted groups.

Levels are arms, a step of the loop is a pull. A draw is named by the step, so it is the same however often it is asked.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from eprli_lab.algorithm.advantage import advantages
from eprli_lab.algorithm.progress import Progress
from eprli_lab.algorithm.schedule import Schedule
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.records import Group


def by_level(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Level -> its groups that could be graded; a level all of whose groups errored is left out."""
    out: dict[str, list[Group]] = {}
    for g in groups:
        if g.verdict != "errored":
            out.setdefault(g.level, []).append(g)
    return out


def mean_magnitude(groups: Sequence[Group]) -> float:
    """Mean |A| over all responses of these groups; A as GRPO has it (group_norm)."""
    magnitudes = [abs(a) for g in groups for a in advantages("group_norm", g.rewards)]
    return math.fsum(magnitudes) / len(magnitudes)


class Bandit(Schedule):
    """SEC (arXiv 2505.14970): Q(c) <- alpha mean|A| + (1 - alpha) Q(c), from 0; p(c) ~ exp(Q(c) / tau).

    |A| is that of group_norm, the paper's, whatever advantage the run trains with: a schedule knows the rewards alone.
    All groups that were sampled count, those without spread with zeros. Departure: a step is made at one level, where
    the paper draws a level for each problem of its batch; so the levels that were not drawn keep their Q.
    """

    def __init__(
        self, curriculum: CurriculumSpec, amount: float, seed: int, state: dict[str, Any] | None = None
    ) -> None:
        super().__init__(curriculum, amount, seed)
        names = curriculum.levels
        self.values = {n: float(state["values"][n]) if state else 0.0 for n in names}
        self.draws = {n: int(state["draws"][n]) if state else 0 for n in names}

    def probabilities(self, levels: Sequence[str]) -> list[float]:
        """Softmax of Q / tau over these levels."""
        top = max(self.values[n] for n in levels)
        weights = [math.exp((self.values[n] - top) / self.curriculum.bandit.temperature) for n in levels]
        return [w / math.fsum(weights) for w in weights]

    def choose(self, open_levels: Sequence[str], progress: Progress, spent: float) -> str | None:
        """A draw among the levels that have not ended, named by the step."""
        rng = random.Random(f"bandit-{self.seed}-{progress.steps}")
        return rng.choices(open_levels, self.probabilities(open_levels))[0]

    def observe(self, groups: Sequence[Group]) -> None:
        """Move Q of the step's level; a step without groups, or with errored ones alone, leaves it."""
        rate = self.curriculum.bandit.rate
        for name, known in by_level(groups).items():
            self.values[name] = rate * mean_magnitude(known) + (1.0 - rate) * self.values[name]
            self.draws[name] += 1

    def state(self) -> dict[str, Any]:
        """Q and the number of steps by level."""
        return {"values": self.values, "draws": self.draws}

    def metrics(self) -> dict[str, float]:
        """Of every level: Q, its probability among all levels, steps so far."""
        names = list(self.values)
        out = {f"{n}/value": self.values[n] for n in names}
        out |= {f"{n}/probability": p for n, p in zip(names, self.probabilities(names), strict=True)}
        return out | {f"{n}/draws": float(self.draws[n]) for n in names}


class Thompson(Schedule):
    """Thompson sampling on the share of groups that are admitted, which are those that train.

    Every level has a Beta posterior; of each a share is drawn, and the level with the largest is next. Counts decay at
    every step and all levels (discounted Thompson sampling, arXiv 1707.09727): what was learnt of a level long ago
    counts less, and its posterior goes back to the prior, so that it is tried again.
    """

    def __init__(
        self, curriculum: CurriculumSpec, amount: float, seed: int, state: dict[str, Any] | None = None
    ) -> None:
        super().__init__(curriculum, amount, seed)
        counts = ("admitted", "rejected", "draws")
        self.counts = {n: {c: float(state[n][c]) if state else 0.0 for c in counts} for n in curriculum.levels}

    def posterior(self, level: str) -> tuple[float, float]:
        """Both parameters of the level's Beta posterior."""
        prior = self.curriculum.thompson.prior
        return prior + self.counts[level]["admitted"], prior + self.counts[level]["rejected"]

    def choose(self, open_levels: Sequence[str], progress: Progress, spent: float) -> str | None:
        """The open level with the largest drawn share; every level draws, so that an ended one shifts no other's."""
        rng = random.Random(f"thompson-{self.seed}-{progress.steps}")
        shares = {n: rng.betavariate(*self.posterior(n)) for n in self.counts}
        return max(open_levels, key=lambda n: shares[n])

    def observe(self, groups: Sequence[Group]) -> None:
        """Forget a little of every level, then count the step's groups; a step without any changes nothing."""
        for name, known in by_level(groups).items():
            for counts in self.counts.values():
                counts["admitted"] *= self.curriculum.thompson.decay
                counts["rejected"] *= self.curriculum.thompson.decay
            admitted = sum(g.verdict == "admitted" for g in known)
            self.counts[name]["admitted"] += admitted
            self.counts[name]["rejected"] += len(known) - admitted
            self.counts[name]["draws"] += 1

    def state(self) -> dict[str, Any]:
        """Decayed counts of groups, and the number of steps, by level."""
        return {n: dict(counts) for n, counts in self.counts.items()}

    def metrics(self) -> dict[str, float]:
        """Of every level: both parameters of its posterior, the posterior's mean, steps so far."""
        out: dict[str, float] = {}
        for n, counts in self.counts.items():
            a, b = self.posterior(n)
            out |= {f"{n}/alpha": a, f"{n}/beta": b, f"{n}/share": a / (a + b), f"{n}/draws": counts["draws"]}
        return out
