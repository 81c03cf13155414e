"""Answers: normalised, and compared exactly where that decides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from eprli_lab.grading.boxes import extract_boxed
from eprli_lab.grading.compare import Comparison
from eprli_lab.grading.parser import read

__all__ = ["exact", "extract_boxed", "is_missing", "normalise"]

_WRAPPERS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|textrm|mathit)\s*\{([^{}]*)\}")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,|\{,\}|\\!,\\!|,\\!|\\,)\d{3})+(?:\.\d+)?")
_SPACING = re.compile(r"\\[,;: ]|\\q?quad(?![a-zA-Z])|~")
_SIZES = re.compile(r"\\(?:left|right)(?![a-zA-Z])")
_WHOLE_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL)


def _gap(match: re.Match[str]) -> str:
    """White space goes, except between two digits: `1 2` is not 12, `1 1/2` is not 11/2."""
    text, (start, end) = match.string, match.span()
    digits = 0 < start and end < len(text) and all(c.isdigit() or c == "." for c in (text[start - 1], text[end]))
    return " " if digits else ""


def normalise(answer: str) -> str:
    r"""A canonical spelling of an answer: spacing, `$`, `\left`, `\text{}`, `\dfrac`, thousands separators, final dot.

    Only spelling goes; nothing that could make two different numbers equal. By convention a degree sign and a currency
    sign are spelling; a per cent sign is not.
    """
    s = answer.replace("\\$", " ").strip().strip("$").strip()
    whole = _WHOLE_BOX.fullmatch(s)
    if whole and extract_boxed(s) == whole[1]:
        s = whole[1].strip()
    s = _SIZES.sub(" ", s).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\%", "%")
    s = s.replace("^\\circ", " ").replace("^{\\circ}", " ")
    s = _WRAPPERS.sub(r" \1 ", s).strip()
    if _THOUSANDS.fullmatch(s.removesuffix(".")):
        s = re.sub(r"[^\d.+-]", "", s)
    s = re.sub(r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", s)
    s = re.sub(r"\s+", _gap, _SPACING.sub(" ", s.replace("\\!", "")).strip())
    return s.removesuffix(".")


_STRUCTURE = Comparison()
_CALCULUS = re.compile(r"\\(?:sum|prod|int|iint|oint|lim|det|operatorname)(?![a-zA-Z])")
_NOTHING = frozenset(("", "None", "nan", "NaN", "null", "N/A"))


def is_missing(gold: object) -> bool:
    """No answer at all: empty, white space, an empty box, or how Python and pandas spell a missing one."""
    if gold is None or gold != gold:
        return True
    text = str(gold)
    return text in _NOTHING or not text.strip() or normalise(text) == ""


@lru_cache(maxsize=8192)
def _normalised(gold: str) -> str:
    return normalise(gold)


def exact(answer: str, golds: Sequence[str]) -> bool | None:
    """Right, wrong, or None: algebra must say.

    Spelling, structure and rational numbers decide here (docs/grading.md); a missing gold is equal to nothing.
    """
    if answer.isdigit() and answer.isascii() and len(answer) < 400:
        value = answer.lstrip("0")
        for gold in golds:
            if not (gold.isdigit() and gold.isascii()):
                break
            if gold.lstrip("0") == value:
                return True
        else:
            return False
    return _exact(answer, golds)


def _exact(answer: str, golds: Sequence[str]) -> bool | None:
    golds = [g for g in golds if not is_missing(g)]
    mine = normalise(answer)
    if not mine:
        return False
    theirs = [_normalised(g) for g in golds]
    if mine in theirs:
        return True
    tree = read(answer)
    open_question = False
    for gold, spelled in zip(golds, theirs, strict=True):
        wanted = read(gold)
        if tree is None or wanted is None:
            left, right = (bool(_CALCULUS.search(s)) for s in (spelled, mine))
            open_question = open_question or (left and (right or tree is not None)) or (right and wanted is not None)
            continue
        try:
            verdict = _STRUCTURE.same(wanted, tree)
        except (ArithmeticError, RecursionError, ValueError):
            verdict = None  # for a worker, where nothing can be harmed
        if verdict:
            return True
        open_question = open_question or verdict is None
    return None if open_question else False
