"""Intervals, unions, inequalities in one variable: `0 < x < 2` is `(0, 2)`, `x > 1 or x < 0` is a union."""

from __future__ import annotations

from dataclasses import dataclass

from eprli_lab.grading.names import Compares, Verdict, is_number
from eprli_lab.grading.tree import INFINITY, REALS, Node, Op, Rel, Seq, Sym

KINDS = ("()", "[]", "(]", "[)")
MINUS_INFINITY = Op("neg", (INFINITY,))


@dataclass(frozen=True, slots=True)
class Region:
    """Intervals that are united; `variable` where an inequality named one."""

    parts: tuple[Seq, ...]
    variable: str | None = None


def _is_end(node: Node) -> bool:
    return node in (INFINITY, MINUS_INFINITY) or is_number(node)


def as_region(node: Node) -> Region | None:
    """The region that an answer describes; None for one that describes none."""
    if node == REALS:
        return Region((Seq("()", (MINUS_INFINITY, INFINITY)),))
    if isinstance(node, Seq) and node.kind in KINDS and len(node.items) == 2 and all(map(_is_end, node.items)):
        return Region((node,))
    if isinstance(node, Seq) and node.kind in ("union", "or"):
        inner = [as_region(x) for x in node.items]
        if node.kind == "or" and not all(isinstance(x, Rel) for x in node.items):
            return None
        parts = [r for r in inner if r is not None]
        names = {r.variable for r in parts}
        if len(parts) < len(inner) or len(names) > 1:
            return None
        return Region(tuple(p for r in parts for p in r.parts), names.pop())
    return _of_inequality(node) if isinstance(node, Rel) else None


def _of_inequality(relation: Rel) -> Region | None:
    ops, parts = relation.ops, relation.parts
    if ops == ("in",) and isinstance(parts[0], Sym):
        inner = as_region(parts[1])
        return inner and Region(inner.parts, parts[0].name)
    if ops == ("!=",) and isinstance(parts[0], Sym) and not is_number(parts[0]) and is_number(parts[1]):
        below, above = Seq("()", (MINUS_INFINITY, parts[1])), Seq("()", (parts[1], INFINITY))
        return Region((below, above), parts[0].name)
    if all(op in (">", ">=") for op in ops):
        ops, parts = tuple(op.replace(">", "<") for op in reversed(ops)), tuple(reversed(parts))
    if not all(op in ("<", "<=") for op in ops):
        return None
    if (
        len(ops) == 2
        and isinstance(parts[1], Sym)
        and not is_number(parts[1])
        and all(map(_is_end, (parts[0], parts[2])))
    ):
        kind = ("(" if ops[0] == "<" else "[") + (")" if ops[1] == "<" else "]")
        return Region((Seq(kind, (parts[0], parts[2])),), parts[1].name)
    if len(ops) != 1:
        return None
    strict = ops[0] == "<"
    if isinstance(parts[0], Sym) and not is_number(parts[0]) and _is_end(parts[1]):
        return Region((Seq("()" if strict else "(]", (MINUS_INFINITY, parts[1])),), parts[0].name)
    if isinstance(parts[1], Sym) and not is_number(parts[1]) and _is_end(parts[0]):
        return Region((Seq("()" if strict else "[)", (parts[0], INFINITY)),), parts[1].name)
    return None


def same_region(compare: Compares, gold: Region, answer: Region) -> Verdict:
    """The same intervals in any order, of the same variable where both name one."""
    if None not in (gold.variable, answer.variable) and gold.variable != answer.variable:
        return False
    if len(gold.parts) != len(answer.parts):
        return False
    return compare.matched(gold.parts, answer.parts)
