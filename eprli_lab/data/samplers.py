"""Which problem of a stratum comes next: uniformly, near a target difficulty (AdaRFT), or along a ramp (GanitLLM)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from eprli_lab.algorithm.memory import Remembering
from eprli_lab.config.curriculum import CurriculumSpec, TargetSpec
from eprli_lab.config.extensions import resolve
from eprli_lab.records import Group, Problem

RAMP_START, RAMP_END = (4, 3, 2, 1), (1, 2, 3, 4)  # weights of the four difficulty tags at the start and at the end


class ProblemSampler(Remembering):
    """Base of problem samplers, one object a level: `take` is to be given, the rest may stay as it is.

    A sampler with memory keeps it in plain data that `state` returns and the constructor takes back.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        seed: str,
        curriculum: CurriculumSpec | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        """`problems`: the level's stratum, kept in the order of their ids; `seed`: of every draw."""
        self.problems = sorted(problems, key=lambda p: p.id)
        self.seed = seed

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The next n problems, at a fraction in [0, 1] of the run's budget."""
        raise NotImplementedError


class UniformSampler(ProblemSampler):
    """Problems in a seeded order, epoch after epoch without replacement, each epoch shuffled anew."""

    def __init__(
        self,
        problems: Sequence[Problem],
        seed: str,
        curriculum: CurriculumSpec | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(problems, seed, curriculum)
        self.epoch: int = state["epoch"] if state else 0
        self.position: int = state["position"] if state else 0
        self._order = self._shuffled()

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The next n problems, wherever in the budget the run is."""
        out: list[Problem] = []
        while len(out) < n:
            if self.position == len(self._order):
                self.epoch, self.position = self.epoch + 1, 0
                self._order = self._shuffled()
            out.append(self._order[self.position])
            self.position += 1
        return out

    def state(self) -> dict[str, Any]:
        """Epoch and position in it."""
        return {"epoch": self.epoch, "position": self.position}

    def _shuffled(self) -> list[Problem]:
        order = list(self.problems)
        random.Random(f"{self.seed}-{self.epoch}").shuffle(order)
        return order


def next_target(target: float, accuracy: float, spec: TargetSpec) -> float:
    """T' = clip(T + eta tanh(alpha (R_avg - beta)), 0, 1) (AdaRFT, arXiv 2504.05520, algorithm 1)."""
    return min(1.0, max(0.0, target + spec.step * math.tanh(spec.sensitivity * (accuracy - spec.goal))))


class TargetSampler(ProblemSampler):
    """Problems nearest to a target difficulty that follows the accuracy; each problem once an epoch.

    Simplified: the paper's difficulties run from 0 to 100, ours from 0 to 1; ties are broken by a seeded order.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        seed: str,
        curriculum: CurriculumSpec | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(problems, seed, curriculum)
        self.spec = curriculum.target if curriculum is not None else TargetSpec()
        self.target: float = state["target"] if state else self.spec.start
        self.epoch: int = state["epoch"] if state else 0
        self.used: set[int] = set(state["used"]) if state else set()  # positions taken in this epoch
        self._rank = self._ranks()

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The n unused problems whose difficulty is nearest to the target."""
        out: list[Problem] = []
        while len(out) < n:
            left = [i for i in range(len(self.problems)) if i not in self.used]
            if not left:
                self.epoch, self.used = self.epoch + 1, set()
                self._rank = self._ranks()
                continue
            left.sort(key=lambda i: (abs((self.problems[i].difficulty or 0.0) - self.target), self._rank[i]))
            chosen = left[: n - len(out)]
            self.used.update(chosen)
            out += [self.problems[i] for i in chosen]
        return out

    def observe(self, groups: Sequence[Group]) -> None:
        """Move the target by one round's mean accuracy; a round that could not be graded leaves it alone."""
        accuracies = [g.accuracy for g in groups if g.verdict != "errored"]
        if accuracies:
            self.target = next_target(self.target, math.fsum(accuracies) / len(accuracies), self.spec)

    def metrics(self) -> dict[str, float]:
        """The target difficulty."""
        return {"target": self.target}

    def state(self) -> dict[str, Any]:
        """Target, epoch and the positions that were taken in it."""
        return {"target": self.target, "epoch": self.epoch, "used": sorted(self.used)}

    def _ranks(self) -> list[int]:
        ranks = list(range(len(self.problems)))
        random.Random(f"{self.seed}-{self.epoch}").shuffle(ranks)
        return ranks


def ramp_weights(fraction: float) -> list[float]:
    """Sampling weights of the difficulty tags, easiest first, at a fraction in [0, 1] of the budget."""
    return [a + (b - a) * min(1.0, fraction) for a, b in zip(RAMP_START, RAMP_END, strict=True)]


class RampSampler(ProblemSampler):
    """Difficulty-aware sampling as in GanitLLM (arXiv 2601.06767): four tags by difficulty, weights from easy to hard.

    Simplified: tags are quarters of the stratum's range of d(q), one minus a pass rate, where the paper tags by pass@k
    of another model; the weights move linearly over the budget, where the paper has stages. Within a tag problems come
    in seeded order, epoch after epoch.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        seed: str,
        curriculum: CurriculumSpec | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.seed = seed
        values = [p.difficulty or 0.0 for p in problems]
        low, width = min(values), (max(values) - min(values)) or 1.0
        parts: list[list[Problem]] = [[], [], [], []]
        for p, value in zip(problems, values, strict=True):
            parts[min(3, int(4 * (value - low) / width))].append(p)
        states = state["parts"] if state else [None] * 4
        self.parts = [
            UniformSampler(part, f"{seed}-{i}", curriculum, saved)
            for i, (part, saved) in enumerate(zip(parts, states, strict=True))
        ]
        self.taken: int = state["taken"] if state else 0

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """n problems, each of a tag that is drawn by its weight."""
        weights = [w if part.problems else 0.0 for w, part in zip(ramp_weights(fraction), self.parts, strict=True)]
        out = []
        for _ in range(n):
            tag = random.Random(f"{self.seed}-ramp-{self.taken}").choices(range(4), weights)[0]
            out += self.parts[tag].take(1)
            self.taken += 1
        return out

    def state(self) -> dict[str, Any]:
        """The samplers of the four tags, and how many draws were made."""
        return {"parts": [part.state() for part in self.parts], "taken": self.taken}


def make_sampler(
    curriculum: CurriculumSpec, problems: Sequence[Problem], seed: str, state: dict[str, Any] | None = None
) -> ProblemSampler:
    """The sampler of one level; `state`: as it was saved."""
    made: ProblemSampler = resolve("sampler", curriculum.selection)(problems, seed, curriculum, state)
    return made
