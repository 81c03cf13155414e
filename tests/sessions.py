"""An OpenRLHF session of a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from eprli_lab.algorithm.settings import update_settings
from eprli_lab.backends.build import build_backend
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.load import load_training
from eprli_lab.records import Batch, Grade, Group, Sampling, UpdateSettings
from eprli_lab.training.batch import make_batch

REHEARSAL = ["backend=openrlhf_cpu", "optim.learning_rate=1e-3"]


class Session:
    """One started engine, and batches that it sampled itself."""

    def __init__(self, directory: Path, *overrides: str) -> None:
        self.spec = compose_spec([*REHEARSAL, *overrides])
        directory.mkdir(parents=True, exist_ok=True)
        self.backend: Any = build_backend(self.spec, directory)
        self.problems = load_training(self.spec.data, 0)[:6]
        self.start = directory / "start"
        self.start.mkdir()
        self.backend.save(self.start)

    def batch(self, seed: int = 1, spec: RunSpec | None = None, count: int = 6, n: int = 8) -> Batch:
        groups = []
        problems = self.problems[:count]
        drawn = self.backend.sample(problems, Sampling(n, 44), seed=seed)
        for problem, responses in zip(problems, drawn, strict=True):
            right = tuple(r.text.endswith(f"{{{problem.answers[0]}}}") for r in responses)
            right = right if 0 < sum(right) < n else tuple(i % 2 == 0 for i in range(n))
            grades = tuple(Grade(c, "exact", None) for c in right)
            rewards = tuple(float(c) for c in right)
            groups.append(Group(problem, "l1", responses, grades, rewards, 0, "admitted"))
        return make_batch(groups, (spec or self.spec).algorithm, 0)

    def digests(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Of the trainer's weights, and of what each engine holds of them, by the trainer's names."""
        from eprli_lab.backends.openrlhf.checks import weight_digests

        return weight_digests(self.backend)

    def in_force(self) -> dict[str, Any]:
        import ray

        return ray.get(self.backend.engines.ranks[0].settings_in_force.remote())


def settings(spec: RunSpec, level: str = "l1", **changes: Any) -> UpdateSettings:
    return replace(update_settings(spec, level, 1e-3, 0), **changes)
