r"""Four sets of reasoning-gym that a policy of 0.4 M parameters learns: short prompts, labelled steps, one policy.

| set | prompt | worked, as equations | worked, as results |
|---|---|---|---|
| chain_sum | `sum 4a+3b-9?` | `a4+3=7b7-9=-2\boxed{-2}` | `a7b-2\boxed{-2}` |
| products | `mul 3a*5b*7?` | `a3*5=15b15*7=105\boxed{105}` | `a15b105\boxed{105}` |
| gcd | `gcd 18a12?` | `a18%12=6b12%6=0\boxed{6}` | `a6b0\boxed{6}` |
| base_conversion | `dec 3:1a2b0?` | `a1*3+2=5b5*3+0=15\boxed{15}` | `a5b15\boxed{15}` |

The entries and their scorer are the sets' own; the prompt says what the set's question says in 60 to 190
characters, in about 12. Skills are shared: addition, multiplication, remainders. Of base_conversion, entries whose
target is base 10.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eprli_lab.data.gym import Source, dataset
from eprli_lab.data.gym_levels import SIZE, SMALL_STEPS, factory, hardest, small_steps
from eprli_lab.data.tasks import Family, Task, with_equations

LABELS = "abcdefgh"
LONGEST = 62  # characters of steps as equations; longer ones are given as results
LARGEST = 200  # product
EXAMINED = 192  # held-out problems of a difficulty that are there without a search for the last of them
Step = tuple[str, int]  # what is computed, its result
Slip = Callable[[int], int]  # a result, as it is or with an error


@dataclass(frozen=True)
class SmallTask(Task):
    """An entry of a small set: its operands (numbers; a base and digits), and where it comes from."""

    operands: tuple[int, ...] = field(default=())


def as_is(result: int) -> int:
    """No slip."""
    return result


def sums(operands: tuple[int, ...], slip: Slip) -> tuple[list[Step], int]:
    """Steps and value of a sum."""
    value, steps = operands[0], []
    for n in operands[1:]:
        result = slip(value + n)
        steps.append((f"{value}{n:+d}", result))
        value = result
    return steps, value


def products(operands: tuple[int, ...], slip: Slip) -> tuple[list[Step], int]:
    """Steps and value of a product."""
    value, steps = operands[0], []
    for n in operands[1:]:
        result = max(0, slip(value * n))
        steps.append((f"{value}*{n}", result))
        value = result
    return steps, value


def divisors(operands: tuple[int, ...], slip: Slip) -> tuple[list[Step], int]:
    """Euclid's steps and the divisor; a remainder that slips stays below its divisor, so the steps come to an end."""
    left, right = operands
    steps: list[Step] = []
    while right and len(steps) < len(LABELS):
        rest = min(max(0, slip(left % right)), right - 1)
        steps.append((f"{left}%{right}", rest))
        left, right = right, rest
    return steps, left


def decimal(operands: tuple[int, ...], slip: Slip) -> tuple[list[Step], int]:
    """Horner's steps and the number."""
    base, value, *digits = operands
    steps = []
    for digit in digits:
        result = max(0, slip(value * base + digit))
        steps.append((f"{value}*{base}+{digit}", result))
        value = result
    return steps, value


def labelled(parts: list[str]) -> str:
    """`4a+3b-9`: everything after the first part has its step's label before it."""
    return parts[0] + "".join(f"{LABELS[i]}{part}" for i, part in enumerate(parts[1:]))


def prompt_of(name: str, operands: tuple[int, ...]) -> str:
    """As in the table above."""
    if name == "chain_sum":
        return f"sum {labelled([str(operands[0]), *(f'{n:+d}' for n in operands[1:])])}?"
    if name == "products":
        return f"mul {labelled([str(operands[0]), *(f'*{n}' for n in operands[1:])])}?"
    if name == "gcd":
        return f"gcd {labelled([str(n) for n in operands])}?"
    return f"dec {operands[0]}:{labelled([str(n) for n in operands[1:]])}?"


