"""What a study is, as its parent run remembers it: written by sweeping, read by reporting, one JSON tag in between."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from eprli_lab.config.fields import AsTuple, Strict

TAG = "eprli.study"  # of the parent run; what is longer than a tag may be goes on in eprli.study.1, .2, ...
PLANNED = "eprli.planned"  # of a run whose fingerprint is not the planned one: what its plan knows it by
OPENED = "eprli.opened"  # of the parent run: when a command opened it last, us since 1970
LONGEST = 4800  # characters of a tag; MLflow takes 8,000, its older servers 5,000
EXAMINATION = ("evaluation.", "prompts.", "verify.")  # config keys that say how a run is examined: one for all arms
Direction = Literal["maximize", "minimize"]
Spending = Literal["obrien_fleming", "pocock"]  # how a study that is looked at early spends its 5%
LOOKS = "eprli.looks"  # tag of the parent run: the looks that were taken (docs/power.md)


def last_opened(tags: Mapping[str, str]) -> int:
    """When a parent run with these tags was opened last, us since 1970; 0 of one that an earlier version opened."""
    text = tags.get(OPENED, "")
    return int(text) if text.isdecimal() else 0


class Objective(Strict):
    """A metric and which way it is better."""

    metric: str
    direction: Direction = "maximize"


class Contrast(NamedTuple):
    """Two arms whose difference answers the question: the first minus the second."""

    arm: str
    reference: str

    @classmethod
    def of(cls, text: str) -> Contrast:
        """Of `l2 - l1_matched`. Raises ValueError for any other text."""
        arm, minus, reference = text.partition(" - ")
        if not (minus and arm.strip() and reference.strip()) or arm.strip() == reference.strip():
            raise ValueError(f"'{text}' is no contrast of two arms: write ARM - ARM, for instance l2 - l1_matched")
        return cls(arm.strip(), reference.strip())

    def __str__(self) -> str:
        return f"{self.arm} - {self.reference}"


class Expectation(Strict):
    """What a control must find: of a contrast of two arms, or of one arm's mean. Exactly one rule is given.

    `above: x`: the mean difference is at least x and its 95% interval lies above zero. `below: x`: at most x, and the
    interval below zero. `within: x`: the interval holds zero and the mean difference is smaller than x in size.
    `near: y` (with `within: x`): the arm's mean over seeds is within x of y.
    """

    contrast: str | None = None  # ARM - ARM
    arm: str | None = None
    metric: str | None = None  # null: the study's first objective
    above: float | None = None
    below: float | None = None
    within: float | None = None
    near: float | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Expectation:
        if (self.contrast is None) == (self.arm is None):
            raise ValueError("give either contrast (ARM - ARM) or arm")
        rules = [name for name in ("above", "below", "within") if getattr(self, name) is not None]
        if self.contrast is not None:
            Contrast.of(self.contrast)
            if len(rules) != 1 or self.near is not None:
                raise ValueError("a contrast takes exactly one of above, below and within")
        elif self.near is None or rules != ["within"]:
            raise ValueError("an arm takes near and within")
        return self


class StudyDescription(Strict):
    """One study. Of a search: its space and the study whose table its winners enter; of arms: how they are compared.

    Raises pydantic's ValidationError, a ValueError, for a field of another type, as `from_tag` does.
    """

    version: Literal[1] = 1  # of this layout; a tag without one is of version 1
    kind: Literal["arms", "search"] = "arms"
    question: str | None = None
    claim: str | None = None
    objectives: Annotated[tuple[Objective, ...], AsTuple] = ()  # the first is the headline
    baseline: str | None = None  # the arm that the others are compared with
    arm_baselines: dict[str, str] = Field(default_factory=dict)  # arm -> its own baseline, where it has one
    arms: Annotated[tuple[str, ...], AsTuple] = ()  # in the order of the study
    seeds: Annotated[tuple[int, ...], AsTuple] = ()
    space: dict[str, str] = Field(default_factory=dict)  # of a search: config key -> its values, in words
    confirmed_in: str | None = None  # of a search: the study of its winners
    forced: Annotated[tuple[str, ...], AsTuple] = ()  # changes that study.force=true went over
    contrasts: Annotated[tuple[str, ...], AsTuple] = ()  # ARM - ARM: those that answer the question
    expected: Annotated[tuple[Expectation, ...], AsTuple] = ()  # of a control: what it must find
    varies_evaluation: bool = False  # its arms were allowed to be examined differently
    configurations: dict[str, str] = Field(default_factory=dict)  # arm -> fingerprint of its config, whatever the seed
    planned: dict[str, dict[str, str]] = Field(default_factory=dict)  # arm -> seed -> fingerprint of that run
    after: dict[str, dict[str, str]] = Field(default_factory=dict)  # arm -> config key -> `ARM METRIC` it comes from
    searched: str | None = None  # of a search: the fingerprint of its config, space and seeds
    trials: int | None = None  # of a search: how many there are to be
    looks: int = 1  # how often its runs are looked at; above 1 it may stop early
    spending: Spending = "obrien_fleming"

    @field_validator("contrasts")
    @classmethod
    def _are_contrasts(cls, v: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(Contrast.of(text)) for text in v)

    @property
    def objective(self) -> str:
        """The headline's metric."""
        return self.objectives[0].metric if self.objectives else "score"

    def is_of_one_plan(self, other: StudyDescription) -> bool:
        """Do both plan the same configuration for every arm that both have (of a search: the same search)?"""
        known = other.configurations
        arms = all(known.get(arm, fingerprint) == fingerprint for arm, fingerprint in self.configurations.items())
        return arms and (None in (self.searched, other.searched) or self.searched == other.searched)

    def joined(self, earlier: StudyDescription) -> StudyDescription:
        """This plan with the arms and seeds that an earlier command of the same plan ran: both are the study."""
        arms = [a for a in earlier.arms if a in earlier.configurations]
        seeds = earlier.seeds if earlier.configurations else ()
        planned = {arm: {**earlier.planned.get(arm, {}), **of} for arm, of in self.planned.items()}
        changes: dict[str, Any] = {
            "arms": tuple(dict.fromkeys((*self.arms, *arms))),
            "seeds": tuple(dict.fromkeys((*self.seeds, *seeds))),
            "arm_baselines": {**earlier.arm_baselines, **self.arm_baselines},
            "configurations": {**earlier.configurations, **self.configurations},
            "planned": {**earlier.planned, **planned},
            "after": {**earlier.after, **self.after},
        }
        return self.model_copy(update=changes) if self.kind == "arms" else self

    def to_tag(self) -> str:
        """JSON; the headline's metric once more by itself, as earlier versions wrote and read it."""
        not_looked_at = {"looks", "spending"} if self.looks == 1 else None  # the tag that it always was
        return json.dumps({**self.model_dump(mode="json", exclude=not_looked_at), "objective": self.objective})

    def to_tags(self, known: Iterable[str] = ()) -> dict[str, str]:
        """`to_tag` in as many tags as it takes; those of the `known` ones that it no longer takes become empty."""
        text = self.to_tag()
        parts = [text[i : i + LONGEST] for i in range(0, len(text), LONGEST)]
        tags = {TAG: parts[0]} | {f"{TAG}.{i}": part for i, part in enumerate(parts[1:], start=1)}
        return tags | {key: "" for key in known if key.startswith(f"{TAG}.") and key not in tags}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> StudyDescription:
        """Of a parent run's tags; of tags that do not describe a study, one with its defaults.

        Raises ValueError for what is no description.
        """
        text = tags.get(TAG, "{}")
        for i in itertools.count(1):
            part = tags.get(f"{TAG}.{i}")
            if not part:
                return cls.from_tag(text)
            text += part
        raise AssertionError

    @classmethod
    def from_tag(cls, text: str) -> StudyDescription:
        """Of a tag's text, an earlier version's too. Raises ValueError for what is no description."""
        tree: Any = json.loads(text)
        if not isinstance(tree, dict):
            raise ValueError("a study's description is a JSON object")
        known = {k: v for k, v in tree.items() if k in cls.model_fields and v is not None}
        if "objectives" not in known and isinstance(tree.get("objective"), str):
            known["objectives"] = ({"metric": tree["objective"]},)
        return cls.model_validate(known)
