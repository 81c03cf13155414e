"""A document as HTML."""

from __future__ import annotations

from eprli_lab.escaping import html as escape
from eprli_lab.reporting.tables.document import Cell, Document, TableBlock

LONG = 48  # characters of a cell, beyond which it may wrap


def print_document(document: Document) -> str:
    """Headings, tables and lists, without a page around them."""
    parts = [f"<h2>{escape(document.title)}</h2>"] if document.title else []
    parts += [f"<p>{escape(line)}</p>" for line in document.lead]
    for block in document.blocks:
        parts.append(print_table(block))
        parts += [f"<p>{escape(block.note)}</p>"] if block.note else []
    parts += [f"<p>{escape(document.bold_note)}</p>"] if document.bold_note else []
    for remark in document.remarks:
        lines = "".join(f"<li>{escape(line)}</li>" for line in remark.lines)
        parts.append(f"<h3>{escape(remark.heading)}</h3><ul>{lines}</ul>")
    return "\n".join(parts) + "\n"


def print_table(block: TableBlock) -> str:
    """<table> whose cells carry what they are sorted by (data-key) and whose rows the ids of their runs (data-runs)."""
    texts = block.texts
    left = [' class="left"' if words else "" for words in texts]
    head = "".join(f'<th scope="col"{c}>{escape(title)}</th>' for title, c in zip(block.header, left, strict=True))
    body = []
    for i, row in enumerate(block.rows):
        cells = [_cell(cell, words, j == 0) for j, (cell, words) in enumerate(zip(row, texts, strict=True))]
        ids = f' data-runs="{escape(block.runs[i])}"' if block.runs else ""
        body.append(f"<tr{ids}>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(cell: Cell, is_left: bool, is_first: bool) -> str:
    key = cell.text if cell.key is None else "" if cell.key != cell.key else str(cell.key)
    tag = 'th scope="row"' if is_first else "td"
    is_long = len(cell.text) > LONG and not cell.words
    classes = ["words" if cell.words else "left" if is_left else "", "long" if is_long else ""]
    look = f' class="{" ".join(filter(None, classes))}"' if any(classes) else ""
    text = escape(cell.text.replace("->", "→"))
    text = f"<strong>{text}</strong>" if cell.best else text
    return f'<{tag}{look} data-key="{escape(key)}">{text}</{tag[:2]}>'
