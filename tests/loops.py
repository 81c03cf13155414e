"""Whole small runs for tests: the loop on any engine, what it wrote, and an engine that dies where it is told to."""

from __future__ import annotations

from pathlib import Path

from eprli_lab.config.spec import RunSpec
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.data.strata import stratify
from eprli_lab.grading.grader import Grader
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.loop import Trainer

TINY = ("budget.amount=5000", "checkpoint.every_updates=1", "evaluation.boundary_problems=0", "verify.symbolic=false")


def small_levels(count: int) -> list[str]:
    """Several updates a level within a few thousand tokens."""
    sizes = {"group_size": 8, "problems_per_round": 4, "buffer_groups": 3}
    levels = [f"curriculum.levels.l{i}.{key}={n}" for i in range(1, count + 1) for key, n in sizes.items()]
    return [f"curriculum=l{count}", *levels]


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """An engine whose process dies before, or right after, its n-th call of any kind."""

    def __init__(self, engine, at: int | None = None, after: bool = False) -> None:
        self.engine, self.at, self.after, self.calls = engine, at, after, []

    def __getattr__(self, name: str):
        def call(*args, **kwargs):
            self.calls.append((name, Path(args[0]).name if name in ("save", "load") else ""))
            if len(self.calls) == self.at and not self.after:
                raise Killed
            answer = getattr(self.engine, name)(*args, **kwargs)
            if len(self.calls) == self.at:
                raise Killed
            return answer

        return call


def trainer(spec: RunSpec, where: Path, backend) -> Trainer:
    return Trainer(
        spec=spec,
        backend=backend,
        grader=Grader(spec.verify),
        strata=stratify(load_training(spec.data), spec.curriculum),
        suites={n: load_suite(n, s) for n, s in spec.evaluation.suites.items()},
        store=RunStore(where, spec.fingerprint()),
        log=lambda values, step: None,
    )


def run(spec: RunSpec, where: Path, backend) -> dict[tuple[int, str], float]:
    """(step, name) -> value of everything that this process logged."""
    log: dict[tuple[int, str], float] = {}
    made = trainer(spec, where, backend)
    made.log = lambda values, step: log.update({(step, k): v for k, v in values.items()})
    made.run()
    return log


def tables(where: Path) -> dict[str, bytes]:
    return {t: (where / f"{t}.jsonl").read_bytes() for t in ("ledger", "outcomes", "samples")}
