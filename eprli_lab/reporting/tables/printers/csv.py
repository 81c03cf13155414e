"""A document as CSV: one row an arm, one number a cell."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from eprli_lab.escaping import csv_text
from eprli_lab.reporting.tables.document import Document, TableBlock


def print_document(document: Document) -> str:
    """Every field in full precision; the last one names the runs."""
    return print_records(document.fields, document.records)


def print_table(block: TableBlock) -> str:
    """One table in full precision: the columns that it has for programs, or else a column a number of a cell."""
    if block.fields:
        return print_records(block.fields, block.records)
    columns = []
    for j, title in enumerate(block.header):
        cells = [row[j] for row in block.rows]
        parts = list(dict.fromkeys(name for cell in cells for name in cell.parts))
        name = title.removesuffix(" [95%]")
        columns.append([name, *(cell.text if cell.key is None else cell.key for cell in cells)])
        columns += [[f"{name} {part}", *(cell.parts.get(part, math.nan) for cell in cells)] for part in parts]
    columns += [["runs", *block.runs]] if block.runs else []
    head, *records = zip(*columns, strict=True)
    return print_records([str(name) for name in head], records)


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
