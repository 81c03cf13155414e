"""A memory of problems whose groups had a large variance, which are mixed in again (VCRL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.memories import VcrlSpec
from eprli_lab.data.samplers import ProblemSampler, UniformSampler
from eprli_lab.records import Group, Problem


def normalised_variance(correct: int, size: int) -> float:
    """Unbiased variance k(G - k) / (G(G - 1)) of a group's correctness over the largest possible at this G, in [0, 1].

    arXiv 2509.19803: the largest is at k = floor(G / 2).
    """
    half = size // 2
    return correct * (size - correct) / (half * (size - half))


class ReplaySampler(ProblemSampler):
    """VCRL (arXiv 2509.19803): a problem whose last group's variance score is at least kappa waits to be drawn again.

    Of a round at most `share` comes from the memory, by priority: it is the score at first, and in every round that the
    problem waits it moves to the number of rounds waited (momentum). The rest comes in a seeded order, epoch after
    epoch. Departures: there a batch's places below kappa are filled from the memory, here admission throws groups away
    and the share is fixed; kappa is one number, there it rises from .3 to .8.
    """

    carries = ("memory", "replayed", "drawn")

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        self.spec = curriculum.vcrl if curriculum is not None else VcrlSpec()
        self.by_id = {p.id: p for p in self.problems}
        self.stream = UniformSampler(self.problems, self.seed, curriculum, state["stream"] if state else None)
        # problem -> priority, rounds waited
        saved = state["memory"].items() if state else ()
        self.memory = {k: (float(score), int(waited)) for k, (score, waited) in saved if k in self.by_id}
        self.replayed = int(state["replayed"]) if state else 0
        self.drawn = int(state["drawn"]) if state else 0

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """n problems: of the memory those with the highest priority, the others from the order."""
        waiting = sorted(self.memory, key=lambda k: (-self.memory[k][0], k))
        again = waiting[: int(self.spec.share * n)]
        for k in again:
            del self.memory[k]
        out = [self.by_id[k] for k in again]
        passed = 0  # problems of the order that are in this round already
        while len(out) < n:
            [problem] = self.stream.take(1)
            if problem.id in again and passed < len(self.problems):
                passed += 1
                continue
            out.append(problem)
        self.replayed += len(again)
        self.drawn += n
        return out

    def observe(self, groups: Sequence[Group]) -> None:
        """Who waits waits a round longer; of this round's problems those with variance enough begin to wait."""
        momentum = self.spec.momentum
        self.memory = {
            k: (momentum * priority + (1.0 - momentum) * (waited + 1), waited + 1)
            for k, (priority, waited) in self.memory.items()
        }
        for g in groups:
            if g.verdict == "errored":
                continue
            score = normalised_variance(sum(grade.correct for grade in g.grades), len(g.grades))
            self.memory.pop(g.problem.id, None)
            if score >= self.spec.kappa:
                self.memory[g.problem.id] = (score, 0)

    def state(self) -> dict[str, Any]:
        """The order's place, the memory, and the counts."""
        memory = {k: list(entry) for k, entry in self.memory.items()}
        return {"stream": self.stream.state(), "memory": memory, "replayed": self.replayed, "drawn": self.drawn}

    def metrics(self) -> dict[str, float]:
        """Problems that wait, and how many were drawn from the memory and in all so far."""
        return {"waiting": float(len(self.memory)), "replayed": float(self.replayed), "drawn": float(self.drawn)}
