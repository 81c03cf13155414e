"""The sets of reasoning-gym: one of their entries by its number, and what its set's scorer says of an answer.

An entry is made again from four words (`Source`) wherever it is needed: what it carries for its scorer is often no
JSON, and is exact so.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from eprli_lab.data.gym_levels import (
    SIZE,
    SIZES,
    configurations,
    factory,
    hardest,
    level_of,
    small_configuration,
)
from eprli_lab.data.gym_safety import may_be_scored, with_an_end, without_eval

RIGHT = 1 - 1e-9  # a score from here on is right; what a set gives for a part of an answer is not


@dataclass(frozen=True)
class Source:
    """Where an entry comes from."""

    name: str  # of the set, as reasoning-gym has it
    operations: int  # 1 to MAX_OPERATIONS
    index: int  # below the set's size
    small: bool = False  # by small_configuration, not by the curriculum

    def checks(self) -> str:
        """As JSON, for the verifier."""
        return json.dumps([self.name, self.operations, self.index, self.small])


def source_of(checks: str) -> Source:
    """Of what `Source.checks` wrote."""
    return Source(*json.loads(checks))


def size_of(name: str) -> int:
    """How many entries are drawn from."""
    return SIZES.get(name, SIZE)


def operations_of(name: str, operations: int) -> int:
    """The highest number of operations that means the same level of the set."""
    return hardest(operations, len(configurations(name)))


@lru_cache(maxsize=32)
def dataset(name: str, operations: int, small: bool) -> Any:
    """A set of reasoning-gym at one difficulty."""
    if small:
        config = small_configuration(name, operations)
    else:
        levels = configurations(name)
        config = levels[level_of(operations, len(levels))]
    kind = factory().DATASETS[name][0]
    without_eval(kind)
    with_an_end(kind)
    with _quiet(0):
        return kind(config)


@lru_cache(maxsize=512)
def entry_of(source: Source) -> dict[str, Any]:
    """The entry: question, answer, metadata. Raises whatever its generator raises."""
    made = dataset(source.name, source.operations, source.small)
    with _quiet(source.index):
        entry: dict[str, Any] = made[source.index]
    return entry


def score(answer: str, source: Source) -> float:
    """What the set's scorer gives the answer, 0 to 1. Raises whatever it raises."""
    if not may_be_scored(source.name, answer):
        return 0.0
    made, entry = dataset(source.name, source.operations, source.small), entry_of(source)
    with _quiet(source.index):
        return float(made.score_answer(answer, entry))


@contextlib.contextmanager
def _quiet(seed: int) -> Iterator[None]:
    """What is printed is dropped, and Python's global stream, which some sets may draw from, is lent and given back."""
    state = random.getstate()
    random.seed(seed)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        random.setstate(state)
