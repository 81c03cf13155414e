"""Is an answer the gold? Structure first, then what stands in it: True, False, or None where algebra must decide.

Every comparison has a gold and an answer; docs/grading.md states what equals what, and where they may not be swapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Literal

from eprli_lab.grading import numbers
from eprli_lab.grading.intervals import as_region, same_region
from eprli_lab.grading.names import Verdict, is_name, unnamed, values_of
from eprli_lab.grading.shapes import (
    difference,
    distinct,
    every,
    exact_first,
    has_relations,
    is_arrangement,
    is_clock,
    is_op,
    is_scalar,
    mentions,
    plain,
    some,
    spelled,
    worded,
)  # fmt: skip
from eprli_lab.grading.tree import (
    CONSTANTS,
    DOTS,
    EMPTY,
    INFINITY,
    REALS,
    Based,
    Choice,
    Node,
    Num,
    Op,
    Rel,
    Seq,
    Sym,
    Text,
    Unit,
    variables,
    walk,
)  # fmt: skip
from eprli_lab.grading.words import CURRENCIES, NO_UNIT

MOST_ITEMS = 400
_OPAQUE = (DOTS, EMPTY, INFINITY, REALS)


class Next(Enum):
    """A rule that says nothing of these two."""

    RULE = 1


Ruling = bool | Literal[Next.RULE] | None


class Comparison:
    """One way to decide what structure leaves open. The base one leaves it open; `algebra.Algebra` computes."""

    def expressions(self, gold: Node, answer: Node) -> Verdict:
        """Equality of two expressions that are not both rational numbers."""
        return None

    def equations(self, gold: Node, answer: Node) -> Verdict:
        """Do two differences (left minus right) vanish together, one a multiple of the other?"""
        return None

    def inequalities(self, gold: Node, answer: Node) -> Verdict:
        """Is one difference a positive multiple of the other?"""
        return None

    def approximates(self, value: Node, decimal: Node) -> Verdict:
        r"""Does what stands after `\\approx` hold, to its own digits?"""
        return None

    # --- what an answer may be

    def same(self, gold: Node, answer: Node) -> Verdict:
        """Is this answer the gold?"""
        if gold == answer:
            return True
        gold, answer = plain(gold), plain(answer)
        if gold == answer:
            return True
        for rule in (self._choices, self._regions, self._relations, self._sequences, self._units, self._words):
            decided = rule(gold, answer)
            if decided is not Next.RULE:
                return decided
        return self.scalars(gold, answer)

    def _choices(self, gold: Node, answer: Node) -> Ruling:
        """A letter, with or without what it stands for."""
        if isinstance(gold, Choice) and isinstance(answer, Choice):
            same_letter = gold.letter == answer.letter
            if gold.rest is None or answer.rest is None or not same_letter:
                return same_letter
            return self.same(gold.rest, answer.rest)
        if isinstance(gold, Choice):
            if isinstance(answer, Sym) and len(answer.name) == 1:
                return gold.letter == answer.name.upper() and gold.letter in "ABCDEFGHIJ"
            return self.same(gold.rest, answer) if gold.rest is not None else worded(gold, answer)
        if isinstance(answer, Choice):
            if isinstance(gold, Sym) and answer.rest is None:
                return gold.name == answer.letter
            return self.same(gold, answer.rest) if answer.rest is not None else worded(answer, gold)
        return Next.RULE

    def _regions(self, gold: Node, answer: Node) -> Ruling:
        """Intervals, unions of them, and inequalities that say the same."""
        if not any(
            x == REALS or isinstance(x, Rel) or (isinstance(x, Seq) and x.kind in ("union", "or", "list"))
            for x in (gold, answer)
        ):
            return Next.RULE
        left, right = as_region(gold), as_region(answer)
        if left is None or right is None:
            return Next.RULE
        return same_region(self, left, right)

    def _relations(self, gold: Node, answer: Node) -> Ruling:
        if isinstance(gold, Rel) and isinstance(answer, Rel):
            return self._both_relations(gold, answer)
        if isinstance(gold, Rel) and not isinstance(answer, Seq):
            value = unnamed(self, gold)
            return False if value is False else None if value is None else self.same(value, answer)  # type: ignore[arg-type]
        if isinstance(answer, Rel) and not (isinstance(gold, Seq) and has_relations(gold)):
            value = unnamed(self, answer)
            return False if value is False else None if value is None else self.same(gold, value)  # type: ignore[arg-type]
        if isinstance(gold, Rel):
            value = unnamed(self, gold)
            return False if value is False or value is None else self.same(value, answer)  # type: ignore[arg-type]
        return Next.RULE

    def _both_relations(self, gold: Rel, answer: Rel) -> Verdict:
        if gold.ops == answer.ops and len(gold.parts) == len(answer.parts):
            sides = every([self.same(g, a) for g, a in zip(gold.parts, answer.parts, strict=True)])
            if sides is True:
                return True
        else:
            sides = False
        if gold.ops[-1] == "in" or answer.ops[-1] == "in":
            return sides
        if is_name(gold.parts[0]) and gold.parts[0] == answer.parts[0] and not mentions(gold) and not mentions(answer):
            left, right = unnamed(self, gold), unnamed(self, answer)
            if left not in (None, False) and right not in (None, False):
                return self.same(left, right)  # type: ignore[arg-type]
        if len(gold.ops) != 1 or len(answer.ops) != 1 or not all(is_scalar(p) for p in (*gold.parts, *answer.parts)):
            return sides
        if gold.ops == answer.ops and gold.ops[0] in ("=", "!="):
            return some([sides, self.equations(difference(gold), difference(answer))])
        orders = {"<": ("<", 1), "<=": ("<=", 1), ">": ("<", -1), ">=": ("<=", -1)}
        if gold.ops[0] in orders and answer.ops[0] in orders:
            (left_op, s), (right_op, t) = orders[gold.ops[0]], orders[answer.ops[0]]
            if left_op == right_op:
                turned = difference(answer) if s == t else Op("neg", (difference(answer),))
                return some([sides, self.inequalities(difference(gold), turned)])
        return sides

    def _sequences(self, gold: Node, answer: Node) -> Ruling:
        if not isinstance(gold, Seq) and not isinstance(answer, Seq):
            return Next.RULE
        if isinstance(gold, Seq) and isinstance(answer, Seq):
            return self._both_sequences(gold, answer)
        lone = gold if isinstance(gold, Seq) else answer
        if isinstance(lone, Seq) and lone.kind == "ratio" and not is_clock(lone) and len(lone.items) == 2:
            quotient = Op("div", lone.items)
            return self.same(quotient, answer) if lone is gold else self.same(gold, quotient)
        return False

    def _both_sequences(self, gold: Seq, answer: Seq) -> Verdict:
        if gold.kind == answer.kind == "ratio":
            return self._ratios(gold, answer)
        named = values_of(gold), values_of(answer)
        if (named[0] is None) != (named[1] is None):
            return self._named(named[0] or gold, named[1] or answer)
        kinds = {"or": "list", "semicolon": "list", "{}": "list"}
        left_kind, right_kind = (kinds.get(s.kind, s.kind) for s in (gold, answer))
        if left_kind != right_kind:
            return False
        left, right = gold.items, answer.items
        if gold.kind == "{}" or answer.kind == "{}":
            left, right = (distinct(x.items) if x.kind == "{}" else x.items for x in (gold, answer))
        if len(left) != len(right) or len(left) > MOST_ITEMS:
            return False
        if left_kind == "list" and not (is_arrangement(left) and is_arrangement(right)):
            return self.matched(left, right)
        if left_kind == "union":
            return self.matched(left, right)
        return every([self.same(g, a) for g, a in zip(left, right, strict=True)])

    def _named(self, gold: Seq, answer: Seq) -> Verdict:
        """`p = 5, q = 2` against `5, 2` or `(5, 2)`: in the order of the names; one name throughout is a list."""
        if len(gold.items) != len(answer.items):
            return False
        kinds = {gold.kind, answer.kind}
        if "ordered" in kinds and kinds <= {"ordered", "()", "list", "or"}:
            return every([self.same(g, a) for g, a in zip(gold.items, answer.items, strict=True)])
        if "list" in kinds and kinds <= {"list", "or", "{}", "semicolon"}:
            return self.matched(gold.items, answer.items)
        return False

    def _ratios(self, gold: Seq, answer: Seq) -> Verdict:
        if len(gold.items) != len(answer.items):
            return False
        each = every([self.same(g, a) for g, a in zip(gold.items, answer.items, strict=True)])
        if each is True or is_clock(gold) or is_clock(answer):
            return each
        head, first = gold.items[0], answer.items[0]
        crossed = [
            self.scalars(Op("mul", (g, first)), Op("mul", (a, head)))
            for g, a in zip(gold.items[1:], answer.items[1:], strict=True)
        ]
        nonzero = [numbers.rational(x) != 0 for x in (*gold.items, *answer.items)]
        return every(crossed) if all(nonzero) else each

    def matched(self, gold: Sequence[Node], answer: Sequence[Node]) -> Verdict:
        """Does each of the gold's items stand among the answer's, one for one, in any order?"""
        left, right = sorted(gold, key=exact_first), list(answer)
        open_question = False
        for item in left:
            found: int | None = None
            for i, other in enumerate(right):
                verdict = self.same(item, other)
                if verdict is True:
                    found = i
                    break
                if verdict is None:
                    open_question = True
            if found is None:
                if not open_question:
                    return False
                return None
            right.pop(found)
        return True

    def _units(self, gold: Node, answer: Node) -> Ruling:
        if isinstance(gold, Based) and isinstance(answer, Num):
            return not answer.digits and gold.digits == str(answer.value)  # the gold says the base
        if isinstance(gold, Based) or isinstance(answer, Based):
            return False
        if isinstance(gold, Unit) and isinstance(answer, Unit):
            return self.same(gold.value, answer.value) if gold.unit == answer.unit else False
        if isinstance(gold, Unit) or isinstance(answer, Unit):
            if any(is_op(x, name) for x in (gold, answer) for name in ("degree", "percent")):
                return False
            unit = gold if isinstance(gold, Unit) else answer
            if isinstance(unit, Unit) and unit.unit not in CURRENCIES and NO_UNIT.search(unit.unit):
                return False
            if variables(gold) or variables(answer):
                return False
            bare = [x.value if isinstance(x, Unit) else x for x in (gold, answer)]
            return self.same(bare[0], bare[1])
        for name, rule in (("percent", self._percents), ("degree", self._degrees)):
            if is_op(gold, name) or is_op(answer, name):
                return rule(gold, answer)
        return Next.RULE

    def _percents(self, gold: Node, answer: Node) -> Verdict:
        if isinstance(gold, Op) and is_op(gold, "percent"):
            inner = gold.args[0]
            if isinstance(answer, Op) and is_op(answer, "percent"):
                return self.scalars(inner, answer.args[0])
            return some([self.scalars(inner, answer), self.scalars(gold, answer)])
        return self.scalars(gold, answer)

    def _degrees(self, gold: Node, answer: Node) -> Verdict:
        inner = [x.args[0] if isinstance(x, Op) and is_op(x, "degree") else None for x in (gold, answer)]
        if inner[0] is not None and inner[1] is not None:
            return self.scalars(inner[0], inner[1])
        plainly = self.scalars(inner[0] or gold, inner[1] or answer)
        other = answer if inner[0] is not None else gold
        if not any(isinstance(n, Sym) and n.name == "pi" for n in walk(other)):
            return plainly
        return some([plainly, self.scalars(gold, answer)])

    def _words(self, gold: Node, answer: Node) -> Ruling:
        if isinstance(gold, Text) or isinstance(answer, Text):
            letters = [spelled(x) for x in (gold, answer)]
            return letters[0] is not None and letters[0] == letters[1]
        if gold in _OPAQUE or answer in _OPAQUE:
            return gold == answer
        return Next.RULE

    def scalars(self, gold: Node, answer: Node) -> Verdict:
        """Two expressions: numbers exactly; what else there is by algebra."""
        if gold == answer:
            return True
        if not is_scalar(gold) or not is_scalar(answer):
            return False
        if any(n in _OPAQUE for x in (gold, answer) for n in walk(x)):
            return False  # no arithmetic with infinity, dots, sets
        left, right = numbers.rational(gold), numbers.rational(answer)
        if left is not None and right is not None:
            return numbers.equal(left, numbers.digits_of(gold), right, numbers.digits_of(answer))
        for number, other in ((left, answer), (right, gold)):
            if number is not None and isinstance(other, Sym) and other.name not in CONSTANTS:
                return False
        return self.expressions(gold, answer)
