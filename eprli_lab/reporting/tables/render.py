"""A table of arms as Markdown, LaTeX (booktabs), CSV or HTML. Every arm's run ids go along."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Callable, Sequence

from eprli_lab.reporting.tables.columns import Column, best
from eprli_lab.reporting.tables.rows import Table

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {c: "\\" + c for c in "&%$#_{}"}
BOLD = "Bold: told apart from every other arm, seed by seed, after correction for the number of arms and columns."


def render(table: Table, columns: Sequence[Column], form: str) -> str:
    """`form`: md, latex, csv or html."""
    return FORMATS[form](table, columns)


def _markdown(table: Table, columns: Sequence[Column]) -> str:
    lines = ["| " + " | ".join(_pipe(c.title) for c in columns) + " |"]
    lines.append("| " + " | ".join("---" if i == 0 else "---:" for i in range(len(columns))) + " |")
    winners = {c.name: best(table, c) for c in columns}
    for row in table.rows:
        cells = [f"**{_pipe(c.text(row))}**" if winners[c.name] == row.arm else _pipe(c.text(row)) for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *([BOLD, ""] if any(winners.values()) else []), *(f"<!-- {line} -->" for line in _runs(table))]
    return "\n".join(lines) + "\n"


def _latex(table: Table, columns: Sequence[Column]) -> str:
    winners = {c.name: best(table, c) for c in columns}
    head = " & ".join(_tex(c.title) for c in columns)
    lines = ["% needs \\usepackage{booktabs}", *(f"% {line}" for line in _runs(table))]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", "\\toprule", f"{head} \\\\", "\\midrule"]
    for row in table.rows:
        cells = []
        for c in columns:
            text = _MINUS.sub("$-$", _tex(c.text(row)).replace("->", r"$\rightarrow$"))
            cells.append(rf"\textbf{{{text}}}" if winners[c.name] == row.arm else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _csv(table: Table, columns: Sequence[Column]) -> str:
    """Full precision; nan is an empty cell; the last column names the runs."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(c.name for c in columns), "runs"])
    for row in table.rows:
        keys = [c.key(row) for c in columns]
        cells = ["" if isinstance(k, float) and math.isnan(k) else k for k in keys]
        writer.writerow([*cells, " ".join(r.run_id for r in table.study.of(row.arm))])
    return out.getvalue()


def html_table(table: Table, columns: Sequence[Column]) -> str:
    """A <table> whose cells carry the number behind them (data-key) and whose rows the ids of their runs."""
    winners = {c.name: best(table, c) for c in columns}
    head = "".join(f'<th scope="col">{html.escape(c.title)}</th>' for c in columns)
    body = []
    for row in table.rows:
        cells = []
        for i, c in enumerate(columns):
            key, text = c.key(row), html.escape(c.text(row)).replace("-&gt;", "→")
            data = "" if isinstance(key, float) and math.isnan(key) else html.escape(str(key))
            text = f"<strong>{text}</strong>" if winners[c.name] == row.arm else text
            tag = 'th scope="row"' if i == 0 else "td"
            cells.append(f'<{tag} data-key="{data}">{text}</{tag[:2]}>')
        ids = " ".join(r.run_id for r in table.study.of(row.arm))
        body.append(f'<tr data-runs="{html.escape(ids)}">{"".join(cells)}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(body) + "\n</tbody></table>"


def _html(table: Table, columns: Sequence[Column]) -> str:
    return html_table(table, columns) + "\n"


def _runs(table: Table) -> list[str]:
    return [f"{row.arm}: runs {' '.join(r.run_id for r in table.study.of(row.arm)) or 'none'}" for row in table.rows]


def _pipe(text: str) -> str:
    return text.replace("|", "\\|")


_MINUS = re.compile(r"(?<![\w$.-])-(?=\.?\d)")  # of a number: LaTeX would set a hyphen


def _tex(text: str) -> str:
    return re.sub(r"[\\~^&%$#_{}]", lambda m: _LATEX[m.group()], text)


FORMATS: dict[str, Callable[[Table, Sequence[Column]], str]] = {
    "md": _markdown,
    "latex": _latex,
    "csv": _csv,
    "html": _html,
}
