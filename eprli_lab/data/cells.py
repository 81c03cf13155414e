"""From the cells of a row to what a problem is made of: the column that is named, and the accepted answers."""

from __future__ import annotations

import ast
import math
import re
from numbers import Number
from typing import Any, Literal

from eprli_lab.data.rows import RowError, parse_json, shown
from eprli_lab.data.solutions import is_solution, solution_answer
from eprli_lab.errors import nearest
from eprli_lab.grading.answers import is_missing

JOINED = r" \text{ and } "  # as several boxes are read: one list (docs/grading.md)
_SPELLINGS = frozenset(("None", "NaN", "nan", "null", "NULL", "N/A", "n/a", "#N/A", "<NA>", "NaT"))
_OBJECT = re.compile(r"(?:array|(?:np|numpy)\.\w+|Decimal|Fraction)\(.*\)", re.DOTALL)
_LONGEST = 4096  # characters of an answer that Python's own spelling is looked for in


def column(cells: dict[str, Any], path: str, what: str) -> Any:
    """The cell at a dotted path. Raises RowError with the nearest column name."""
    if path in cells:
        return cells[path]
    node: Any = cells
    for part in path.split("."):
        if isinstance(node, str) and node.lstrip().startswith("{"):  # a struct stored as JSON
            node = parse_json(node)
        if not isinstance(node, dict) or part not in node:
            known = [str(k) for k in node] if isinstance(node, dict) else []
            raise RowError(
                f"there is no column '{path}' for the {what}{nearest(part, known)}: set columns.{what}",
                f"no column '{path}'",
            )
        node = node[part]
    return node


def answers(cell: Any, mean: Literal["any", "all"] = "any") -> tuple[str, ...]:
    """Accepted answers of a cell: a text, a number, a list of either, or a list written as JSON.

    `mean`: what a list says, that each is right or that all together are the answer. Of a worked solution the answer.
    Raises RowError for a cell that says no answer, and for what Python or pandas made of one.
    """
    if hasattr(cell, "tolist"):  # an array of numpy
        cell = cell.tolist()
    if isinstance(cell, str):
        cell = _list_of(cell.strip())
    if not isinstance(cell, list | tuple):
        answer = _answer(cell)
        if not answer:
            raise RowError("the answer is empty")
        return (answer,)
    found = [_answer(item) for item in cell]
    golds = tuple(g for g in found if g)
    if not golds:
        raise RowError("the answer is empty")
    if mean == "any":
        return tuple(dict.fromkeys(golds))
    if len(golds) != len(found):
        raise RowError(f"one of the {len(found)} answers, which are all needed, is empty", "one answer of all is empty")
    return (JOINED.join(golds),)


def _list_of(text: str) -> Any:
    """The list that a text is, as JSON; another text as it is. Raises RowError for a list as Python spells it."""
    if text.startswith('["') and text.endswith('"]'):  # how some RL sets store alternatives
        try:
            value = parse_json(text)
        except RowError:
            value = None
        if isinstance(value, list):
            return value
    if text == "[]":
        return []
    if text[:1] in ("[", "(", "{") and len(text) <= _LONGEST and text.count(text[0]) < 50 and _quoted(text):
        raise RowError(
            f"the answer is {shown(text)}, a list as Python spells it: write it as JSON (json.dumps)",
            "a list as Python spells it",
        )
    if _OBJECT.fullmatch(text):
        raise RowError(
            f"the answer is {shown(text)}, an object as Python spells it: write the value itself",
            "an object as Python spells it",
        )
    return text


def _quoted(text: str) -> bool:
    """Whether Python reads a list, tuple or set of texts (or of None)."""
    if "'" not in text and '"' not in text and "None" not in text:
        return False
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return isinstance(value, list | tuple | set | dict) and any(v is None or isinstance(v, str) for v in value)


def _answer(value: Any) -> str:
    """One answer as a text; '' for nothing. Raises RowError."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _text_answer(value.strip())
    if isinstance(value, bool):
        raise RowError(f"the answer is {value}, neither text nor number: write it as a text", "a truth value")
    if isinstance(value, list | tuple):
        raise RowError("the answer is a list in a list: give one list of answers", "a list in a list")
    if isinstance(value, Number) and not _finite(value):
        raise RowError(f"the answer is {value}, no number: write the answer itself", "an answer that is no number")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Number):
        try:
            return str(value)
        except ValueError:  # more digits than Python writes
            raise RowError("the answer has too many digits", "too many digits") from None
    raise RowError(f"the answer is no text but a {type(value).__name__}", f"an answer that is a {type(value).__name__}")


def _finite(value: Number) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # an integer above the largest float
        return True
    except (TypeError, ValueError):  # a complex number, a signalling NaN
        return False


def _text_answer(text: str) -> str:
    if text in _SPELLINGS:
        raise RowError(f"the answer is {text!r}, the spelling of a missing one", f"the answer is {text!r}")
    if is_solution(text):
        text = solution_answer(text)
    if text and is_missing(text):
        raise RowError(f"the answer is {shown(text)}, which says nothing", "an answer that says nothing")
    return text
