"""One policy for all levels, or one a level (docs/algorithm.md): who answers which problem of an evaluation."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from eprli_lab.algorithm.schedule import visited
from eprli_lab.backends.base import Backend
from eprli_lab.config.spec import RunSpec
from eprli_lab.records import Problem, Response, Sampling


class Policies:
    """The policies of a run. Under `weights: per_level` each level's policy is kept when the curriculum leaves it.

    The next level's policy starts from it, its optimizer carried on. A problem is then answered by the policy of the
    level whose stratum its difficulty falls in: the kept one where the level was left, else the one in training. Above
    Q_L, or without a difficulty, it falls to the hardest level.
    """

    def __init__(self, spec: RunSpec, backend: Backend, directory: Path) -> None:
        self.curriculum, self.backend, self.directory = spec.curriculum, backend, directory
        self.level: str | None = None  # in training

    def leave(self, level: str) -> None:
        """Keep the policy of a level that the curriculum leaves. Left again after a resume, it is written again."""
        if self.curriculum.weights == "per_level":
            self._keep(self.directory / level)

    def answering(self, level: str | None) -> Policies | Backend:
        """Who answers an evaluation while `level` is in training: the one policy, or each level's own."""
        self.level = level
        return self if self.curriculum.weights == "per_level" and level is not None else self.backend

    def level_of(self, problem: Problem) -> str:
        """The level whose stratum holds a problem of this difficulty."""
        names = list(self.curriculum.levels)
        if problem.difficulty is None:
            return names[-1]
        fitting = [n for n in names if problem.difficulty <= self.curriculum.levels[n].quality_threshold]
        return fitting[0] if fitting else names[-1]

    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, seed: int) -> list[tuple[Response, ...]]:
        """n responses for each problem, in order, each from its level's policy; then the one in training is back."""
        order = visited(self.curriculum)
        left = order[: order.index(self.level)] if self.level else []
        owners = [lv if (lv := self.level_of(p)) in left and (self.directory / lv).is_dir() else None for p in problems]
        answers: dict[int, tuple[Response, ...]] = {}
        kept = self.directory / "current"
        if any(owners):
            self._keep(kept)
        for owner in dict.fromkeys(owners):
            if owner is not None:
                self.backend.load(self.directory / owner)
            elif any(owners):
                self.backend.load(kept)
            mine = [i for i, o in enumerate(owners) if o == owner]
            drawn = self.backend.sample([problems[i] for i in mine], sampling, seed=seed)
            answers |= dict(zip(mine, drawn, strict=True))
        if any(owners):
            self.backend.load(kept)
            shutil.rmtree(kept)
        return [answers[i] for i in range(len(problems))]

    def _keep(self, path: Path) -> None:
        half = path.with_name(f"{path.name}.saving")
        for old in (half, path):
            shutil.rmtree(old, ignore_errors=True)
        half.mkdir(parents=True)
        self.backend.save(half)
        half.rename(path)
