"""A document as CSV: one row an arm, one number a cell."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from eprli_lab.escaping import csv_text
from eprli_lab.reporting.tables.document import Document


def print_document(document: Document) -> str:
    """Every field in full precision; the last one names the runs."""
    return print_records(document.fields, document.records)


def print_records(fields: Sequence[str], records: Iterable[Sequence[object]]) -> str:
    """Header and rows; nan becomes an empty cell, floats keep every digit, a text is never a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_cell, fields))
    for record in records:
        writer.writerow(map(_cell, record))
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return csv_text(value)
    return "" if isinstance(value, float) and math.isnan(value) else value
