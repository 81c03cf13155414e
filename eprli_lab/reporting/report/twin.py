"""A report as Markdown: the same as the page, in the same order; figures are links to the PNG files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from eprli_lab.escaping import markdown, markdown_paragraph, visible
from eprli_lab.reporting.report.parts import Answer, FigureBlock, Item, SampleBlock, Section
from eprli_lab.reporting.tables.document import TableBlock
from eprli_lab.reporting.tables.printers.markdown import print_table


def answers(given: Sequence[Answer]) -> list[str]:
    """A list of what a reader can quote; nothing where nothing is compared."""
    lines = [f"- **{markdown(a.sentence)}.**{f' {markdown(capitalised(a.says))}.' if a.says else ''}" for a in given]
    return ["\n".join(lines)] if lines else []


def section(s: Section) -> Iterator[str]:
    """The paragraphs of a section, its heading first."""
    yield f"## {markdown(s.title)}"
    yield from map(markdown_paragraph, s.text)
    yield from _bullets(s.items)
    yield from map(_figure, s.figures)
    yield from _tables(s.tables)
    yield from map(_sample, s.samples)
    for fold in s.folds:
        yield f"### {markdown(fold.title)}"
        yield from _bullets(fold.items)
        yield from map(_figure, fold.figures)
        yield from _tables(fold.tables, "####")


def capitalised(text: str) -> str:
    """Its first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def _tables(tables: Sequence[TableBlock], mark: str = "###") -> Iterator[str]:
    for t in tables:
        if len(tables) > 1:
            yield f"{mark} {markdown(t.title[0].upper() + t.title[1:])}"
        yield print_table(t)


def _bullets(items: Sequence[Item]) -> Iterator[str]:
    if items:
        yield "\n".join(map(_bullet, items))


def _bullet(item: Item) -> str:
    if isinstance(item, str):
        return f"- {markdown_paragraph(item)}"
    folded = [f"  - {markdown_paragraph(line)}" for group in item[2:] for line in group]
    return "\n".join([f"- **{markdown(item[0])}** {markdown(item[1])}", *folded])


def _figure(f: FigureBlock) -> str:
    others = ", ".join(f"[{markdown(v.label)}]({v.name}.png)" for v in f.views[1:])
    more = f" Against {others}." if others else ""
    return f"![{_alt(f.alt)}]({f.name}.png)\n\n*{markdown(f.title)}*{more}"


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
