"""The problems whose last groups had the largest variance of rewards; those that were never tried come first."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from typing import Any

from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.memories import SnrSpec
from eprli_lab.data.samplers import ProblemSampler
from eprli_lab.records import Group, Problem


class SnrSampler(ProblemSampler):
    """A round is drawn uniformly from the `share` of the stratum with the largest variance of rewards.

    Variance is that of a problem's last group, over its G rewards; of one without a group it is `prior`, which is
    optimistic by default: the most that rewards of 0 and 1 can have. Among equals the one that was tried longest ago
    comes first, so a stratum that has no variance at all goes round. After StarPO-S (arXiv 2504.20073), which keeps the
    share of a sampled batch that varied most; here it is chosen before it is sampled, by the last group.
    """

    carries = ("last", "rounds", "takes")

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        self.spec = curriculum.snr if curriculum is not None else SnrSpec()
        ids = {p.id for p in self.problems}
        # problem -> variance of its last group, round in which that was
        saved = state["last"].items() if state else ()
        self.last = {k: (float(variance), int(round_)) for k, (variance, round_) in saved if k in ids}
        self.rounds = int(state["rounds"]) if state else 0
        self.takes = int(state["takes"]) if state else 0
        order = list(range(len(self.problems)))
        random.Random(f"{self.seed}-ties").shuffle(order)
        self._ties = {p.id: i for p, i in zip(self.problems, order, strict=True)}

    def ranked(self) -> list[Problem]:
        """All problems of the stratum, the most promising first."""

        def key(problem: Problem) -> tuple[float, int, int]:
            variance, round_ = self.last.get(problem.id, (self.spec.prior, -1))
            return -variance, round_, self._ties[problem.id]

        return sorted(self.problems, key=key)

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """n problems of the top share; in one round none twice while the stratum has others."""
        ranked, total = self.ranked(), len(self.problems)
        rng = random.Random(f"{self.seed}-{self.takes}")
        self.takes += 1
        out: list[Problem] = []
        while len(out) < n:
            count = min(n - len(out), total)
            out += rng.sample(ranked[: max(count, math.ceil(self.spec.share * total))], count)
        return out

    def observe(self, groups: Sequence[Group]) -> None:
        """Remember the variance of each group; of one that could not be graded nothing is known."""
        for g in groups:
            if g.verdict != "errored":
                self.last[g.problem.id] = (statistics.pvariance(g.rewards), self.rounds)
        self.rounds += 1

    def state(self) -> dict[str, Any]:
        """Variance and round of the last group by problem, and the counts."""
        return {"last": {k: list(v) for k, v in self.last.items()}, "rounds": self.rounds, "takes": self.takes}

    def metrics(self) -> dict[str, float]:
        """Problems without a group, and the least variance in the top share."""
        cut = self.ranked()[math.ceil(self.spec.share * len(self.problems)) - 1]
        least = self.last.get(cut.id, (self.spec.prior, -1))[0]
        return {"pool/unseen": float(len(self.problems) - len(self.last)), "least_variance": least}