def operands_of(name: str, entry: dict[str, Any]) -> tuple[int, ...] | None:
    """Of an entry; None for one that is not taken."""
    about = entry["metadata"]
    if name == "chain_sum":
        return tuple(int(n) for n in about["expression"].replace(" ", "").replace("-", "+-").split("+"))
    if name == "products":
        factors = tuple(int(n) for n in about["expression"].split(" * "))
        return factors if 0 < int(entry["answer"]) <= LARGEST else None
    if name == "gcd":
        return tuple(about["numbers"])
    if about["target_base"] != 10:
        return None
    return (about["source_base"], *(int(d) for d in about["source_repr"]))


WORK = {"chain_sum": sums, "products": products, "gcd": divisors, "base_conversion": decimal}


class SmallSet(Family):
    """One of the four (families `rg_small_<set>`)."""

    examined = EXAMINED

    def __init__(self, name: str) -> None:
        factory()
        self.set = name
        self.name = f"rg_small_{name}"

    def draw(self, operations: int, rng: random.Random) -> SmallTask:
        """A random entry with as many worked steps as its level has."""
        operations = hardest(operations, len(SMALL_STEPS[self.set]))
        least, most = small_steps(self.set, operations)
        entries = dataset(self.set, operations, small=True)  # asked itself: these four print and share nothing
        while True:
            index = rng.randrange(SIZE)
            entry = entries[index]
            operands = operands_of(self.set, entry)
            if operands is not None and least <= len(WORK[self.set](operands, as_is)[0]) <= most:
                break
        return SmallTask(
            family=self.name,
            operations=operations,
            prompt=prompt_of(self.set, operands),
            answer=entry["answer"],
            verifier="reasoning_gym",
            checks=Source(self.set, operations, index, small=True).checks(),
            operands=operands,
        )

    def worked(self, task: SmallTask, rng: random.Random, noise: float = 0.0) -> str:
        """A worked answer: results alone in two of five, equations else where they are not too long."""

        def slip(result: int) -> int:
            return result + rng.choice((-10, -2, -1, 1, 2, 10)) if noise and rng.random() < noise else result

        steps, answer = WORK[self.set](task.operands, slip)
        return spelled(steps, rng.random() < 0.6) + f"\\boxed{{{answer}}}"

    def steps(self, task: SmallTask) -> tuple[str, ...]:
        """The worked steps, as the task's digest has it."""
        steps, _ = WORK[self.set](task.operands, as_is)
        equations = with_equations(task) and len(spelled(steps, True)) <= LONGEST
        return tuple(step_text(i, step, equations) for i, step in enumerate(steps))


def step_text(place: int, step: Step, equation: bool) -> str:
    """`a4+3=7`, or `a7`."""
    working, result = step
    return f"{LABELS[place]}{working}={result}" if equation else f"{LABELS[place]}{result}"


def spelled(steps: list[Step], equations: bool) -> str:
    """All steps in a row, as equations where that is wanted and short enough."""
    text = "".join(step_text(i, step, equations) for i, step in enumerate(steps))
    return text if not equations or len(text) <= LONGEST else spelled(steps, False)


class SmallMixture(Family):
    """The four in turn, at random (family `rg_small`): what their common initial policy has learnt."""

    name = "rg_small"
    examined = EXAMINED

    def __init__(self) -> None:
        self.members = {made.name: made for made in map(SmallSet, WORK)}

    def draw(self, operations: int, rng: random.Random) -> SmallTask:
        """A random entry of a random member, and of its family: the same problem on the same side of the partition."""
        return self.members[rng.choice(sorted(self.members))].draw(operations, rng)

    def worked(self, task: SmallTask, rng: random.Random, noise: float = 0.0) -> str:
        """As its member works it."""
        return self.members[task.family].worked(task, rng, noise)

    def steps(self, task: SmallTask) -> tuple[str, ...]:
        """As its member works it."""
        return self.members[task.family].steps(task)
