"""The `study` node of a sweep, typed; and what one of its runs is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from eprli_lab.config.credentials import hide, reveal
from eprli_lab.config.fields import Name, Strict
from eprli_lab.config.overrides import seed_list
from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.sweeping.space import SearchSpec
from eprli_lab.tracking.description import Expectation, Objective, Spending


class AfterSpec(Strict):
    """This arm's run of a seed waits for another arm's run of that seed and takes values from its last metrics."""

    arm: str
    set: dict[str, str]  # dotted config key -> metric name, or FACTOR * metric name (2 * progress/tokens)

    @field_validator("set")
    @classmethod
    def _factors_are_numbers(cls, v: dict[str, str]) -> dict[str, str]:
        for text in v.values():
            factor_and_metric(text)
        return v


def factor_and_metric(text: str) -> tuple[int, str]:
    """(2, progress/tokens) of `2 * progress/tokens`; (1, ...) of a metric alone. Raises ValueError for others."""
    factor, times, metric = text.partition(" * ")
    if not times:
        return 1, text
    if not factor.strip().isdigit() or int(factor) < 1:
        raise ValueError(f"'{text}' is no metric and no whole number times one: write it as 2 * progress/tokens")
    return int(factor), metric.strip()


class ArmSpec(Strict):
    """One arm: what differs from the composed config."""

    overrides: list[str] = Field(default_factory=list)
    after: AfterSpec | None = None
    baseline: str | None = None  # the arm that this one is compared with; null: the study's


def _seeds(value: Any) -> list[int]:
    """`[0,1]`, and the texts `0,1,2` and `range(0,3)`. ValueError for what is no list of whole numbers from 0 on."""
    found = seed_list(value) if isinstance(value, str) else value
    if not isinstance(found, list) or not all(type(v) is int and v >= 0 for v in found):
        raise ValueError(f"{value!r} is no list of seeds (whole numbers from 0 on): write [0,1,2] or range(0,3)")
    return found


Seeds = Annotated[list[int], BeforeValidator(_seeds)]


def storage_uri(given: str | None) -> str | None:
    """What `study.storage` connects with. Raises UserError when its credentials are not there."""
    if given is None:
        return None
    try:
        return reveal(hide(given), "study.storage")
    except ValueError as error:
        raise UserError(f"study.storage: {error}") from None


class StudySpec(Strict):
    """The `study` node of a sweep."""

    name: Name
    question: str | None = None
    claim: str | None = None
    baseline: str
    arms: dict[Name, ArmSpec]
    only: list[str] | None = None
    seeds: Seeds
    objectives: list[Objective] = Field(default_factory=list, max_length=3)  # none: the run's objective
    contrasts: list[str] = Field(default_factory=list)  # ARM - ARM: those that answer the question
    expected: list[Expectation] = Field(default_factory=list)  # of a control: what it must find
    looks: int = Field(default=1, ge=1, le=10)  # above 1: the study may stop at one of so many looks
    spending: Spending = "obrien_fleming"  # how the looks spend the 5%
    varies_evaluation: bool = False  # arms may be examined differently; every table then says so first
    search: SearchSpec | None = None
    trials: int = Field(default=20, ge=1, le=100_000)  # of the search, in all, whoever runs them
    search_seeds: Seeds = Field(default_factory=lambda: [100, 101, 102])  # of every trial; never those of the table
    # null: studies/<name>.journal; sqlite:///FILE; postgresql://USER@HOST/NAME; env:NAME, file:PATH
    storage: str | None = None
    workers: int | None = Field(default=None, ge=1, le=256)
    retries: int = Field(default=1, ge=0, le=10)  # of a run that failed
    max_lost: int = Field(default=20, ge=0, le=1000)  # times that a run's process may die under it
    max_failures_per_arm: int = Field(default=3, ge=1)  # runs failed for good; then the arm's others are not started
    max_failures: int = Field(default=10, ge=1)  # in all; then nothing more is started
    lease_seconds: float = Field(default=60.0, ge=1.0)  # a process of another machine not heard for so long is gone
    allow_duplicates: bool = False
    force: bool = False  # go on although configuration, code or data changed; recorded
    figures: bool = True  # false: the report at the end has none; eprli-lab report draws them
    pinned: list[str] = Field(default_factory=list)

    @field_validator("storage")
    @classmethod
    def _without_credentials(cls, v: str | None) -> str | None:
        return None if v is None else hide(v)


@dataclass(frozen=True)
class PlannedRun:
    """One (arm, seed)."""

    arm: str
    seed: int
    spec: RunSpec
    directory: Path
    after: AfterSpec | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.arm, self.seed

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits of what is planned: its spec, and what it takes from the run that it waits for."""
        own = self.spec.fingerprint()
        if self.after is None:
            return own
        return hashlib.sha256(f"{own}/{self.after.model_dump_json()}".encode()).hexdigest()[:12]

    def with_seed(self, seed: int) -> PlannedRun:
        """The same arm's run of another seed; its spec is not validated again, which takes a second for 700 runs."""
        spec = self.spec.model_copy(update={"seed": seed})
        return replace(self, seed=seed, spec=spec, directory=self.directory.parent / f"seed{seed}")

    @property
    def configuration(self) -> str:
        """The same, whatever the seed: its arm's."""
        return replace(self, spec=self.spec.model_copy(update={"seed": 0})).fingerprint


def plan_run(arm: str, seed: int, tree: dict[str, Any], study: str, after: AfterSpec | None) -> PlannedRun:
    """A run from a plain config. Raises UserError when it does not validate."""
    spec = parse_spec({**tree, "seed": seed}).model_copy(update={"study": study, "arm": arm})
    return PlannedRun(arm, seed, spec, Path("outputs") / study / arm / f"seed{seed}", after)
