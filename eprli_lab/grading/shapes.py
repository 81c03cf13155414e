"""Small questions about trees, and logic of three values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from eprli_lab.grading import numbers
from eprli_lab.grading.names import Verdict, is_name
from eprli_lab.grading.tree import DOTS, Choice, Node, Num, Op, Rel, Seq, Sym, Text, Unit, variables, walk

UNORDERED = ("list", "or", "{}")


def every(verdicts: Sequence[Verdict]) -> Verdict:
    """And, of three values."""
    if any(v is False for v in verdicts):
        return False
    return None if None in verdicts else True


def some(verdicts: Sequence[Verdict]) -> Verdict:
    """Or, of three values."""
    if any(v is True for v in verdicts):
        return True
    return None if None in verdicts else False


def plain(node: Node) -> Node:
    """Without one-item brackets, plus-minus signs written out, units that have a sign of their own."""
    if isinstance(node, Seq) and node.kind == "{}" and len(node.items) == 1:
        return plain(node.items[0])
    if is_op(node, "neg") and isinstance(node, Op):
        inner = node.args[0]
        if isinstance(inner, Op) and inner.name in ("degree", "percent"):
            return Op(inner.name, (Op("neg", inner.args),))
    if isinstance(node, Unit) and node.unit in ("degree", "%"):
        return Op("degree" if node.unit == "degree" else "percent", (node.value,))
    if isinstance(node, Unit) and isinstance(node.value, Op) and node.value.name in ("pm", "mp"):
        return node
    if isinstance(node, Op) and has_sign(node):
        return Seq("list", tuple(signed(node, s) for s in (1, -1)))
    if isinstance(node, Seq) and node.kind in UNORDERED and any(isinstance(x, Op) and has_sign(x) for x in node.items):
        parts = [(signed(x, 1), signed(x, -1)) if isinstance(x, Op) and has_sign(x) else (x,) for x in node.items]
        return Seq("list", tuple(itertools.chain.from_iterable(parts)))
    if isinstance(node, Rel) and node.ops == ("=",) and is_name(node.parts[0]) and has_sign(node.parts[1]):
        return Rel(node.ops, (node.parts[0], plain(node.parts[1])))
    return node


def has_sign(node: Node) -> bool:
    return is_scalar(node) and any(isinstance(n, Op) and n.name in ("pm", "mp") for n in walk(node))


def signed(node: Node, sign: int) -> Node:
    """The upper or lower signs of an expression."""
    if not isinstance(node, Op):
        return node
    args = tuple(signed(a, sign) for a in node.args)
    if node.name in ("pm", "mp"):
        return args[0] if (node.name == "pm") == (sign > 0) else Op("neg", args)
    return Op(node.name, args)


def difference(relation: Rel) -> Node:
    """Left minus right."""
    return Op("add", (relation.parts[0], Op("neg", (relation.parts[1],))))


def is_op(node: Node, name: str) -> bool:
    return isinstance(node, Op) and node.name == name


def is_scalar(node: Node) -> bool:
    return all(isinstance(n, Num | Sym | Op) for n in walk(node))


def has_relations(node: Seq) -> bool:
    return any(isinstance(x, Rel) or (isinstance(x, Seq) and has_relations(x)) for x in node.items)


def mentions(relation: Rel) -> bool:
    """Is the name on the left part of the right?"""
    return bool(variables(relation.parts[0]) & frozenset().union(*(variables(p) for p in relation.parts[1:])))


def is_clock(ratio: Seq) -> bool:
    """`3:30`, `12:00`: a time of day cannot be told from a ratio, and is taken as it is written."""
    items = ratio.items
    return len(items) == 2 and all(isinstance(x, Num) and not x.digits for x in items) and (
        numbers.rational(items[1]) == 0 or (Fraction(10) <= (numbers.rational(items[1]) or 0) < 60
        and (numbers.rational(items[0]) or 0) < 25)
    )  # fmt: skip


def is_arrangement(items: Sequence[Node]) -> bool:
    """Letters or dots: an order is meant."""
    if DOTS in items:
        return True
    return all(isinstance(x, Sym | Choice) for x in items) and len(items) > 1


def distinct(items: Sequence[Node]) -> tuple[Node, ...]:
    seen: dict[object, Node] = {}
    for item in items:
        seen.setdefault(numbers.rational(item) if numbers.rational(item) is not None else item, item)
    return tuple(seen.values())


def exact_first(item: Node) -> int:
    """Items that exact arithmetic can match come first."""
    return 0 if numbers.rational(item) is not None else 1


def spelled(node: Node) -> str | None:
    """The letters of words, and of a product of letters."""
    if isinstance(node, Text):
        return node.words
    if isinstance(node, Sym | Choice):
        return (node.name if isinstance(node, Sym) else node.letter).lower()
    if isinstance(node, Op) and node.name == "mul":
        parts = [spelled(a) for a in node.args]
        return None if None in parts else "".join(p for p in parts if p)
    return None


def worded(letter: Choice, other: Node) -> bool:
    return isinstance(other, Text) and other.words == letter.letter.lower()
