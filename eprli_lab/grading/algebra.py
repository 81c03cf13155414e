"""What structure leaves open, computed: in the grader's worker processes, under its limit of time."""

from __future__ import annotations

from eprli_lab.grading import evaluate, numbers
from eprli_lab.grading.compare import Comparison
from eprli_lab.grading.names import Verdict
from eprli_lab.grading.tree import Node, Num


class Algebra(Comparison):
    """Decides everything."""

    def expressions(self, gold: Node, answer: Node) -> Verdict:
        return evaluate.equal(gold, answer)

    def equations(self, gold: Node, answer: Node) -> Verdict:
        return evaluate.scale(gold, answer) is not None

    def inequalities(self, gold: Node, answer: Node) -> Verdict:
        import mpmath

        constant = evaluate.scale(gold, answer)
        return constant is not None and bool(mpmath.im(constant) == 0 and mpmath.re(constant) > 0)

    def approximates(self, value: Node, decimal: Node) -> Verdict:
        number = numbers.rational(decimal)
        if number is None:
            return False
        literal = decimal if isinstance(decimal, Num) else None
        if literal is None:
            return False
        digits = literal.digits or len(str(abs(number.numerator)))
        return evaluate.rounds_to(value, number, digits)
