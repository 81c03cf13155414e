"""A document as LaTeX: one tabular a block, under booktabs and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from eprli_lab.escaping import latex, latex_comment
from eprli_lab.reporting.tables.document import Cell, Document, TableBlock

_MINUS = re.compile(r"(?<![\w$.-])-(?=\.?\d)")  # of a number: LaTeX would set a hyphen


def print_document(document: Document) -> str:
    """Tabulars; title, remarks and ids of runs are comments."""
    comments = ["needs \\usepackage{booktabs}"]
    comments += [document.title] if document.title else []
    comments += document.lead
    comments += [document.bold_note] if document.bold_note else []
    for remark in document.remarks:
        comments += [remark.heading, *(f"  {line}" for line in remark.lines)]
    comments += document.runs
    head = "\n".join("% " + latex_comment(line) for line in comments)
    return "\n\n".join([head + "\n" + print_table(document.blocks[0]), *map(print_table, document.blocks[1:])]) + "\n"


def print_table(block: TableBlock) -> str:
    """One tabular; its note is a comment."""
    lines = [f"% {latex_comment(block.note)}"] if block.note else []
    layout = "".join("l" if words else "r" for words in block.texts)
    lines += [f"\\begin{{tabular}}{{{layout}}}", "\\toprule", _line(map(latex, block.header)), "\\midrule"]
    lines += [_line(map(_cell, row)) for row in block.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    text = _MINUS.sub("$-$", latex(cell.text).replace("->", r"$\rightarrow$"))
    return rf"\textbf{{{text}}}" if cell.best else text
