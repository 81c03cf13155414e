"""A set of reasoning-gym as a data family: its own entries, by its own curriculum, each tried with its own answer."""

from __future__ import annotations

import random
from typing import Any

from eprli_lab.data.gym import RIGHT, Source, entry_of, operations_of, score, size_of
from eprli_lab.data.gym_levels import factory
from eprli_lab.data.tasks import Family, Task
from eprli_lab.errors import UserError, reason

MISSES = 50  # entries in a row that cannot be made, or whose own answer is not right


class GymSet(Family):
    """`rg_<set>`. Raises UserError where reasoning-gym is not installed."""

    def __init__(self, name: str) -> None:
        factory()
        self.set = name
        self.name = f"rg_{name}"
        self.left_out = 0

    def draw(self, operations: int, rng: random.Random) -> Task:
        """A random entry of the level of so many operations, its question as the set writes it.

        Raises UserError where none can be made whose own answer its scorer calls right.
        """
        operations = operations_of(self.set, operations)
        why = ""
        for _ in range(MISSES):
            source = Source(self.set, operations, rng.randrange(size_of(self.set)))
            try:
                entry = entry_of(source)
                if is_right(entry, source):
                    return self._task(entry, source)
                why = "its scorer does not call their own answers right"
            except Exception as error:  # whatever a generator raises: some do for one entry in a hundred
                why = reason(error)
            self.left_out += 1
        raise UserError(
            f"data.generated.family: {self.name} gives no entry with {operations} operations, of {MISSES} tried "
            f"({why}): name other operations"
        )

    def _task(self, entry: dict[str, Any], source: Source) -> Task:
        return Task(
            family=self.name,
            operations=source.operations,
            prompt=entry["question"],
            answer=entry["answer"],
            verifier="reasoning_gym",
            checks=source.checks(),
        )

    def notes(self) -> list[str]:
        """How many entries were left out."""
        if not self.left_out:
            return []
        return [
            f"{self.name}: {self.left_out} entries were left out: they could not be made, or their scorer does not "
            "call their own answer right"
        ]


def is_right(entry: dict[str, Any], source: Source) -> bool:
    """Does the set's scorer call the entry's own answer right?"""
    return isinstance(entry["answer"], str) and score(entry["answer"], source) >= RIGHT
