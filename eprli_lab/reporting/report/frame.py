"""The frame of every page: head, style, script and the markup of its sections, as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.escaping import html as escape
from eprli_lab.escaping import visible
from eprli_lab.reporting.report.parts import Section
from eprli_lab.reporting.tables.document import TableBlock
from eprli_lab.reporting.tables.printers import csv, html, latex, markdown

PRINTED = 200  # rows; longer tables are data, and three times their text would double the page
TEMPLATES = Path(__file__).resolve().parent / "templates"
_COMMAND = re.compile(r"`(eprli-lab [\w .=/-]+)`")  # of ours: what others wrote becomes no markup


def render(sections: Sequence[Section], marks: Mapping[str, str], **fields: Any) -> str:
    """`marks`: arm -> the mark before its name, as HTML; `fields`: what the template says of the page."""
    import jinja2

    from eprli_lab.reporting import figures

    loader = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )
    loader.filters["table"] = lambda block: html.print_table(block, marks, stacks=True)
    loader.filters["copies"] = copies
    loader.filters["prose"] = prose
    loader.filters["data_uri"] = lambda text: "data:text/csv;charset=utf-8;base64," + _base64(text.encode())
    template = loader.from_string(_read("report.html.j2"))
    css, js = loader.from_string(_read("report.css.j2")).render() + figures.CSS, _read("report.js")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_sha256(js)}'"
    policy += "; base-uri 'none'; form-action 'none'"
    return template.render(sections=sections, css=css, js=js, policy=policy, **fields)


def copies(block: TableBlock) -> list[tuple[str, str]]:
    """What the buttons at a table copy: (format, the table in it). Of a table that nobody prints the CSV alone."""
    data = ("CSV", csv.print_table(block))
    if len(block.rows) > PRINTED:
        return [data]
    return [
        ("LaTeX", f"% needs \\usepackage{{booktabs}}\n{latex.print_table(block)}\n"),
        ("Markdown", f"{markdown.print_table(block)}\n"),
        data,
    ]


def prose(text: str) -> str:
    """A sentence as HTML; a command between backquotes is code."""
    return _COMMAND.sub(r"<code>\1</code>", escape(text))


def _shown(value: object) -> object:
    """What a template prints of a value: texts without control characters; ready HTML as it is."""
    return visible(value) if type(value) is str else value


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return _base64(hashlib.sha256(text.encode()).digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
