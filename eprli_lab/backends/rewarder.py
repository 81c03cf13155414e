"""The narrow interface between the loop and a model that learns process rewards (docs/algorithm.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eprli_lab.records import Response


@dataclass(frozen=True)
class OutcomeTerms:
    """How well the outcomes of some responses were known, before they were learned from."""

    cross_entropy: float  # nats a response
    accuracy: float  # share of outcomes that were predicted right; one that is called even counts one half


class ProcessRewarder(Protocol):
    """A model that learns from outcomes and rewards tokens. It is no part of the policy's engine."""

    def observe(self, responses: Sequence[Response], correct: Sequence[bool]) -> OutcomeTerms:
        """Learn the outcomes of these responses. Raises NonFiniteError, with the model as before the failed step."""
        ...

    def score(self, responses: Sequence[Response]) -> list[tuple[float, ...]]:
        """The reward of each token of each response, by the model as it is now; nats times beta."""
        ...

    def save(self, path: Path) -> None:
        """Write the model and its optimizer's state into the directory `path`, beside what the engine writes there."""
        ...

    def load(self, path: Path) -> None:
        """Restore what `save` wrote, bit for bit. Raises UserError for what is damaged or of another model."""
        ...
