"""Numbers: rational ones computed exactly within bounds, and when two are equal.

Two exact numbers are equal when they are; a decimal of at least FEWEST_DIGITS significant digits also stands for what
it is the rounding (or the beginning) of: of the gold's decimal, to the gold's digits; of the answer's, only where the
gold has no end as a decimal.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial

from eprli_lab.grading.tree import Node, Num, Op

FEWEST_DIGITS = 6
LARGEST_BITS = 40_000
LARGEST_FACTORIAL = 2_500


class NotRationalError(Exception):
    """No rational number, or one that is too large to be written out."""


def rational(node: Node) -> Fraction | None:
    """The exact value of an expression of integers, decimals and the four operations, powers, factorials."""
    try:
        return _value(node)
    except (NotRationalError, ZeroDivisionError, RecursionError):
        return None


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > LARGEST_BITS or value.denominator.bit_length() > LARGEST_BITS:
        raise NotRationalError
    return value


def _value(node: Node) -> Fraction:
    if isinstance(node, Num):
        return node.value
    if not isinstance(node, Op):
        raise NotRationalError
    args = [_value(a) for a in node.args]
    name = node.name
    if name == "add":
        return _bounded(sum(args, Fraction(0)))
    if name == "mul":
        return _bounded(args[0] * args[1])
    if name == "div":
        return _bounded(args[0] / args[1])
    if name == "neg":
        return -args[0]
    if name == "percent":
        return args[0] / 100
    if name == "abs":
        return abs(args[0])
    if name == "pow":
        return power(args[0], args[1])
    if name == "fact" and args[0].denominator == 1 and 0 <= args[0] <= LARGEST_FACTORIAL:
        return _bounded(Fraction(factorial(int(args[0]))))
    if name == "binom" and all(a.denominator == 1 for a in args):
        return binomial(int(args[0]), int(args[1]))
    if name in ("floor", "ceil"):
        return Fraction(args[0].__floor__() if name == "floor" else args[0].__ceil__())
    if name == "sqrt" and (len(args) == 1 or (args[1].denominator == 1 and 0 < args[1] < 100)):
        return root(args[0], 2 if len(args) == 1 else int(args[1]))
    raise NotRationalError


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """base ** exponent. Raises NotRationalError for a fraction in the exponent and for what is too large."""
    if exponent.denominator != 1:
        if exponent.denominator < 100 and base > 0:
            return power(root(base, exponent.denominator), Fraction(exponent.numerator))
        raise NotRationalError
    n = int(exponent)
    if base in (0, 1, -1):
        return Fraction(base**n if n >= 0 else 1 / base ** (n % 2 - 2 if base else n))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(n) > LARGEST_BITS:
        raise NotRationalError
    return Fraction(base**n)


def binomial(n: int, k: int) -> Fraction:
    """n over k. Raises NotRationalError for what is too large."""
    if not 0 <= k <= n or n > LARGEST_FACTORIAL:
        raise NotRationalError
    return Fraction(factorial(n), factorial(k) * factorial(n - k))


def root(value: Fraction, degree: int) -> Fraction:
    """The rational root. Raises NotRationalError where it has none."""
    if value < 0 or degree < 1:
        raise NotRationalError
    over, under = _integer_root(value.numerator, degree), _integer_root(value.denominator, degree)
    return Fraction(over, under)


def _integer_root(n: int, degree: int) -> int:
    low, high = 0, 1 << (n.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= n:
            low = middle
        else:
            high = middle - 1
    if low**degree != n:
        raise NotRationalError
    return low


def digits_of(node: Node) -> int:
    """Significant digits of a decimal, also of `6.67 \\times 10^{-11}`; 0 for everything else, which is exact."""
    if isinstance(node, Num):
        return node.digits
    if isinstance(node, Op) and node.name in ("neg", "percent"):
        return digits_of(node.args[0])
    if isinstance(node, Op) and node.name == "mul":
        left, right = node.args
        if isinstance(right, Op) and right.name == "pow" and right.args[0] == Num(Fraction(10)):
            return digits_of(left)
    return 0


def shortened(value: Fraction, digits: int) -> tuple[Fraction, Fraction]:
    """The value rounded (half away from zero) and cut off at so many significant digits."""
    if value == 0:
        return value, value
    size = abs(value)
    bits = size.numerator.bit_length() - size.denominator.bit_length()
    unit = Fraction(10) ** (bits * 30103 // 100000 - digits)  # log10(2); within a factor of 100 of the unit
    while size / unit >= 10**digits:
        unit *= 10
    while size / unit < 10 ** (digits - 1):
        unit /= 10
    cut = (size / unit).__floor__()
    rounded = (size / unit + Fraction(1, 2)).__floor__()
    sign = 1 if value > 0 else -1
    return sign * rounded * unit, sign * cut * unit


def ends(value: Fraction) -> bool:
    """Has it an end as a decimal?"""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def equal(
    gold: Fraction, gold_digits: int, answer: Fraction, answer_digits: int, *, gold_ends: bool | None = None
) -> bool:
    """Is this the gold's number? `gold_ends`: whether the gold is a finite decimal, where its value does not tell."""
    if gold == answer:
        return True
    if gold_digits:
        return gold_digits >= FEWEST_DIGITS and gold in shortened(answer, gold_digits)
    if answer_digits < FEWEST_DIGITS or (ends(gold) if gold_ends is None else gold_ends):
        return False
    return answer in shortened(gold, answer_digits)
