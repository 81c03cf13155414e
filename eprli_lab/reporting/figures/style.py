"""One look for all figures: two layouts, for a page and for a phone, and what every panel has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

from eprli_lab.escaping import figure as label
from eprli_lab.reporting.figures.palette import GRID, INK, SOFT, ArmStyle, styles_of
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import baselines, difference

MOST_ARMS = 8  # lines in one figure; more cannot be told apart
MOST_ROWS = 24  # arms in a figure that gives each a row
LOOK: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "white",
    "text.hinting": "none",  # a text is as wide at every resolution
    "svg.hashsalt": "eprli_lab",  # the same figure is the same file
    "svg.fonttype": "none",  # text stays text: found, read aloud, and small
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Layout:
    """How wide a figure is, and how large its text is beside that."""

    name: str
    width: float  # inches, each 72 units of the SVG
    size: float  # points of the text, every one
    label: int  # characters of an arm's name; longer ones are shortened
    line: int  # characters from side to side

    @property
    def look(self) -> Any:
        """matplotlib's parameters, for drawing and for writing: ticks are made when they are drawn."""
        sizes = ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize")
        return LOOK | dict.fromkeys([*sizes, "legend.fontsize", "figure.labelsize"], self.size)

    @property
    def is_narrow(self) -> bool:
        """For a phone?"""
        return self is NARROW


# A page of 640 pixels gives WIDE 600 or so: 1.16 pixels a unit; a phone of 390 gives NARROW 340 or more: 1.35.
WIDE = Layout("wide", width=7.2, size=9.6, label=28, line=84)
NARROW = Layout("narrow", width=3.5, size=8.6, label=16, line=44)


class Canvas(Figure):
    """A matplotlib figure that knows its layout, and what its shortened labels stand for."""

    layout_of: Layout
    full: dict[str, str]

    def short(self, arms: Iterable[str], most: int | None = None) -> dict[str, str]:
        """Arm -> its label, at most so many characters (the layout's by default), unlike that of any other."""
        labels = shortened(arms, most or self.layout_of.label)
        self.full |= {text: arm for arm, text in labels.items()}
        return labels


def shortened(names: Iterable[str], most: int) -> dict[str, str]:
    """Name -> itself, or its two ends with an ellipsis between: names of arms differ at an end. All differ."""
    out: dict[str, str] = {}
    for name in dict.fromkeys(names):
        text = " ".join(label(name).split())
        if len(text) > most:
            tail = (most - 1) // 2
            text = f"{text[: most - 1 - tail]}…{text[-tail:]}"
        number = 2
        base = text
        while text in out.values():
            text = f"{base} ({number})"
            number += 1
        out[name] = text
    return out


def panels(layout: Layout, rows: int, columns: int, height: float, **more: Any) -> tuple[Canvas, Any]:
    """A figure with `rows` x `columns` axes, each `height` inches high; axes as a 2-d array."""
    figure = Canvas(figsize=(layout.width, max(2.0, height * rows + 0.6)), layout="constrained")
    figure.layout_of = layout
    figure.full = {}
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def grid(layout: Layout, count: int, columns: int, height: float, narrow: int = 1, **more: Any) -> tuple[Canvas, Any]:
    """`count` panels in at most `columns` columns, `narrow` of them on a phone; what is left over is hidden."""
    rows = math.ceil(count / (narrow if layout.is_narrow else columns))
    wide = math.ceil(count / rows)  # as even as so many rows can be
    figure, axes = panels(layout, rows, wide, height, **more)
    hide(list(axes.flat)[count:])
    return figure, axes


def settled(figure: Canvas) -> Canvas:
    """Its labels as they are to be read and its layout fixed: every draw would move it by a hair."""
    _write_out(figure)
    layout: Any = figure.get_layout_engine()
    layout.execute(figure)
    figure.set_layout_engine(None)  # "none" would leave one behind, for which each savefig draws everything twice
    return figure


def _write_out(figure: Canvas) -> None:
    """Labels as they are: no maths between two $ of a name, and control characters written out."""
    from matplotlib.ticker import FuncFormatter

    texts: Any = figure.findobj(Text)
    if any("$" in t.get_text() for t in texts):  # no tick of a logarithmic axis has its text yet
        for t in texts:
            t.set_parse_math(False)
    for t in texts:
        if t.get_text() != (shown := label(t.get_text())):
            t.set_text(shown)
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            names: Any = axis.get_major_formatter()
            if isinstance(names, FuncFormatter):  # labels that were given for ticks
                axis.set_major_formatter(FuncFormatter(lambda x, i, names=names: label(names(x, i))))


def shown_arms(study: StudyData, baseline: str | None = None, most: int = MOST_ARMS) -> list[str]:
    """Arms with runs: all, or the baselines and those that differ most from theirs, in the study's order."""
    arms = [a for a in study.arms if study.of(a)]
    if len(arms) <= most:
        return arms
    compared_to = baselines(study, baseline)
    size = {a: abs(difference(study, a, b, study.objective).mean) for a, b in compared_to.items() if a in arms}
    kept = [a for a in arms if a not in compared_to][:2] or arms[:1]
    kept += sorted(size, key=lambda a: -size[a] if math.isfinite(size[a]) else math.inf)[: most - len(kept)]
    return [a for a in arms if a in kept]


def some(study: StudyData, arms: Sequence[str]) -> str:
    """`8 of 50 arms` where a figure leaves some out."""
    count = sum(bool(study.of(a)) for a in study.arms)
    return f" ({len(arms)} of {count} arms)" if len(arms) < count else ""


def look(study: StudyData) -> dict[str, ArmStyle]:
    """Arm -> its look, the same in every figure of the study, whichever arms are shown."""
    return styles_of(study.arms)


def legend(figure: Canvas, axes: Any, **more: Any) -> None:
    """One legend above all panels, with the entries of the panel that has most."""
    entries = [ax.get_legend_handles_labels() for ax in axes.flat]
    handles, labels = max(entries, key=lambda e: len(e[1]))
    if handles:
        layout = figure.layout_of
        entry = 0.62 * layout.size * max(map(len, labels)) + 36  # units: letters, the line and the gap
        rows = math.ceil(len(labels) / max(1, int(72 * layout.width / entry)))
        columns = math.ceil(len(labels) / rows)
        figure.legend(
            handles, labels, loc="outside upper left", ncol=columns, frameon=False, columnspacing=1.2,
            handlelength=2.4, borderaxespad=0.2, **more,
        )  # fmt: skip


def hide(axes: Sequence[Any]) -> None:
    """Panels that nothing belongs to; a shared x axis is numbered on the panels above them."""
    for ax in axes:
        ax.set_visible(False)
        spec = ax.get_subplotspec()
        for other in ax.figure.axes:
            above = other.get_subplotspec()
            if above.colspan == spec.colspan and above.rowspan.stop == spec.rowspan.start:
                other.tick_params(labelbottom=True)
