"""Difficulty as it was measured on the way, and the strata that were redrawn by it (docs/algorithm.md, Strata)."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.data.strata import by_thresholds
from eprli_lab.records import Problem

Levels = Mapping[str, Sequence[Problem]]


def training_problems(levels: Levels) -> list[Problem]:
    """Every problem of any level once, in the order of their ids."""
    return sorted({p.id: p for problems in levels.values() for p in problems}.values(), key=lambda p: p.id)


@dataclass(frozen=True)
class Remeasured:
    """What was measured so far; a problem that was never measured keeps the difficulty that it was loaded with."""

    count: int = 0  # measurements
    difficulties: dict[str, float] = field(default_factory=dict)  # by problem
    levels: dict[str, list[str]] = field(default_factory=dict)  # level -> ids of its stratum

    @classmethod
    def from_json(cls, tree: dict[str, Any], levels: Sequence[str]) -> Remeasured:
        """What a checkpoint holds. Raises ValueError, KeyError or TypeError for anything else."""
        difficulties = {str(k): float(d) for k, d in tree["difficulties"].items()}
        if set(tree["levels"]) != set(levels) or not all(tree["levels"].values()):
            raise ValueError("remeasured has other levels")
        return cls(int(tree["count"]), difficulties, {n: [str(i) for i in tree["levels"][n]] for n in levels})

    def problems(self, loaded: Levels) -> list[Problem]:
        """All training problems, in the order of their ids, with the difficulty that is known of them now."""
        return [
            dataclasses.replace(p, difficulty=self.difficulties[p.id]) if p.id in self.difficulties else p
            for p in training_problems(loaded)
        ]

    def strata(self, loaded: Levels) -> dict[str, list[Problem]]:
        """Level -> its problems now. Raises KeyError for a problem that was not loaded."""
        by_id = {p.id: p for p in self.problems(loaded)}
        return {name: [by_id[i] for i in ids] for name, ids in self.levels.items()}

    def redrawn(self, rates: Mapping[str, float], curriculum: CurriculumSpec, loaded: Levels) -> Remeasured:
        """After one more measurement: d(q) of the problems that have a rate here, and the strata by the thresholds.

        A level in whose band nothing is left keeps the stratum that it had, whose problems may be others' as well.
        """
        before = self.levels or {n: [p.id for p in problems] for n, problems in loaded.items()}
        after = Remeasured(self.count + 1, self.difficulties | dict(rates), before)
        new = {n: [p.id for p in problems] for n, problems in by_thresholds(after.problems(loaded), curriculum).items()}
        return dataclasses.replace(after, levels={n: new[n] or before[n] for n in before})


def in_turn(problems: Sequence[Problem], size: int | None, count: int, seed: int) -> list[Problem]:
    """The problems of measurement number `count`, from 0: the next `size` of one seeded order, round and round."""
    if size is None or size >= len(problems):
        return list(problems)
    order = list(problems)
    random.Random(f"remeasure-{seed}").shuffle(order)
    begin = count * size % len(order)
    return (order + order)[begin : begin + size]
