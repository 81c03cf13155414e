"""One look for all figures: Okabe-Ito colours with a line style and a marker each, so that grey print can be read."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from eprli_lab.escaping import figure as label
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import baselines, difference

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")  # Okabe and Ito
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX*"
WIDTH = 7.2  # inches: a column of A4, and what a phone can hold
MOST_ARMS = 8  # in one figure; more cannot be told apart
FONTS: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "savefig.facecolor": "white",
    "svg.hashsalt": "eprli_lab",  # the same figure is the same file
    "svg.fonttype": "none",  # text stays text: found, read aloud, and small
    "pdf.fonttype": 42,
}
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Picture:
    """A figure, its heading, and what it shows in words with its main numbers."""

    name: str  # file stem
    title: str
    alt: str
    figure: Figure


def panels(rows: int, columns: int, height: float, **more: Any) -> tuple[Figure, Any]:
    """A figure of WIDTH with `rows` x `columns` axes, each `height` inches high; axes as a 2-d array."""
    figure = Figure(figsize=(WIDTH, max(2.2, height * rows + 0.6)), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def styled(make: Callable[[], Picture | None]) -> Picture | None:
    """What `make` draws, in this look. The layout is settled once: every draw would move it by a hair."""
    with rc_context(FONTS):
        picture = make()
        if picture is not None:
            _write_out(picture.figure)
            picture.figure.draw_without_rendering()
            picture.figure.set_layout_engine("none")
        return picture


def _write_out(figure: Figure) -> None:
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


def write(picture: Picture, out_dir: Path, formats: Sequence[str] = ("png", "svg", "pdf")) -> list[Path]:
    """`out_dir/<name>.<format>` for every format; the same figure gives the same bytes."""
    files = []
    for form in formats:
        files.append(out_dir / f"{picture.name}.{form}")
        with rc_context(FONTS):
            picture.figure.savefig(files[-1], format=form, dpi=150, metadata=METADATA.get(form))
    return files


def svg(picture: Picture) -> str:
    """The figure as SVG text."""
    out = io.StringIO()
    with rc_context(FONTS):
        picture.figure.savefig(out, format="svg", dpi=150, metadata=METADATA["svg"])
    return out.getvalue()


def shown_arms(study: StudyData, baseline: str | None = None) -> list[str]:
    """Arms with runs: all, or the baselines and those that differ most from theirs, in the study's order."""
    arms = [a for a in study.arms if study.of(a)]
    if len(arms) <= MOST_ARMS:
        return arms
    compared_to = baselines(study, baseline)
    size = {a: abs(difference(study, a, b, study.objective).mean) for a, b in compared_to.items() if a in arms}
    kept = [a for a in arms if a not in compared_to][:2] or arms[:1]
    kept += sorted(size, key=lambda a: -size[a] if math.isfinite(size[a]) else math.inf)[: MOST_ARMS - len(kept)]
    return [a for a in arms if a in kept]


def some(study: StudyData, arms: Sequence[str]) -> str:
    """`8 of 50 arms` where a figure leaves some out."""
    count = sum(bool(study.of(a)) for a in study.arms)
    return f" ({len(arms)} of {count} arms)" if len(arms) < count else ""


def look(arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Arm -> colour, line style."""
    return {
        arm: {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i % len(STYLES)]} for i, arm in enumerate(arms)
    }


def legend(figure: Figure, axes: Any, **more: Any) -> None:
    """One legend above all panels, from the first panel that has entries."""
    for ax in axes.flat:
        handles, labels = ax.get_legend_handles_labels()
        if handles:
            columns = max(1, min(len(labels), 90 // (max(map(len, labels)) + 6)))
            figure.legend(handles, labels, loc="outside upper center", ncol=columns, frameon=False, **more)
            return


def hide(axes: Sequence[Any]) -> None:
    """Panels that nothing belongs to; a shared x axis is numbered on the panels above them."""
    for ax in axes:
        ax.set_visible(False)
        spec = ax.get_subplotspec()
        for other in ax.figure.axes:
            above = other.get_subplotspec()
            if above.colspan == spec.colspan and above.rowspan.stop == spec.rowspan.start:
                other.tick_params(labelbottom=True)
