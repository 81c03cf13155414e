"""Pools of problems by what their last group was; what is mastered is drawn no more."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.memories import PoolsSpec
from eprli_lab.data.samplers import ProblemSampler
from eprli_lab.records import Group, Problem

POOLS = ("unseen", "hard", "middle", "easy")
RETIRED = "retired"


class PoolSampler(ProblemSampler):
    """Four pools by the accuracy of a problem's last group: unseen, hard, middle, easy; one is drawn by its weight.

    Then a problem of it, uniformly; in one round none twice while others are left. A problem whose last group reached
    `retire_at` is drawn no more (no positive resampling: ScaleRL, arXiv 2510.13786). A stratum in which nothing can be
    drawn (all retired, or in pools of weight 0) begins anew: it is forgotten what its problems were, and counted.
    """

    carries = ("last", "drawn", "begun_anew")

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        self.spec = curriculum.pools if curriculum is not None else PoolsSpec()
        ids = {p.id for p in self.problems}
        # accuracy of the last group, by problem
        self.last = {k: float(a) for k, a in state["last"].items() if k in ids} if state else {}
        self.drawn = int(state["drawn"]) if state else 0
        self.begun_anew = int(state["begun_anew"]) if state else 0

    def pool_of(self, problem: Problem) -> str:
        """The name of a problem's pool."""
        accuracy = self.last.get(problem.id)
        if accuracy is None:
            return "unseen"
        if self.spec.retire_at is not None and accuracy >= self.spec.retire_at:
            return RETIRED
        if accuracy < self.spec.hard_below:
            return "hard"
        return "easy" if accuracy > self.spec.easy_above else "middle"

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The next n problems, wherever in the budget the run is."""
        out: list[Problem] = []
        pools = self._drawable()
        while len(out) < n:
            if not any(pools.values()):
                pools = self._drawable()  # all that can be drawn were, in this round: once more
                if not pools:
                    self.last, self.begun_anew = {}, self.begun_anew + 1
                continue
            rng = random.Random(f"{self.seed}-{self.drawn}")
            full = [name for name in pools if pools[name]]
            pool = pools[rng.choices(full, [self._weight(name) for name in full])[0]]
            out.append(pool.pop(rng.randrange(len(pool))))
            self.drawn += 1
        return out

    def observe(self, groups: Sequence[Group]) -> None:
        """Remember the accuracy of each group; of one that could not be graded nothing is known."""
        self.last |= {g.problem.id: g.accuracy for g in groups if g.verdict != "errored"}

    def state(self) -> dict[str, Any]:
        """Accuracy of the last group by problem, draws, and how often it began anew."""
        return {"last": self.last, "drawn": self.drawn, "begun_anew": self.begun_anew}

    def metrics(self) -> dict[str, float]:
        """Problems by pool, draws so far, how often the stratum began anew."""
        sizes = dict.fromkeys((*POOLS, RETIRED), 0)
        for p in self.problems:
            sizes[self.pool_of(p)] += 1
        out = {f"pool/{name}": float(size) for name, size in sizes.items()}
        return out | {"drawn": float(self.drawn), "begun_anew": float(self.begun_anew)}

    def _weight(self, pool: str) -> float:
        return float(getattr(self.spec, f"{pool}_weight"))

    def _drawable(self) -> dict[str, list[Problem]]:
        """Pools that can be drawn from, each with some problem."""
        pools: dict[str, list[Problem]] = {name: [] for name in POOLS if self._weight(name) > 0}
        for p in self.problems:
            if (name := self.pool_of(p)) in pools:
                pools[name].append(p)
        return {name: members for name, members in pools.items() if members}
