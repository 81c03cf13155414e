"""Answers: extracted from a response, normalised, compared exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

BOXES = ("\\boxed", "\\fbox")


def extract_boxed(text: str) -> str | None:
    r"""Content of the last complete `\boxed{...}` (or `\fbox{...}`); None where there is none. Linear time.

    Nesting and escaped braces are respected: of nested boxes the outermost counts. An unclosed box (a truncated
    response) hides nothing: the last complete box, inside it or before it, is taken.
    """
    best: tuple[int, int] | None = None  # content (start, end) of the last complete outermost box
    inner: tuple[int, int] | None = None  # of the last complete box inside a box that is still open
    opened: list[int] = []  # per open brace: start of the content if a box opened it, else -1
    boxes, i = 0, 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            name = next((b for b in BOXES if text.startswith(b, i)), None)
            if name is None:
                i += 2  # an escaped character, brace or not
                continue
            i += len(name)
            while i < len(text) and text[i] == " ":
                i += 1
            if i < len(text) and text[i] == "{":
                opened.append(i + 1)
                boxes += 1
                i += 1
            continue
        if c == "{":
            opened.append(-1)
        elif c == "}" and opened:
            start = opened.pop()
            if start >= 0:
                boxes -= 1
                if boxes == 0:
                    best, inner = (start, i), None
                else:
                    inner = (start, i)
        i += 1
    found = inner or best
    return text[found[0] : found[1]] if found else None


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


_BASED = re.compile(r"[+-]?[0-9A-Za-z]+_(?:\{\d+\}|\d+)")
_NO_BRACES = str.maketrans("", "", "{}")


def _number(s: str) -> Fraction | None:
    """An integer or decimal, exactly; None for anything else (also `12_5`, which Python would take)."""
    if not re.fullmatch(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})", s):
        return None
    return Fraction(s)


def exact(answer: str, golds: Sequence[str]) -> bool | None:
    """True: equal after normalisation. False: certainly different (plain numbers, `12_5` and 12). None: not decided."""
    mine = normalise(answer)
    theirs = [normalise(g) for g in golds]
    if mine in theirs:
        return True
    value = _number(mine)
    values = [_number(t) for t in theirs]
    if value is not None and value in values:
        return True
    if value is not None and None not in values:
        return False
    if _BASED.fullmatch(mine) and all(_number(t) is not None or _BASED.fullmatch(t) for t in theirs):
        return mine.translate(_NO_BRACES) in {g.translate(_NO_BRACES) for g in theirs}  # math-verify reads 12_5 as 12
    return None
