r"""Two strata that want opposite things of the same chains: what one network must unlearn, two need not.

A prompt that ends in `?` wants the value of the chain (modulo 10), one that ends in `;` its first number: `6a+8b-5?` is
9, `6a+8b-5;` is 6. Operations 1 to 4 ask for the value of so many steps, 5 to 8 for the first number of a chain of
one to four. So with a threshold at .5 the first level holds one convention, the second the other. The warm start has
seen both answers to either question equally often: RL has to tell the marks apart, and a shared network that learns the
second convention after the first overwrites it. Made to be won by separate networks: a control (docs/controls.md).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from eprli_lab.data.families import Chain, demonstration, draw
from eprli_lab.data.tasks import MAX_OPERATIONS, Family, Hashed

STEPS = MAX_OPERATIONS // 2  # of the longest chain


@dataclass(frozen=True)
class MarkedChain(Hashed):
    """A chain of digits and which of its two numbers is wanted."""

    chain: Chain
    first: bool  # the first number is wanted, not the value
    family: str = "interference"

    @property
    def operations(self) -> int:
        """Steps of the chain, and STEPS more where its first number is wanted: the two conventions are two strata."""
        return len(self.chain.steps) + (STEPS if self.first else 0)

    @property
    def prompt(self) -> str:
        """`6a+8b-5?` or `6a+8b-5;`"""
        return self.chain.prompt[:-1] + (";" if self.first else "?")

    @property
    def answer(self) -> int:
        """What its mark wants."""
        return self.chain.start if self.first else self.chain.answer


class Interference(Family):
    """Chains of digits under two conventions (family `interference`)."""

    name = "interference"

    def draw(self, operations: int, rng: random.Random) -> MarkedChain:
        """A random chain with the mark of its stratum."""
        first = operations > STEPS
        return MarkedChain(draw("mod10", operations - STEPS if first else operations, rng), first)

    def worked(self, task: MarkedChain, rng: random.Random, noise: float = 0.0) -> str:
        """A worked answer that ends in either number, whatever the mark says."""
        text = demonstration(task.chain, rng, noise)
        if rng.random() < 0.5:
            return text
        return text.partition("\\boxed{")[0] + f"\\boxed{{{task.chain.start}}}"
