"""What an imported run's tag says of where its numbers come from: written by importing, read by reporting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationError

from eprli_lab.config.fields import AsTuple, Strict

TAG = "eprli.imported"  # of a run whose numbers another trainer logged
CONFIGURATION = "imported"  # what a study knows the configuration of such an arm by: nobody logged it
LEVEL = "whole"  # the level that their metrics are of: one, all problems
# name of a source -> how it is called
TRAINERS = {"trl": "TRL", "verl": "verl", "openrlhf": "OpenRLHF", "csv": "a CSV file", "wandb-export": "W&B"}


class ImportRecord(Strict):
    """One imported run."""

    source: str  # a key of TRAINERS
    files: dict[str, str]  # path as it was given -> SHA-256
    score: str  # the source's key that the score is, or "mean over suites"
    suites: dict[str, str] = Field(default_factory=dict)  # suite -> the source's key that its accuracy is
    absent: Annotated[tuple[str, ...], AsTuple] = ()  # what the source did not log, of what reports show
    notes: Annotated[tuple[str, ...], AsTuple] = ()  # sentences that a reader of the numbers must know


def record_of(tags: Mapping[str, str]) -> ImportRecord | None:
    """What a run's tags say of its import; None for a run of our own, or where that cannot be read."""
    try:
        return ImportRecord.model_validate_json(tags[TAG]) if TAG in tags else None
    except ValidationError:
        return None
