"""Problems whose last groups taught nothing are skipped before they are sampled, with a probability (GRESO)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from eprli_lab.algorithm.admission import SPREAD_TOLERANCE
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.memories import GresoSpec
from eprli_lab.data.samplers import ProblemSampler, UniformSampler
from eprli_lab.records import Group, Problem

Kind = Literal["easy", "hard"]
KINDS: tuple[Kind, ...] = ("easy", "hard")


def flat(group: Group) -> Kind | None:
    """What a group without spread in its rewards was, easy or hard; None where it has some."""
    if max(group.rewards) - min(group.rewards) > SPREAD_TOLERANCE:
        return None
    return "easy" if group.accuracy >= 0.5 else "hard"


class GresoSampler(ProblemSampler):
    """GRESO (arXiv 2506.02177): a problem whose last z groups had no spread is skipped with probability 1 - p^z.

    Problems come in a seeded order, epoch after epoch. p is of the problem's last group, all right (easy) or all wrong
    (hard): each falls by `step` after a round whose share of such groups is at or above its target, else it rises.
    Departures: a round is that of the buffer; p stays at or above `step`, so that no problem is left for ever; where
    as many were skipped in a row as the stratum has, the stratum begins anew: it is forgotten what its problems were.
    """

    carries = ("explore", "streaks", "walked", "skipped", "begun_anew")

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        self.spec = curriculum.greso if curriculum is not None else GresoSpec()
        ids = {p.id for p in self.problems}
        self.stream = UniformSampler(self.problems, self.seed, curriculum, state["stream"] if state else None)
        start: dict[Kind, float] = {"easy": self.spec.easy_start, "hard": self.spec.hard_start}
        self.explore = {k: float(state["explore"][k]) if state else start[k] for k in KINDS}  # p
        # groups without spread in a row, by problem and by what the last of them was
        self.streaks: dict[Kind, dict[str, int]] = {
            k: {i: int(z) for i, z in state["streaks"][k].items() if i in ids} if state else {} for k in KINDS
        }
        self.walked = int(state["walked"]) if state else 0
        self.skipped = int(state["skipped"]) if state else 0
        self.begun_anew = int(state["begun_anew"]) if state else 0

    def skip_probability(self, problem: Problem) -> float:
        """1 - p^z; 0 of a problem that is unseen, or had spread in its last group."""
        for kind in KINDS:
            if problem.id in self.streaks[kind]:
                return 1.0 - float(self.explore[kind] ** self.streaks[kind][problem.id])
        return 0.0

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The next n problems that are not skipped."""
        out: list[Problem] = []
        in_a_row = 0
        while len(out) < n:
            [problem] = self.stream.take(1)
            self.walked += 1
            if random.Random(f"{self.seed}-skip-{self.walked}").random() >= self.skip_probability(problem):
                out.append(problem)
                in_a_row = 0
                continue
            self.skipped += 1
            in_a_row += 1
            if in_a_row == len(self.problems):
                self.streaks = {k: {} for k in KINDS}
                self.begun_anew += 1
        return out

    def observe(self, groups: Sequence[Group]) -> None:
        """Count groups without spread in a row, and move both p by one round's share of them."""
        known = [g for g in groups if g.verdict != "errored"]
        counts = dict.fromkeys(KINDS, 0)
        for g in known:
            kind, before = flat(g), sum(self.streaks[k].pop(g.problem.id, 0) for k in KINDS)
            if kind is not None:
                self.streaks[kind][g.problem.id] = before + 1
                counts[kind] += 1
        targets: dict[Kind, float] = {"easy": self.spec.easy_target, "hard": self.spec.hard_target}
        for k in KINDS if known else ():
            change = -self.spec.step if counts[k] / len(known) >= targets[k] else self.spec.step
            self.explore[k] = min(1.0, max(self.spec.step, self.explore[k] + change))

    def state(self) -> dict[str, Any]:
        """The order's place, both p, streaks by problem, and the counts."""
        return {
            "stream": self.stream.state(),
            "explore": dict(self.explore),
            "streaks": {k: dict(z) for k, z in self.streaks.items()},
            "walked": self.walked,
            "skipped": self.skipped,
            "begun_anew": self.begun_anew,
        }

    def metrics(self) -> dict[str, float]:
        """Both p, problems skipped and offered so far, those with a streak, how often the stratum began anew."""
        out = {f"explore/{k}": self.explore[k] for k in KINDS}
        out |= {f"pool/{k}": float(len(self.streaks[k])) for k in KINDS}
        return out | {
            "walked": float(self.walked),
            "skipped": float(self.skipped),
            "begun_anew": float(self.begun_anew),
        }
