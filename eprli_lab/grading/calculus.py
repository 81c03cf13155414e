r"""Sums, products, integrals, limits: what the reader of answers leaves to SymPy, by math-verify's LaTeX reader.

Only two plain expressions are compared, by SymPy's own simplification: no units, no lists, no relations, no last number
of what cannot be read. Runs in the grader's worker processes, under their limit of time.
"""

from __future__ import annotations

import re
from typing import Any

from eprli_lab.grading.spelling import OPEN, clean

_REFUSED = (
    ",",
    ";",
    "=",
    "<",
    ">",
    "\\le",
    "\\ge",
    "\\ne",
    "\\approx",
    "dots",
    "\\text",
    "\\pm",
    "\\mp",
    "\\cup",
    OPEN,
    "\\\\",
)


def equal(gold: str, answer: str) -> bool:
    """Are both plain expressions, and is their difference zero?"""
    left, right = _expression(gold), _expression(answer)
    if left is None or right is None:
        return False
    import sympy

    difference = sympy.simplify((left - right).doit())
    return bool(difference == 0)


def _expression(answer: str) -> Any:
    import sympy
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    s = clean(answer)
    outside = re.sub(r"_\s*\{[^{}]*\}", "", s)  # `k=1` under a sum is no relation
    if any(part in outside for part in _REFUSED):
        return None
    plain = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="none", equations=False
    )
    config = LatexExtractionConfig(normalization_config=plain, boxed_match_priority=-1)
    found = parse(f"${s}$", [config], fallback_mode="no_fallback", parsing_timeout=None)
    if not found or not isinstance(found[0], sympy.Expr):
        return None
    return found[0]
