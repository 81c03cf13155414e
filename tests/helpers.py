"""Small records and a scripted engine for tests of the loop: every statistic without a model."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.records import Batch, Grade, Group, LossTerms, Problem, Response, UpdateSettings

SMALL = [
    "data.generated.problems=64",
    "evaluation.suites.heldout_easy.generated.problems=8",
    "evaluation.suites.heldout_medium.generated.problems=8",
    "evaluation.suites.heldout_hard.generated.problems=8",
    "evaluation.samples=2",
    "evaluation.boundary_problems=4",
    "evaluation.curve_points=1",
]


def small_spec(*overrides: str) -> RunSpec:
    """The composed config with few problems."""
    return compose_spec([*SMALL, *overrides])


def response(text: str, tokens: int = 5, truncated: bool = False) -> Response:
    return Response(text, (2, 4), tuple(range(tokens)), (-0.5,) * tokens, truncated)


def group(correct: Sequence[bool], verdict="admitted", version: int = 0, level: str = "l1", tokens: int = 5) -> Group:
    grades = tuple(Grade(c, "exact" if c else "wrong", "1" if c else "2") for c in correct)
    problem = Problem("p", "1a+1?", ("2",), 0.125)
    rewards = tuple(float(c) for c in correct)
    return Group(problem, level, (response("x", tokens),) * len(correct), grades, rewards, version, verdict)


class ScriptedBackend:
    """Answers rightly with probability `skill(problem, updates)`, drawn from the seed; counts its updates."""

    def __init__(self, skill: Callable[[Problem, int], float] = lambda p, u: 0.5, fail_at: int | None = None) -> None:
        self.skill, self.updates, self.fail_at = skill, 0, fail_at
        self.batches: list[tuple[Batch, UpdateSettings]] = []
        self.sampled: list[tuple[int, int, int]] = []  # (problems, n, max_tokens)

    def sample(self, problems, sampling, *, seed):
        n, max_tokens = sampling.n, sampling.max_tokens
        self.sampled.append((len(problems), n, max_tokens))
        rng = random.Random(seed)
        out = []
        for p in problems:
            row = []
            for _ in range(n):
                right = rng.random() < self.skill(p, self.updates)
                answer = p.answers[0] if right else str(int(p.answers[0]) + 1)
                row.append(response(f"\\boxed{{{answer}}}", tokens=min(max_tokens, 3 + rng.randrange(5))))
            out.append(tuple(row))
        return out

    def update(self, batch: Batch, settings: UpdateSettings) -> LossTerms:
        if self.fail_at is not None and self.updates >= self.fail_at:
            from eprli_lab.errors import NonFiniteError

            raise NonFiniteError("loss nan and gradient norm nan are not both finite")
        self.batches.append((batch, settings))
        self.updates += 1
        return LossTerms(0.1, 0.2, 0.3, 0.0, 0.0, None, 0.01, 0.02, 1.0, settings.inner_iterations)

    def save(self, path: Path) -> None:
        (path / "scripted.json").write_text(json.dumps({"updates": self.updates}))

    def load(self, path: Path) -> None:
        self.updates = json.loads((path / "scripted.json").read_text())["updates"]

    def close(self) -> None: ...
