"""A generated problem before it is one: its prompt, its answer, and the side of the partition that it is on.

The space of prompts is partitioned by a hash of the prompt, so training and held-out problems cannot overlap at any
size or seed, in any family.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from eprli_lab.errors import UserError

MAX_OPERATIONS = 8
HELDOUT_SHARE = 8  # one prompt in eight is held out
Split = Literal["train", "heldout"]


class Hashed:
    """What every task has beside its own fields: a digest of its prompt, and the split that follows from it."""

    family: Any
    prompt: Any

    @property
    def digest(self) -> int:
        """Stable hash of family and prompt; the last digit (base HELDOUT_SHARE) decides the split."""
        return int.from_bytes(hashlib.blake2b(f"{self.family}:{self.prompt}".encode(), digest_size=6).digest(), "big")

    @property
    def split(self) -> Split:
        """Which side of the partition the prompt is on."""
        return "heldout" if self.digest % HELDOUT_SHARE == 0 else "train"


def with_equations(task: Hashed) -> bool:
    """Which of two styles a task's worked steps have, equations or results alone: a bit that no split depends on."""
    return bool(task.digest // HELDOUT_SHARE % 2)


@dataclass(frozen=True)
class Task(Hashed):
    """One generated problem of a family; its difficulty is operations / MAX_OPERATIONS."""

    family: str  # the family's name
    operations: int  # 1 to MAX_OPERATIONS
    prompt: str
    answer: str
    worked: str = ""  # a worked answer, where the family draws one along
    verifier: str | None = None  # who grades it (records.Problem)
    checks: str = ""  # what the verifier needs beside the response, as JSON


class AnyTask(Protocol):
    """What is needed of a task."""

    @property
    def family(self) -> str: ...
    @property
    def operations(self) -> int: ...
    @property
    def prompt(self) -> str: ...
    @property
    def answer(self) -> Any: ...
    @property
    def digest(self) -> int: ...
    @property
    def split(self) -> Split: ...


class Family:
    """Base of data families: `draw` is to be given, and `worked` where a warm start is to be made."""

    name = "family"  # a part of every problem's id
    examined = 512  # held-out problems of a difficulty that a new initial policy is examined on

    def draw(self, operations: int, rng: random.Random) -> Any:
        """A random task (a `Task`) of so many operations, all randomness from `rng`."""
        raise NotImplementedError

    def worked(self, task: Any, rng: random.Random, noise: float = 0.0) -> str:
        r"""A worked answer that ends in `\boxed{...}`, each of its steps wrong with probability `noise`.

        Raises UserError for a family that has none.
        """
        raise UserError(
            f"data.generated.family: {self.name} has no worked answers, so no initial policy can be made for it: give "
            "model=path and model.path=DIR, or the family a method `worked`"
        )

    def steps(self, task: Any) -> tuple[str, ...]:
        """The worked steps of a right answer, in order, without the answer; none where a family has none.

        Hints are made of them: put together, the first of them are the beginning of an answer.
        """
        return ()

    def notes(self) -> list[str]:
        """What is to be said of the problems that were drawn: for instance how many were left out, and why."""
        return []
