"""A figure: its words, its data and how it is drawn; and what becomes of it in a page, on disk and in a paper."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from eprli_lab.reporting.figures.rows import Row, as_csv
from eprli_lab.reporting.figures.style import NARROW, WIDE, Canvas, Layout, settled
from eprli_lab.reporting.figures.theme import themed

METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Picture:
    """What a maker answers: a figure that is drawn when it is asked for, in the layout that is asked for."""

    name: str  # file stem
    title: str
    alt: str  # what it shows in words, with its main numbers
    draw: Callable[[Layout], Canvas] = field(repr=False)
    rows: Sequence[Row] = field(repr=False)  # its data
    option: str = ""  # its word in a switch between it and its alternatives
    alternatives: Sequence[Picture] = ()  # the same over another axis

    @cached_property
    def figure(self) -> Canvas:
        """As matplotlib's, in the wide layout."""
        return self.on(WIDE)

    def on(self, layout: Layout) -> Canvas:
        """Drawn anew in a layout, which is settled once: every draw would move it by a hair."""
        with rc_context(layout.look):
            return settled(self.draw(layout))


@dataclass(frozen=True)
class Figure:
    """A figure as a page holds it: text only, the same bytes of the same data."""

    name: str  # file stem, id
    title: str
    alt: str
    svg_wide: str  # inline <svg>: follows the page's colours and font
    svg_narrow: str  # the same for pages narrower than BREAK
    csv: str  # its data, columns as rows.FIELDS
    option: str = ""
    alternatives: tuple[Figure, ...] = ()


def rendered(picture: Picture) -> Figure:
    """For a page."""
    wide, narrow = (_for_page(picture, layout) for layout in (WIDE, NARROW))
    others = tuple(rendered(p) for p in picture.alternatives)
    return Figure(picture.name, picture.title, picture.alt, wide, narrow, as_csv(picture.rows), picture.option, others)


def _for_page(picture: Picture, layout: Layout) -> str:
    drawn = picture.figure if layout is WIDE else picture.on(layout)
    return themed(raw_svg(drawn), f"{picture.name}-{layout.name}", picture.title, picture.alt, drawn.full)


def write(picture: Picture, out_dir: Path, formats: Sequence[str] = ("png", "svg", "pdf")) -> list[Path]:
    """`out_dir/<name>.<format>` for every format, of its alternatives too; the same figure gives the same bytes.

    They are for paper and for pages that are light: colours are as drawn. `csv`: its data.
    """
    files = []
    for one in (picture, *picture.alternatives):
        for form in formats:
            files.append(out_dir / f"{one.name}.{form}")
            if form == "csv":
                files[-1].write_text(as_csv(one.rows), encoding="utf-8")
            else:
                with rc_context(WIDE.look):
                    one.figure.savefig(files[-1], format=form, dpi=150, metadata=METADATA.get(form))
    return files


def raw_svg(figure: Canvas) -> str:
    """As matplotlib writes it, text as text."""
    out = io.StringIO()
    with rc_context(figure.layout_of.look):
        figure.savefig(out, format="svg", metadata=METADATA["svg"], facecolor="none")
    return out.getvalue()
