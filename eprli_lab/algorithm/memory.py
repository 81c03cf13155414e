"""What samplers, schedules and admission rules share: they hear of groups, remember, and have metrics of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eprli_lab.records import Group


class Remembering:
    """Hears of every group; what it remembers is plain data that `state` returns and its constructor takes back."""

    def observe(self, groups: Sequence[Group]) -> None:
        """Groups as they were sampled, verdicts and all: of a round (samplers, rules) or of a step (schedules)."""

    def state(self) -> dict[str, Any]:
        """What a resumed run must remember, as plain data; it is kept in every checkpoint."""
        return {}

    def metrics(self) -> dict[str, float]:
        """Name -> value, logged after every step under what it is of (sampler/{level}, admission/{level}, schedule)."""
        return {}
