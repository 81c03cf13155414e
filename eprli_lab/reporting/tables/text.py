"""Aligned text and Markdown of blocks of cells."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Mapping, Sequence

WIDTH = 120  # columns of a terminal
Block = tuple[list[str], list[list[str]]]  # header, rows


def wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="      ", break_long_words=False)


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]


def split_to_width(header: list[str], rows: list[list[str]]) -> list[Block]:
    """Blocks that fit WIDTH; every one begins with the first column."""
    widths = _widths(header, rows)
    groups: list[list[int]] = [[]]
    used = widths[0]
    for i in range(1, len(header)):
        if groups[-1] and used + 2 + widths[i] > WIDTH:
            groups.append([])
            used = widths[0]
        groups[-1].append(i)
        used += 2 + widths[i]
    return [([header[0]] + [header[i] for i in g], [[r[0]] + [r[i] for i in g] for r in rows]) for g in groups if g]


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = _widths(header, rows)
    rule = ["-" * w for w in widths]
    lines = [[line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
             for line in [header, rule, *rows]]  # fmt: skip
    return "\n".join("  ".join(line).rstrip() for line in lines)


def to_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """nan becomes an empty cell; floats keep every digit."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
    return out.getvalue()
