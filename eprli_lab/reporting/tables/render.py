"""A table of arms in the format that is asked for. Every arm's run ids go along, but for text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.columns import Column
from eprli_lab.reporting.tables.document import Document, document
from eprli_lab.reporting.tables.printers import csv, html, latex, markdown, text

FORMATS: dict[str, Callable[[Document], str]] = {
    "md": markdown.print_document,
    "latex": latex.print_document,
    "csv": csv.print_document,
    "html": html.print_document,
}
PRINTERS = {"text": text.print_document} | FORMATS


def render(table: Comparison, columns: Sequence[Column] | None, form: str) -> str:
    """`form`: text, md, latex, csv or html. Of these columns (tables.columns.chosen), by default the whole document."""
    return PRINTERS[form](document(table, columns))
