r"""Names in answers: `x = 5`, `\angle APC = 74`, `f(2) = 3`, `p = 5, q = 2`: what is named, and what the value is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from eprli_lab.grading.tree import CONSTANTS, Node, Num, Op, Rel, Seq, Sym, Text, walk

Verdict = bool | None  # None: algebra must say


class Compares(Protocol):
    """What is needed of a comparison (`compare.Comparison`)."""

    def same(self, gold: Node, answer: Node) -> Verdict: ...

    def matched(self, gold: Sequence[Node], answer: Sequence[Node]) -> Verdict: ...

    def approximates(self, value: Node, decimal: Node) -> Verdict: ...


def is_name(node: Node) -> bool:
    """A variable, `f(x)`, words, a line such as `AB`, a ratio of names; no expression: `x + y` and `x^2` are none."""
    if isinstance(node, Sym):
        return node.name not in CONSTANTS or node.name in ("e", "i")
    if isinstance(node, Text):
        return True
    if isinstance(node, Seq) and node.kind == "ratio":
        return all(is_name(x) for x in node.items)
    if isinstance(node, Op) and node.name == "mul":
        letters = [n for n in walk(node) if not isinstance(n, Op)]
        return all(isinstance(n, Sym) and n.name[:1].isupper() for n in letters)
    if isinstance(node, Seq) and node.kind == "()":
        return all(is_name(x) for x in node.items)
    return False


def unnamed(compare: Compares, relation: Rel) -> Node | bool | None:
    r"""The value of `name = a = b \approx c`: a, if the rest is true. False: it is not, or there is no such value."""
    if any(op not in ("=", "~", "in") for op in relation.ops):
        return False
    parts, ops = relation.parts, relation.ops
    named = is_name(parts[0])
    if named:
        parts, ops = parts[1:], ops[1:]
    elif relation.ops[0] == "in":
        return False
    if "in" in ops or (relation.ops[0] == "in" and (ops or not isinstance(parts[0], Seq | Sym))):
        return False
    if named and len(parts) == 1 and isinstance(relation.parts[0], Sym) and relation.parts[0] in walk(parts[0]):
        return False
    value = parts[0]
    open_question = False
    for op, part in zip(ops, parts[1:], strict=True):
        holds = compare.same(value, part) if op == "=" else compare.approximates(value, part)
        if holds is False:
            return False
        open_question = open_question or holds is None
    return None if open_question else value


def values_of(sequence: Seq) -> Seq | None:
    """The values of a list of `name = value`: `ordered` for different names, `list` for one; None for other lists.

    `p = 5, q = 2; p = 7, q = 2` is a list of pairs.
    """
    if sequence.kind == "semicolon" and all(isinstance(x, Seq) for x in sequence.items):
        inner = [values_of(x) for x in sequence.items if isinstance(x, Seq)]
        if None in inner:
            return None
        return Seq("list", tuple(Seq("()", x.items) for x in inner if x is not None))
    if sequence.kind not in ("list", "or", "semicolon", "{}"):
        return None
    names, values = [], []
    for item in sequence.items:
        if not isinstance(item, Rel) or item.ops != ("=",) or not is_name(item.parts[0]):
            return None
        names.append(item.parts[0])
        values.append(item.parts[1])
    if len(set(names)) == len(names):
        return Seq("ordered", tuple(values))
    return Seq("list", tuple(values)) if len(set(names)) == 1 else None


def is_number(node: Node) -> bool:
    """No variable in it."""
    return all(isinstance(n, Num | Op) or (isinstance(n, Sym) and n.name in CONSTANTS) for n in walk(node))
