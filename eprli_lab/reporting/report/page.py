"""The report of one study or several as sections, and those as one self-contained HTML file and its Markdown twin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eprli_lab.escaping import markdown, markdown_paragraph, visible
from eprli_lab.reporting import figures
from eprli_lab.reporting.tables.document import TableBlock
from eprli_lab.reporting.tables.printers import html
from eprli_lab.reporting.tables.printers.markdown import print_table as print_markdown

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class SampleBlock:
    """One sampled response, which folds out."""

    where: str  # arm and level
    title: str  # of its kind
    facts: str
    prompt: str
    response: str


Item = str | tuple[str, str] | tuple[str, str, Sequence[str]]  # a sentence; a label and one; those and what folds out


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in this order."""

    id: str
    title: str
    text: Sequence[str] = ()
    items: Sequence[Item] = ()
    tables: Sequence[TableBlock] = ()
    figures: Sequence[figures.Figure] = ()
    samples: Sequence[SampleBlock] = ()


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

        loader = jinja2.Environment(
            autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown
        )
        loader.filters["table"] = html.print_table
        template = loader.from_string((TEMPLATES / "report.html.j2").read_text(encoding="utf-8"))
        css, js = ((TEMPLATES / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        return template.render(
            title=self.title,
            claim=self.claim,
            summary=self.summary,
            sections=self.sections,
            css=css + figures.CSS,
            js=js,
        )

    def markdown(self) -> str:
        """The same in Markdown; figures are links to the PNG files beside it."""
        parts = [f"# {markdown(self.title)}", *([f"**Claim.** {markdown(self.claim)}"] if self.claim else [])]
        parts.append(markdown_paragraph(self.summary))
        for s in self.sections:
            parts += [f"## {markdown(s.title)}", *map(markdown_paragraph, s.text)]
            if s.items:
                parts.append("\n".join(map(_bullet, s.items)))
            for t in s.tables:
                parts += [f"### {markdown(t.title[0].upper() + t.title[1:])}"] if len(s.tables) > 1 else []
                parts.append(print_markdown(t))
            parts += [_sample(one) for one in s.samples]
            shown = [one for f in s.figures for one in (f, *f.alternatives)]
            parts += [f"![{_alt(f.alt)}]({f.name}.png)\n\n*{markdown(f.title)}*" for f in shown]
        return "\n\n".join(parts) + "\n"


def write_page(page: Page, directory: Path, stem: str) -> Path:
    """`directory`/stem.html and its twin stem.md; the path of the former. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{stem}.md").write_text(page.markdown(), encoding="utf-8")
    path = directory / f"{stem}.html"
    path.write_text(page.html(), encoding="utf-8")
    return path


def _shown(value: object) -> object:
    """What a template prints of a value: texts without control characters; ready HTML as it is."""
    return visible(value) if type(value) is str else value


def _alt(text: str) -> str:
    """Of a picture: single brackets would end it."""
    if "\\" not in text and text.count("[") == text.count("]") and "](" not in text:
        return markdown(text)
    entities = {"[": "&#91;", "]": "&#93;"}
    return "".join(entities.get(part) or markdown(part) for part in re.split(r"([\[\]])", text))


def _sample(one: SampleBlock) -> str:
    """Texts as indented code, in which nothing is Markdown."""
    texts = [f"    {line}" for text in (one.prompt, one.response) for line in [*visible(text).splitlines(), ""]]
    return f"**{markdown(f'{one.where}, {one.title}')}.** {markdown(one.facts)}\n\n" + "\n".join(texts).rstrip()


def _bullet(item: Item) -> str:
    if isinstance(item, str):
        return f"- {markdown_paragraph(item)}"
    folded = [f"  - {markdown_paragraph(line)}" for group in item[2:] for line in group]
    return "\n".join([f"- **{markdown(item[0])}** {markdown(item[1])}", *folded])
