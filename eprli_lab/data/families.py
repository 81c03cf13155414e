r"""Generated, seeded arithmetic: left-to-right chains with labelled steps; difficulty is the number of operations.

A prompt is `66a+8b-5?`; a worked answer is `a66+8=74b74-5=69\boxed{69}`. Two families of chains: `int` (running total 0
to 99, steps of 1 to 9) and `mod10` (digits, everything modulo 10); the third, `program`, is in programs.py. The space
of prompts is partitioned by a hash of the prompt, so training and held-out problems cannot overlap at any size or seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from eprli_lab.config.data import GeneratedSpec
from eprli_lab.config.extensions import resolve
from eprli_lab.data.tasks import MAX_OPERATIONS, AnyTask, Family, Hashed, Split, with_equations
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

LABELS = "abcdefgh"


@dataclass(frozen=True)
class Chain(Hashed):
    """start, then (sign, operand) steps."""

    family: Literal["int", "mod10"]
    start: int
    steps: tuple[tuple[str, int], ...]

    @property
    def operations(self) -> int:
        """What its difficulty counts."""
        return len(self.steps)

    @property
    def prompt(self) -> str:
        """`66a+8b-5?`"""
        return f"{self.start}" + "".join(f"{LABELS[i]}{s}{b}" for i, (s, b) in enumerate(self.steps)) + "?"

    @property
    def answer(self) -> int:
        """Value of the chain."""
        value = self.start
        for sign, operand in self.steps:
            value = apply(self.family, value, sign, operand)
        return value


def apply(family: Literal["int", "mod10"], value: int, sign: str, operand: int) -> int:
    """One step of a chain."""
    result = value + operand if sign == "+" else value - operand
    return result % 10 if family == "mod10" else result


def draw(family: Literal["int", "mod10"], operations: int, rng: random.Random) -> Chain:
    """A random chain."""
    if family == "mod10":
        steps = tuple((rng.choice("+-"), rng.randint(0, 9)) for _ in range(operations))
        return Chain(family, rng.randint(0, 9), steps)
    start = value = rng.randint(1, 99)
    drawn = []
    for _ in range(operations):
        operand, sign = rng.randint(1, 9), rng.choice("+-")
        if not 0 <= apply(family, value, sign, operand) <= 99:
            sign = "-" if sign == "+" else "+"
        value = apply(family, value, sign, operand)
        drawn.append((sign, operand))
    return Chain(family, start, tuple(drawn))


class IntChains(Family):
    """Chains whose running total stays within 0 to 99 (family `int`)."""

    name: Literal["int", "mod10"] = "int"

    def draw(self, operations: int, rng: random.Random) -> Chain:
        """A random chain."""
        return draw(self.name, operations, rng)

    def worked(self, task: Chain, rng: random.Random, noise: float = 0.0) -> str:
        """A worked answer."""
        return demonstration(task, rng, noise)

    def steps(self, task: Chain) -> tuple[str, ...]:
        """The worked steps: `a74` or `a66+8=74`, as the task's digest has it."""
        parts, value = [], task.start
        for i, (sign, operand) in enumerate(task.steps):
            result = apply(task.family, value, sign, operand)
            working = f"{value}{sign}{operand}=" if with_equations(task) else ""
            parts.append(f"{LABELS[i]}{working}{result}")
            value = result
        return tuple(parts)


class Mod10Chains(IntChains):
    """Chains of digits, everything modulo 10 (family `mod10`)."""

    name = "mod10"


def make_family(name: str) -> Family:
    """The family of a registered name or import path. Raises UserError."""
    made: Family = resolve("family", name)()
    return made


ENOUGH = 400  # draws in a row that give nothing new: practically all that there are have been given


def find_task(family: Family, operations: int, rng: random.Random, split: Split) -> AnyTask | None:
    """A random task of a family, of one side of the partition; None where all of its few tasks are on the other."""
    for _ in range(ENOUGH):
        task: AnyTask = family.draw(operations, rng)
        if task.split == split:
            return task
    return None


def draw_from(family: Family, operations: int, rng: random.Random, split: Split) -> AnyTask:
    """A random task of a family, of one side of the partition. Raises UserError where that side has none."""
    task = find_task(family, operations, rng, split)
    if task is None:
        raise UserError(f"the family {family.name} has no {split} problem with {operations} operations: name others")
    return task


def problem(task: AnyTask, steps: tuple[str, ...] = ()) -> Problem:
    """The task as a problem, with its worked steps; declared difficulty is operations / 8."""
    return Problem(
        id=f"{task.family}-{task.operations}-{task.digest:012x}",
        prompt=task.prompt,
        answers=(str(task.answer),),
        difficulty=task.operations / MAX_OPERATIONS,
        source=task.family,
        steps=steps,
        verifier=getattr(task, "verifier", None),
        checks=getattr(task, "checks", ""),
    )


def generate(spec: GeneratedSpec, split: Split, notes: list[str] | None = None) -> list[Problem]:
    """`spec.problems` distinct problems, numbers of operations drawn evenly from `spec.operations`.

    Short chains are few (mod10 has 200 with one operation): a number of operations that runs out is left to the others.
    Raises UserError when all run out. `notes`: what the family has to say of them is added.
    """
    rng = random.Random(f"{spec.family}-{split}-{spec.seed}-{','.join(map(str, spec.operations))}")
    family = make_family(spec.family)
    open_counts, misses = list(spec.operations), dict.fromkeys(spec.operations, 0)
    seen: set[str] = set()
    out: list[Problem] = []
    while len(out) < spec.problems:
        if not open_counts:
            raise UserError(
                f"the family {spec.family} has only {len(out)} distinct {split} problems with {list(spec.operations)} "
                f"operations, {spec.problems} were asked for: lower problems or name more operations"
            )
        n = open_counts[len(out) % len(open_counts)]
        task = find_task(family, n, rng, split)
        if task is None:
            open_counts.remove(n)
            continue
        if task.prompt in seen:
            misses[n] += 1
            if misses[n] >= ENOUGH:
                open_counts.remove(n)
            continue
        misses[n] = 0
        seen.add(task.prompt)
        out.append(problem(task, tuple(family.steps(task))))
    rng.shuffle(out)
    if notes is not None:
        notes += family.notes()
    return out


def demonstration(chain: Chain, rng: random.Random, noise: float = 0.0) -> str:
    r"""A worked answer in one of three styles: direct (20%), running totals (40%), equations (40%).

    With `noise` each step's result is wrong with that probability and the error is carried on: the policy learns how to
    work a chain but is unsure of each step, and RL has something to do.
    """
    style = rng.random()
    if style < 0.2 and not noise:
        return f"\\boxed{{{chain.answer}}}"
    parts, value = [], chain.start
    for i, (sign, operand) in enumerate(chain.steps):
        result = apply(chain.family, value, sign, operand)
        if noise and rng.random() < noise:
            if chain.family == "mod10":
                result = rng.randint(0, 9)
            else:
                result = max(0, min(99, result + rng.choice((-10, -1, 1, 10))))
        if style < 0.6:
            parts.append(f"{LABELS[i]}{result}")
        else:
            parts.append(f"{LABELS[i]}{value}{sign}{operand}={result}")
        value = result
    if style < 0.2:
        return f"\\boxed{{{value}}}"
    return "".join(parts) + f"\\boxed{{{value}}}"
