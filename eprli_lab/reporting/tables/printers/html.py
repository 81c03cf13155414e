"""A document as HTML."""

from __future__ import annotations

from collections.abc import Mapping

from eprli_lab.escaping import html as escape
from eprli_lab.reporting.tables.document import Cell, Document, TableBlock

LONG = 48  # characters of a cell, beyond which it may wrap
ARMS = ("arm", "compared to", "baseline", "comparison")  # heads of columns that name arms
# said of a table whose rows may stand as cards: a browser forgets what they are then
ROLES = {
    "table": "table", "group": "rowgroup", "row": "row", "head": "columnheader", "first": "rowheader", "cell": "cell",
}  # fmt: skip
CORRECTED = {"p (raw)": "uncorrected", "p (Holm)": "corrected"}  # head of a p -> the word under it


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


def print_table(block: TableBlock, marks: Mapping[str, str] | None = None, stacks: bool = False) -> str:
    """<table> whose cells carry what they are sorted by (data-key) and whose rows the ids of their runs (data-runs).

    `marks`: arm -> the mark before its name, which it has in the figures too, as HTML. `stacks`: cells say what heads
    them (data-label) and what they are, for a window in which rows stand as cards.
    """
    role = {key: f' role="{value}"' if stacks else "" for key, value in ROLES.items()}
    head = []
    for title, words in zip(block.header, block.texts, strict=True):
        side = ' class="left"' if words else ""
        head.append(f'<th scope="col"{side}{role["head"]}>{_head(title)}</th>')
    body = []
    for i, row in enumerate(block.rows):
        cells = []
        for j, (cell, words, title) in enumerate(zip(row, block.texts, block.header, strict=True)):
            mark = (marks or {}).get(cell.text.split(" - ")[0], "") if title in ARMS else ""
            heads = ", ".join(filter(None, [title, _word(title)]))
            label = f' data-label="{escape(heads)}"' if stacks and j else ""
            cells.append(_cell(cell, words, j == 0, label + role["cell" if j else "first"], mark))
        ids = f' data-runs="{escape(block.runs[i])}"' if block.runs else ""
        body.append(f"<tr{ids}{role['row']}>{''.join(cells)}</tr>")
    top = f"<thead{role['group']}><tr{role['row']}>{''.join(head)}</tr></thead>"
    return f"<table{role['table']}>{top}<tbody{role['group']}>{''.join(body)}</tbody></table>"


def _head(title: str) -> str:
    """A column's title, and whether it is corrected."""
    word = _word(title)
    return escape(title) + (f" <small>{word}</small>" if word else "")


def _word(title: str) -> str:
    """Is what stands under this title corrected for the number of comparisons? "" where that means nothing."""
    return "uncorrected" if "difference" in title and title.endswith("[95%]") else CORRECTED.get(title, "")


def _cell(cell: Cell, is_left: bool, is_first: bool, label: str, mark: str) -> str:
    key = cell.text if cell.key is None else "" if cell.key != cell.key else str(cell.key)
    tag = 'th scope="row"' if is_first else "td"
    is_long = len(cell.text) > LONG and not cell.words
    classes = ["words" if cell.words else "left" if is_left else "", "long" if is_long else ""]
    look = f' class="{" ".join(filter(None, classes))}"' if any(classes) else ""
    text = escape(cell.text.replace("->", "→"))
    text = f"<strong>{text}</strong>" if cell.best else text
    return f'<{tag}{look}{label} data-key="{escape(key)}">{mark}{text}</{tag[:2]}>'
