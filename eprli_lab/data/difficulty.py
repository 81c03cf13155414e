"""d(q) from the difficulty column: its direction, its scale, and the words that stand for numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from numbers import Number
from typing import Any

from eprli_lab.config.data import ColumnsSpec
from eprli_lab.data.rows import RowError, shown
from eprli_lab.errors import UserError

SMALL = 100  # values that use only so small a part of the scale are on another one
_PASS_RATE = re.compile(r"(?:pass|solv|success|succe|win|correct|right)\w*?[_ -]?(?:rate|ratio|percent|prob|frac)|pass@"
                        r"|accurac|(?:^|[_ .-])acc(?:$|[_ .-@])|success|solve_?rate|correctness")  # fmt: skip
_HARD = re.compile(r"difficult|hard|fail|error|wrong|incorrect|inaccurac|unsolv|unsuccess")
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_PERCENT = re.compile(rf"({_NUMBER})\s*\\?%", re.ASCII)
_SHARE = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})", re.ASCII)
_LEVEL = re.compile(r"(?:level|lvl|grade|difficulty|stars?)[\s:_-]*(\d{1,6}(?:\.\d{1,6})?)", re.ASCII | re.IGNORECASE)


def check_direction(columns: ColumnsSpec, where: str) -> None:
    """Raises UserError for a column whose name says pass rate, read as a difficulty: high would be hard."""
    name = (columns.difficulty or "").rpartition(".")[2].lower()
    if columns.difficulty_is == "difficulty" and _PASS_RATE.search(name) and not _HARD.search(name):
        raise UserError(
            f"{where}.columns.difficulty: '{columns.difficulty}' looks like a pass rate, high for easy problems, and "
            "is read as a difficulty, high for hard ones: set columns.difficulty_is=pass_rate, or, if high does mean "
            "hard, give the column another name in the file"
        )


def read_difficulty(cell: Any, columns: ColumnsSpec) -> tuple[float, float]:
    """d(q) in [0, 1], and the value on the column's scale.

    A number, `Level 3`, or a number as text is on the scale; `50%` and `5/8` say their own. Raises RowError for
    anything else, and UserError for a value above the scale: then it is the scale that is wrong, not the row.
    """
    scale = columns.difficulty_scale
    value, share = _number(cell, scale)
    if not 0.0 <= value <= scale:
        above = f"a difficulty in [0, {scale:g}] is needed, not {shown(cell)}"
        if value > scale and not share:
            raise UserError(f"{above}: say with columns.difficulty_scale what the column calls 1")
        raise RowError(above, f"a difficulty outside [0, {scale:g}]")
    if columns.difficulty_is == "pass_rate":  # in decimals: 1 - 0.7 in binary is above 0.3
        return float(1 - Decimal(repr(value)) / Decimal(repr(scale))), value
    return value / scale, value


def _number(cell: Any, scale: float) -> tuple[float, bool]:
    """The value on the scale, and whether the cell says its own."""
    if isinstance(cell, str):
        text = cell.strip()
        percent = _PERCENT.fullmatch(text)
        if percent:
            return float(Decimal(percent[1]) / 100 * Decimal(repr(scale))), True
        share = _SHARE.fullmatch(text)
        if share and int(share[2]):
            return float(int(share[1]) * Decimal(repr(scale)) / int(share[2])), True
        level = _LEVEL.fullmatch(text)
        if level or _PLAIN.fullmatch(text):
            return float(level[1] if level else text), False
    elif isinstance(cell, Number) and not isinstance(cell, bool | complex):
        try:
            value = float(cell)  # type: ignore[arg-type]
        except (OverflowError, ValueError):
            value = math.inf
        if not math.isnan(value):
            return value, False
    reason = "no difficulty" if cell is None or cell == "" or cell != cell else "a difficulty that is no number"
    raise RowError(
        f"a difficulty in [0, {scale:g}] is needed (a number, 'Level 3', '50%' or '5/8'), not {shown(cell)}", reason
    )


def check_scale(values: Sequence[float], columns: ColumnsSpec, place: str) -> None:
    """Raises UserError where the values use at most a hundredth of the scale: the same file on another scale."""
    highest = max(values, default=0.0)
    if len(values) > 1 and 0.0 < highest <= columns.difficulty_scale / SMALL:
        raise UserError(
            f"{place}: column {columns.difficulty}: all {len(values)} values lie in [{min(values):g}, {highest:g}], a "
            f"hundredth of the scale of {columns.difficulty_scale:g}: say with columns.difficulty_scale what the "
            "column calls 1"
        )
