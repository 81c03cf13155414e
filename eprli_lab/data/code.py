r"""A domain that is graded by running it: write the Python that does what a prompt says in words.

A prompt is `add 3,times y,from 9?`; a right answer is any Python statements that turn x (and the second argument, y)
into the value that is meant, such as `\boxed{x+=3;x*=y;x=9-x}`. They become the body of `def f(x,y)`, which is run in
the sandbox on arguments that no prompt shows (grading/tests.py). Difficulty is the number of operations.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eprli_lab.data.tasks import Family, Hashed

LABELS = "abcdefgh"
LONGEST = 74  # characters of a worked answer (the box is one token), so that it fits 76 tokens
TESTS = 6  # calls of a program, hidden from its prompt
TEMPLATE = "def f(x,y):\n {}\n return x"
SECOND = 0.3  # how often an operand is y

# Kind -> wordings in a prompt, the operation's code in worked steps, the statement; K: a digit or y.
KINDS = {
    "add": (("add K", "plus K"), "+K", "x+=K"),
    "subtract": (("minus K", "less K"), "-K", "x-=K"),
    "multiply": (("times K",), "*K", "x*=K"),
    "from": (("from K",), "K-", "x=K-x"),
    "remainder": (("mod K",), "%K", "x%=K"),
    "divide": (("over K",), "/K", "x//=K"),
    "double": (("double",), "*2", "x*=2"),
    "square": (("square",), "*x", "x*=x"),
    "negate": (("negate",), "0-", "x=0-x"),
    "largest": (("at least K",), ">K", "x=max(x,K)"),
    "smallest": (("at most K",), "<K", "x=min(x,K)"),
}
WEIGHTS = {"add": 4, "subtract": 4, "multiply": 3, "from": 3, "remainder": 2, "divide": 2, "largest": 1, "smallest": 1}


@dataclass(frozen=True)
class Operation:
    """One of KINDS and its operand, a digit or y."""

    kind: str
    operand: str
    wording: int = 0

    @property
    def words(self) -> str:
        """As a prompt says it."""
        wordings = KINDS[self.kind][0]
        return wordings[self.wording % len(wordings)].replace("K", self.operand)

    @property
    def code(self) -> str:
        """As a worked step says it."""
        return KINDS[self.kind][1].replace("K", self.operand)

    @property
    def statement(self) -> str:
        """As Python says it."""
        return KINDS[self.kind][2].replace("K", self.operand)


ACTS: dict[str, Callable[[int, int], int]] = {  # kind -> what it makes of x and its operand
    "add": lambda x, k: x + k,
    "subtract": lambda x, k: x - k,
    "multiply": lambda x, k: x * k,
    "from": lambda x, k: k - x,
    "remainder": lambda x, k: x % k,
    "divide": lambda x, k: x // k,
    "double": lambda x, _: 2 * x,
    "square": lambda x, _: x * x,
    "negate": lambda x, _: -x,
    "largest": max,
    "smallest": min,
}


def value_of(operations: tuple[Operation, ...], x: int, y: int) -> int:
    """What is meant, computed here and by no program."""
    for operation in operations:
        x = ACTS[operation.kind](x, y if operation.operand == "y" else int(operation.operand))
    return x


@dataclass(frozen=True)
class Code(Hashed):
    """`operations` things to do to x, one after another."""

    todo: tuple[Operation, ...]
    family: Literal["code"] = "code"
    verifier: str = "tests"

    @property
    def operations(self) -> int:
        """What its difficulty counts."""
        return len(self.todo)

    @property
    def prompt(self) -> str:
        """`add 3,times y?`"""
        return ",".join(operation.words for operation in self.todo) + "?"

    @property
    def answer(self) -> str:
        """One right program of many."""
        return ";".join(operation.statement for operation in self.todo)

    @property
    def checks(self) -> str:
        """The calls and what they must give, as JSON; drawn from the task's digest."""
        calls = [[[x, y], value_of(self.todo, x, y)] for x, y in self.arguments()]
        return json.dumps({"format": "boxed", "template": TEMPLATE, "entry": "f", "calls": calls})

    def arguments(self) -> list[tuple[int, int]]:
        """TESTS different pairs (x, y)."""
        rng = random.Random(f"code-tests-{self.digest}")
        pairs: list[tuple[int, int]] = []
        while len(pairs) < TESTS:
            pair = (rng.randint(-9, 30), rng.randint(1, 9))
            if pair not in pairs:
                pairs.append(pair)
        return pairs


def draw_operation(rng: random.Random) -> Operation:
    """A random operation; squares and sign changes are rarer than sums, so that numbers stay small."""
    if rng.random() < 0.15:
        return Operation(rng.choice(("double", "square", "negate")), "0")
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    operand = "y" if rng.random() < SECOND else str(rng.randint(2, 9))
    return Operation(kind, operand, rng.randrange(2))


def draw(operations: int, rng: random.Random) -> Code:
    """A random task with so many operations, whose worked answer is not too long and whose tests tell values apart."""
    while True:
        task = Code(tuple(draw_operation(rng) for _ in range(operations)))
        squares = sum(operation.kind == "square" for operation in task.todo)
        length = len("".join(worked_steps(task.todo))) + len(task.answer) + 1
        if squares <= 2 and length <= LONGEST and len({value_of(task.todo, *pair) for pair in task.arguments()}) > 2:
            return task


def worked_steps(todo: tuple[Operation, ...]) -> tuple[str, ...]:
    """The plan that a worked answer begins with: `a+3`, `b*y`, `c9-`."""
    return tuple(LABELS[i] + operation.code for i, operation in enumerate(todo))


def demonstration(task: Code, rng: random.Random, noise: float = 0.0) -> str:
    r"""A worked answer: the program alone (20%), or the plan and the program, `a+3b*y\boxed{x+=3;x*=y}`.

    With `noise` each operation of the plan is another one with that probability, and the program does what it says.
    """
    if not noise and rng.random() < 0.2:
        return f"\\boxed{{{task.answer}}}"
    while True:
        todo = tuple(mistaken(o, rng) if noise and rng.random() < noise else o for o in task.todo)
        program = ";".join(operation.statement for operation in todo)
        plan = "".join(worked_steps(todo))
        if len(plan) + len(program) + 1 <= LONGEST:
            return f"{plan}\\boxed{{{program}}}"


def mistaken(operation: Operation, rng: random.Random) -> Operation:
    """A slip: another operand, or another operation."""
    if "K" in KINDS[operation.kind][1] and rng.random() < 0.5:
        return Operation(operation.kind, rng.choice("23456789y"), operation.wording)
    return draw_operation(rng)


class CodeTasks(Family):
    """Programs to be written (family `code`)."""

    name = "code"

    def draw(self, operations: int, rng: random.Random) -> Code:
        """A random task."""
        return draw(operations, rng)

    def worked(self, task: Code, rng: random.Random, noise: float = 0.0) -> str:
        """A worked answer."""
        return demonstration(task, rng, noise)

    def steps(self, task: Code) -> tuple[str, ...]:
        """The plan: `a+3`, `b*y`."""
        return worked_steps(task.todo)
