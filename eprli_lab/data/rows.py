"""Rows of a data file: where each stands, and why one cannot be used."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eprli_lab.errors import UserError

SHOWN = 3  # places of a reason
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlevel = 3


class RowError(UserError):
    """One row cannot be used, others can; `reason`: what such rows are counted under."""

    def __init__(self, sentence: str, reason: str | None = None) -> None:
        super().__init__(sentence)
        self.reason = reason or sentence


@dataclass(frozen=True)
class Row:
    """One row as its file holds it: its cells, or why it has none."""

    place: str  # `file:line`, or `file row n`
    number: str  # the line or row, its id where no column is; of several files with the file's name before it
    cells: dict[str, Any]
    error: RowError | None = None


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    place: str
    reason: str
    sentence: str  # without the place


def shown(value: Any) -> str:
    """A value for a sentence: in one line, of bounded length."""
    try:
        return _REPR.repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        return f"a {type(value).__name__}"


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises RowError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RowError(f"not valid JSON ({error.msg} at column {error.colno})", "not valid JSON") from None
    except (ValueError, RecursionError) as error:  # an integer too long, or brackets too deep, for Python
        raise RowError(f"cannot be read ({error})", "cannot be read") from None


def by_reason(bad: Sequence[BadRow]) -> str:
    """`3 the answer is empty (a.jsonl:2, a.jsonl:9); 1 not valid JSON (a.jsonl:4)`: counts, and the first of each."""
    places: dict[str, list[str]] = {}
    for row in bad:
        places.setdefault(row.reason, []).append(row.place.rpartition("/")[2])
    ordered = sorted(places.items(), key=lambda item: -len(item[1]))
    clauses = []
    for reason, found in ordered:
        more = ", ..." if len(found) > SHOWN else ""
        clauses.append(f"{len(found)} {reason} ({', '.join(found[:SHOWN])}{more})")
    return "; ".join(clauses)
