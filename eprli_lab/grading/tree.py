"""What an answer says, as a tree: nothing in it has been computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Num:
    """A literal. `digits`: how many significant ones a decimal was written with; 0 for an integer, which is exact."""

    value: Fraction
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Sym:
    """A variable, a constant (`pi`, `e`, `i`), or a name such as `angle ABC`."""

    name: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation: add, mul, div, pow, neg, pm, fact, per cent, degree, or a function's name."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Seq:
    """Several values. `kind`: list, or, semicolon, ratio, union, matrix, row, or the brackets: `()`, `[)`, `{}`, ..."""

    kind: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Rel:
    """A chain of relations, `parts[0] ops[0] parts[1] ...`."""

    ops: tuple[str, ...]
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Words, lower case, one space between."""

    words: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A value with a unit."""

    value: Node
    unit: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A letter of a multiple choice, perhaps with what it stands for."""

    letter: str
    rest: Node | None = None


@dataclass(frozen=True, slots=True)
class Based:
    """A number of a stated base, as it was written."""

    digits: str
    base: int


Node = Num | Sym | Op | Seq | Rel | Text | Unit | Choice | Based
DOTS = Sym("...")
INFINITY = Sym("infinity")
EMPTY = Sym("empty set")
REALS = Sym("reals")
CONSTANTS = frozenset({"pi", "e", "i"})


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly under it."""
    if isinstance(node, Op):
        return node.args
    if isinstance(node, Seq):
        return node.items
    if isinstance(node, Rel):
        return node.parts
    if isinstance(node, Unit):
        return (node.value,)
    return (node.rest,) if isinstance(node, Choice) and node.rest is not None else ()


def walk(node: Node) -> Iterator[Node]:
    """A node and everything under it."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += reversed(children(found))


def is_deep(node: Node, limit: int) -> bool:
    """Is there a path of more than so many nodes? Without recursion."""
    level = [node]
    for _ in range(limit):
        level = [child for n in level for child in children(n)]
        if not level:
            return False
    return True


def variables(node: Node) -> frozenset[str]:
    """Names of its variables."""
    return frozenset(n.name for n in walk(node) if isinstance(n, Sym)) - CONSTANTS
