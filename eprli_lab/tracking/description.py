"""What a study is, as its parent run remembers it: written by sweeping, read by reporting, one JSON tag in between."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from eprli_lab.config.fields import AsTuple, Strict

TAG = "eprli.study"  # of the parent run
Direction = Literal["maximize", "minimize"]


class Objective(Strict):
    """A metric and which way it is better."""

    metric: str
    direction: Direction = "maximize"


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

    @property
    def objective(self) -> str:
        """The headline's metric."""
        return self.objectives[0].metric if self.objectives else "score"

    def to_tag(self) -> str:
        """JSON; the headline's metric once more by itself, as earlier versions wrote and read it."""
        return json.dumps({**self.model_dump(mode="json"), "objective": self.objective})

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
