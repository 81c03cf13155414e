"""Expressions with variables and irrational numbers: equal when they are at high precision, at points that are fixed.

Two expressions are equal when, wherever both are real, they have the same value: at points with positive, negative and
whole coordinates drawn once from a fixed seed, to 80 of 100 digits. Nothing is simplified, so nothing can run away;
powers, factorials and arguments are bounded before they are computed. Used in the grader's worker processes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

from eprli_lab.grading import numbers
from eprli_lab.grading.tree import INFINITY, Node, Num, Op, Sym, variables, walk

PRECISION = 100  # decimal digits
AGREE = 80
LARGEST_EXPONENT = 1_000_000  # of two
LARGEST_ARGUMENT = 10**6  # of functions that need it reduced
MOST_NODES = 1_500
_RANGES = ((0.2, 1), (0.4, 6), (2, 9), (-1, 1), (-7, 7), (-5, 0), (1, 9), (2, 12), (-6, 6))
_WHOLE = 6  # from this range on, coordinates are integers


class NoValueError(Exception):
    """No finite value here, or one that would be too large."""


def value(node: Node, at: dict[str, Any]) -> Any:
    """The complex value of an expression (mpmath's). Raises NoValueError."""
    import mpmath

    if isinstance(node, Num):
        return mpmath.mpf(node.value.numerator) / node.value.denominator
    if isinstance(node, Sym):
        known = {"pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1)}
        if node.name in known:
            return +known[node.name]
        if node.name not in at or node == INFINITY:
            raise NoValueError
        return at[node.name]
    if not isinstance(node, Op):
        raise NoValueError
    try:
        out = _apply(mpmath, node.name, [value(a, at) for a in node.args])
    except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.libhyper.NoConvergence):
        raise NoValueError from None
    if not mpmath.isfinite(out):
        raise NoValueError
    return out


def _size(mp: Any, x: Any) -> float:
    """log2 |x|, roughly."""
    return float(mp.mag(x)) if x != 0 else 0.0


def _apply(mp: Any, name: str, args: list[Any]) -> Any:
    x = args[0]
    if name == "add":
        return mp.fsum(args)
    if name == "mul":
        return x * args[1]
    if name == "div":
        return x / args[1]
    if name == "neg":
        return -x
    if name == "pow":
        return _power(mp, x, args[1])
    if name == "sqrt":
        return mp.sqrt(x) if len(args) == 1 else _power(mp, x, 1 / args[1])
    if name == "percent":
        return x / 100
    if name == "degree":
        return x * mp.pi / 180
    if name == "abs":
        return abs(x)
    if name in ("log", "ln"):
        return mp.log(x) if name == "ln" else mp.log(x) / mp.log(args[1] if len(args) > 1 else 10)
    if abs(x) > LARGEST_ARGUMENT:
        raise NoValueError
    if name == "fact":
        return mp.gamma(x + 1)
    if name == "binom":
        return mp.binomial(x, args[1])
    if name in ("floor", "ceil"):
        return getattr(mp, name)(x)
    if name in ("gcd", "lcm", "det"):
        raise NoValueError
    if name in ("min", "max"):
        return (min if name == "min" else max)(args)
    names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
    return getattr(mp, names.get(name, name))(*args)


def _power(mp: Any, base: Any, exponent: Any) -> Any:
    if base == 0:
        if mp.re(exponent) <= 0:
            raise NoValueError
        return mp.mpf(0)
    if abs(exponent) > LARGEST_EXPONENT or abs(exponent) * (abs(_size(mp, base)) + 1) > LARGEST_EXPONENT:
        raise NoValueError
    return mp.power(base, exponent)


def _points(names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Positive, mixed, and whole coordinates; the same for the same names, whatever the expressions."""
    import mpmath

    for i, (low, high) in enumerate(_RANGES):
        point = {}
        for name in names:
            rng = random.Random(f"{name} {i}")
            drawn = rng.uniform(low, high)
            point[name] = mpmath.mpf(round(drawn) if i >= _WHOLE else drawn)
        yield point
        if not names:
            return


@lru_cache(maxsize=2048)
def values(node: Node, names: tuple[str, ...]) -> tuple[Any, ...]:
    """The value at each point; None where there is none. Rounding noise around zero is zero."""
    import mpmath

    out: list[Any] = []
    for point in _points(names):
        found = []
        for precision in (PRECISION, 2 * PRECISION):
            with mpmath.workdps(precision):
                try:
                    found.append(value(node, point))
                except NoValueError:
                    break
        if len(found) < 2:
            out.append(None)
            continue
        rough, fine = found
        with mpmath.workdps(PRECISION):
            noise = abs(rough - fine) > mpmath.mpf(10) ** (-AGREE) * abs(fine)
            out.append(mpmath.mpf(0) if noise else fine)
    return tuple(out)


def _is_real(x: Any) -> bool:
    import mpmath

    return bool(abs(mpmath.im(x)) <= mpmath.mpf(10) ** (-AGREE) * abs(x))


def pairs(gold: Node, answer: Node) -> list[tuple[Any, Any]]:
    """Values of both at each point where both are real; where they never are, all complex ones."""
    if sum(1 for n in (gold, answer) for _ in walk(n)) > MOST_NODES:
        return []
    names = tuple(sorted(variables(gold) | variables(answer)))
    both = [
        (a, b)
        for a, b in zip(values(gold, names), values(answer, names), strict=True)
        if a is not None and b is not None
    ]
    real = [(a, b) for a, b in both if _is_real(a) and _is_real(b)]
    return real if len(real) >= 2 else both


def _close(a: Any, b: Any) -> bool:
    import mpmath

    return bool(abs(a - b) <= mpmath.mpf(10) ** (-AGREE) * max(abs(a), abs(b)))


def equal(gold: Node, answer: Node) -> bool:
    """Is the answer the gold's expression? Numbers by `numbers.equal`, with the decimals' rule."""
    import mpmath

    with mpmath.workdps(PRECISION):
        found = pairs(gold, answer)
        if variables(gold) or variables(answer):
            return len(found) >= 3 and all(_close(a, b) for a, b in found)
        if not found:
            return False
        a, b = found[0]
        digits = numbers.digits_of(gold), numbers.digits_of(answer)
        if _close(a, b) and not any(digits):
            return True
        if not any(digits) or not (_is_real(a) and _is_real(b)):
            return False
        finite = numbers.rational(gold)
        known = numbers.rational(answer)
        return numbers.equal(
            _fraction(a) if finite is None else finite,
            digits[0],
            _fraction(b) if known is None else known,
            digits[1],
            gold_ends=False if finite is None else None,
        )


def scale(gold: Node, answer: Node) -> Any | None:
    """The constant c other than 0 with answer = c gold; None where there is none. Both must have variables."""
    import mpmath

    if not variables(gold) or variables(gold) != variables(answer):
        return None
    with mpmath.workdps(PRECISION):
        found = [(a, b) for a, b in pairs(gold, answer) if a != 0 or b != 0]
        if len(found) < 3 or any(a == 0 or b == 0 for a, b in found):
            return None
        first = found[0][1] / found[0][0]
        return first if all(_close(b, first * a) for a, b in found) else None


def rounds_to(value_of: Node, decimal: Fraction, digits: int) -> bool:
    """Is the decimal what the expression is about, to the decimal's digits?"""
    import mpmath

    with mpmath.workdps(PRECISION):
        found = pairs(value_of, Num(decimal))
        return bool(found) and _is_real(found[0][0]) and decimal in numbers.shortened(_fraction(found[0][0]), digits)


def _fraction(x: Any) -> Fraction:
    import mpmath

    sign, mantissa, exponent, _ = mpmath.re(x)._mpf_
    if abs(exponent) > numbers.LARGEST_BITS:
        return Fraction(0)
    size = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return Fraction(-size if sign else size)
