"""A document as text for a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from eprli_lab.escaping import one_line
from eprli_lab.reporting.tables.document import Document, TableBlock

WIDTH = 120  # columns, where it is no terminal that has fewer
NARROWEST = 60


def terminal_columns() -> int:
    """Columns of the terminal that standard output is, at most WIDTH; WIDTH of anything else."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def print_document(document: Document, width: int = WIDTH) -> str:
    """Aligned, at most `width` columns where a cell is not wider itself; blocks that are wider are split."""
    head = [one_line(document.title)] if document.title else []
    head += [
        textwrap.fill(one_line(line), width, subsequent_indent="    ", break_long_words=False) for line in document.lead
    ]
    parts = ["\n".join(head)] if head else []
    for block in document.blocks:
        parts += [print_table(part, width) for part in split_to_width(block, width)]
    parts += [
        "\n".join([one_line(remark.heading), *(_wrapped(line, width) for line in remark.lines)])
        for remark in document.remarks
    ]
    return "\n\n".join(parts) + "\n"


def print_table(block: TableBlock, width: int = WIDTH) -> str:
    """One table, with its note under it."""
    lines = _cells(block)
    widths = _widths(lines)
    rule = ["-" * columns for columns in widths]
    out = []
    for line in [lines[0], rule, *lines[1:]]:
        cells = [
            cell.ljust(columns) if words else cell.rjust(columns)
            for cell, columns, words in zip(line, widths, block.texts, strict=True)
        ]
        out.append("  ".join(cells).rstrip())
    note = textwrap.wrap(one_line(block.note), width, break_long_words=False)
    return "\n".join([*out, *note])


def split_to_width(block: TableBlock, width: int = WIDTH) -> list[TableBlock]:
    """Blocks that fit the width; every one begins with the first column, the last one has the note.

    A p stays beside its difference: where it does not fit, both begin the next block.
    """
    widths = _widths(_cells(block))
    groups: list[list[int]] = [[0]]
    used = widths[0]
    for i in range(1, len(widths)):
        if len(groups[-1]) > 1 and used + 2 + widths[i] > width:
            moved = _of_one_difference(block.header, groups[-1], i)
            groups[-1] = groups[-1][: len(groups[-1]) - len(moved)]
            groups.append([0, *moved])
            used = widths[0] + sum(2 + widths[j] for j in moved)
        groups[-1].append(i)
        used += 2 + widths[i]
    return [
        replace(
            block,
            header=[block.header[i] for i in group],
            rows=[[row[i] for i in group] for row in block.rows],
            note=block.note if group is groups[-1] else "",
        )
        for group in groups
    ]


def _of_one_difference(header: Sequence[str], before: Sequence[int], new: int) -> list[int]:
    """The last columns of `before` that must stand beside column `new`: a difference and its other p's."""
    if not header[new].startswith("p ("):
        return []
    starts = [k for k, i in enumerate(before) if k > 1 and "difference" in header[i]]
    return list(before[starts[-1] :]) if starts else []


def _cells(block: TableBlock) -> list[list[str]]:
    """Header and rows as text."""
    return [[one_line(title) for title in block.header], *([one_line(cell.text) for cell in row] for row in block.rows)]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(one_line(line), width, initial_indent="  ", subsequent_indent="      ", break_long_words=False)
