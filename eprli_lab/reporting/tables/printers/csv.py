"""A document as CSV: one row an arm, one number a cell."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from eprli_lab.reporting.tables.document import Document


def print_document(document: Document) -> str:
    """Every field in full precision; the last one names the runs."""
    return print_records(document.fields, document.records)


def print_records(fields: Sequence[str], records: Iterable[Sequence[object]]) -> str:
    """Header and rows; nan becomes an empty cell, floats keep every digit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for record in records:
        writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in record])
    return out.getvalue()
