r"""A second verifiable domain: predict what a small straight-line program computes.

A program is `a=3;b=a*4;c=b-a;?`: assignments in order, one or two terms each, every value a digit (modulo 10),
and a question mark that asks for the variable assigned last. Unlike the chains of families.py a statement may read any
earlier variable, so the reader must find out which value flows where, and some statements are dead code. The answer is
what our own interpreter (`run`) makes of the prompt. Difficulty is the number of operations.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

from eprli_lab.data.tasks import Family, Hashed, with_equations

NAMES = "abcdefghi"  # the first is a constant, each other one operation
RECENT = 0.6  # how often the first operand is the newest variable, so that depth grows with length
_STATEMENT = re.compile(r"([a-z])=([a-z]|\d)(?:([-+*])([a-z]|\d))?")


class ProgramError(ValueError):
    """The text is no program, or it reads a variable that has no value yet; the message says where."""


@dataclass(frozen=True)
class Statement:
    """`target = left operator right`; without an operator the value of left."""

    target: str
    left: str
    operator: str = ""
    right: str = ""


def parse(text: str) -> list[Statement]:
    """The statements of `a=3;b=a+4;?`. Raises ProgramError."""
    if not text.endswith("?"):
        raise ProgramError(f"'{text}' does not end in a question mark")
    out = []
    for number, part in enumerate(text[:-1].removesuffix(";").split(";"), 1):
        found = _STATEMENT.fullmatch(part)
        if found is None:
            raise ProgramError(f"statement {number}, '{part}', is not an assignment of one or two terms")
        out.append(Statement(found[1], found[2], found[3] or "", found[4] or ""))
    return out


def run(text: str) -> int:
    """The value, 0 to 9, of the variable that the program assigns last. Raises ProgramError."""
    return execute(parse(text))[-1]


def execute(statements: list[Statement]) -> list[int]:
    """The value that each statement assigns. Raises ProgramError for a variable that is read before it is assigned."""
    values: dict[str, int] = {}
    out = []
    for number, s in enumerate(statements, 1):
        terms = []
        for term in (s.left, s.right) if s.operator else (s.left,):
            if not term.isdigit() and term not in values:
                raise ProgramError(f"statement {number} reads {term}, which has no value yet")
            terms.append(int(term) if term.isdigit() else values[term])
        values[s.target] = compute(terms[0], s.operator, terms[1]) if s.operator else terms[0]
        out.append(values[s.target])
    return out


def compute(left: int, operator: str, right: int) -> int:
    """One operation, modulo 10."""
    return {"+": left + right, "-": left - right, "*": left * right}[operator] % 10


@dataclass(frozen=True)
class Program(Hashed):
    """A constant and then `operations` assignments of fresh variables."""

    statements: tuple[Statement, ...]
    family: Literal["program"] = "program"

    @property
    def operations(self) -> int:
        """What its difficulty counts."""
        return len(self.statements) - 1

    @property
    def prompt(self) -> str:
        """`a=3;b=a+4;?`"""
        return "".join(f"{s.target}={s.left}{s.operator}{s.right};" for s in self.statements) + "?"

    @property
    def answer(self) -> int:
        """What the interpreter makes of the prompt."""
        return run(self.prompt)


def draw(operations: int, rng: random.Random) -> Program:
    """A random program with so many operations."""
    statements = [Statement(NAMES[0], str(rng.randint(0, 9)))]
    for i in range(1, operations + 1):
        known = NAMES[:i]
        left = known[-1] if rng.random() < RECENT else rng.choice(known)
        right = str(rng.randint(0, 9)) if rng.random() < 0.5 else rng.choice(known)
        statements.append(Statement(NAMES[i], left, rng.choice("+-*"), right))
    return Program(tuple(statements))


def demonstration(program: Program, rng: random.Random, noise: float = 0.0) -> str:
    r"""A worked answer: direct (20%), values `b7c4\boxed{4}` (40%), equations `b=3+4=7;c=7-3=4;\boxed{4}` (40%).

    With `noise` each statement's result is wrong with that probability and later statements read the wrong value.
    """
    style = rng.random()
    if style < 0.2 and not noise:
        return f"\\boxed{{{program.answer}}}"
    values = {program.statements[0].target: int(program.statements[0].left)}
    parts, result = [], 0
    for s in program.statements[1:]:
        left, right = (int(t) if t.isdigit() else values[t] for t in (s.left, s.right))
        result = compute(left, s.operator, right)
        if noise and rng.random() < noise:
            result = rng.randint(0, 9)
        values[s.target] = result
        parts.append(f"{s.target}{result}" if style < 0.6 else f"{s.target}={left}{s.operator}{right}={result};")
    return ("" if style < 0.2 else "".join(parts)) + f"\\boxed{{{result}}}"


class Programs(Family):
    """Straight-line programs (family `program`)."""

    name = "program"

    def draw(self, operations: int, rng: random.Random) -> Program:
        """A random program."""
        return draw(operations, rng)

    def worked(self, task: Program, rng: random.Random, noise: float = 0.0) -> str:
        """A worked answer."""
        return demonstration(task, rng, noise)

    def steps(self, task: Program) -> tuple[str, ...]:
        """The worked steps: `b7` or `b=3+4=7;`, as the task's digest has it."""
        values = {task.statements[0].target: int(task.statements[0].left)}
        parts = []
        for s in task.statements[1:]:
            left, right = (int(t) if t.isdigit() else values[t] for t in (s.left, s.right))
            values[s.target] = result = compute(left, s.operator, right)
            working = f"{s.target}={left}{s.operator}{right}={result};"
            parts.append(working if with_equations(task) else f"{s.target}{result}")
        return tuple(parts)
