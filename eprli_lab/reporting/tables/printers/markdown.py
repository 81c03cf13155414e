"""A document as Markdown."""

from __future__ import annotations

from eprli_lab.escaping import comment, markdown, markdown_paragraph
from eprli_lab.reporting.tables.document import Cell, Document, TableBlock


def print_document(document: Document, runs: bool = True) -> str:
    """Headings, pipe tables and lists; `runs`: the ids of runs follow as comments, which nothing shows."""
    parts = [f"## {markdown(document.title)}"] if document.title else []
    parts += map(markdown_paragraph, document.lead)
    parts += [print_table(block) for block in document.blocks]
    parts += [document.bold_note] if document.bold_note else []
    for remark in document.remarks:
        parts.append(f"**{markdown(remark.heading)}**\n\n" + "\n".join(f"- {markdown(line)}" for line in remark.lines))
    parts += ["\n".join(f"<!-- {comment(line)} -->" for line in document.runs)] if runs and document.runs else []
    return "\n\n".join(parts) + "\n"


def print_table(block: TableBlock) -> str:
    """One pipe table, with its note under it."""
    rule = ["---" if words else "---:" for words in block.texts]
    lines = [[markdown(title) for title in block.header], rule, *([_cell(c) for c in row] for row in block.rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return table + (f"\n\n{markdown_paragraph(block.note)}" if block.note else "")


def _cell(cell: Cell) -> str:
    return f"**{markdown(cell.text)}**" if cell.best else markdown(cell.text)
