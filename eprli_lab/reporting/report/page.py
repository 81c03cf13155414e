"""The report of one study or several as sections, and those as one self-contained HTML file and its Markdown twin."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

LONG = 48  # characters of a cell, beyond which it may wrap
TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by."""

    text: str
    key: float | str | None = None  # None: the text
    words: bool = False  # prose: may wrap


@dataclass(frozen=True)
class TableBlock:
    """A table of any kind. `runs`: the ids behind each row, where there are some."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    runs: Sequence[str] = ()
    note: str = ""
    filter: bool = False

    @property
    def texts(self) -> list[bool]:
        """Which columns hold words, not numbers: they begin at the left."""
        return [all(isinstance(row[j].key, str | None) for row in self.rows) for j in range(len(self.header))]

    @property
    def html(self) -> str:
        """<table> whose cells carry what they are sorted by."""
        left = [' class="left"' if words else "" for words in self.texts]
        head = "".join(f'<th scope="col"{c}>{html.escape(h)}</th>' for h, c in zip(self.header, left, strict=True))
        body = []
        for i, row in enumerate(self.rows):
            cells = [
                _cell(cell, words, first=j == 0) for j, (cell, words) in enumerate(zip(row, self.texts, strict=True))
            ]
            ids = f' data-runs="{html.escape(self.runs[i])}"' if self.runs else ""
            body.append(f"<tr{ids}>{''.join(cells)}</tr>")
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"

    @property
    def markdown(self) -> str:
        """A pipe table."""
        lines = [
            self.header,
            ["---" if words else "---:" for words in self.texts],
            *([c.text for c in row] for row in self.rows),
        ]
        shown = "\n".join(
            "| " + " | ".join(t.replace("|", "\\|").replace("\n", " ") for t in line) + " |" for line in lines
        )
        return shown + (f"\n\n{self.note}" if self.note else "")


def _cell(cell: Cell, left: bool, first: bool) -> str:
    key = cell.text if cell.key is None else "" if cell.key != cell.key else str(cell.key)
    tag = 'th scope="row"' if first else "td"
    looks = [
        "words" if cell.words else "left" if left else "",
        "long" if len(cell.text) > LONG and not cell.words else "",
    ]
    look = f' class="{" ".join(filter(None, looks))}"' if any(looks) else ""
    return f'<{tag}{look} data-key="{html.escape(key)}">{html.escape(cell.text)}</{tag[:2]}>'


@dataclass(frozen=True)
class FigureBlock:
    """A figure in the page."""

    name: str
    title: str
    alt: str
    svg: str

    @property
    def src(self) -> str:
        """As a data URI: nothing is fetched."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


Item = str | tuple[str, str] | tuple[str, str, Sequence[str]]  # a sentence; a label and one; those and what folds out


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in this order."""

    id: str
    title: str
    text: Sequence[str] = ()
    items: Sequence[Item] = ()
    tables: Sequence[TableBlock] = ()
    figures: Sequence[FigureBlock] = field(default_factory=tuple)


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    claim: str
    summary: str
    sections: Sequence[Section]

    def html(self) -> str:
        """One file that needs no other: styles, scripts and figures are inside."""
        import jinja2

        loader = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
        template = loader.from_string((TEMPLATES / "report.html.j2").read_text(encoding="utf-8"))
        css, js = ((TEMPLATES / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        return template.render(
            title=self.title, claim=self.claim, summary=self.summary, sections=self.sections, css=css, js=js
        )

    def markdown(self) -> str:
        """The same in Markdown; figures are links to the PNG files beside it."""
        parts = [f"# {self.title}", *([f"**Claim.** {self.claim}"] if self.claim else []), self.summary]
        for s in self.sections:
            parts += [f"## {s.title}", *s.text]
            if s.items:
                parts.append("\n".join(map(_bullet, s.items)))
            for t in s.tables:
                parts += [f"### {t.title[0].upper()}{t.title[1:]}", t.markdown] if len(s.tables) > 1 else [t.markdown]
            parts += [f"![{f.alt}]({f.name}.png)\n\n*{f.title}*" for f in s.figures]
        return "\n\n".join(parts) + "\n"


def _bullet(item: Item) -> str:
    if isinstance(item, str):
        return f"- {item}"
    return "\n".join([f"- **{item[0]}** {item[1]}", *(f"  - {line}" for group in item[2:] for line in group)])
