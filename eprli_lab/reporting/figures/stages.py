"""Suites by training stage: what a level's training gave and took, and whether difficulty rises as it is named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eprli_lab.reporting.derived import sampled_levels
from eprli_lab.reporting.figures.palette import PAPER, SOFT
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import MOST_ROWS, Canvas, Layout, grid, legend, look, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.tracking import names
from eprli_lab.tracking.imported import TAG as IMPORTED

START = "start"  # the stage before training
ON_BRIGHT = "#010101"  # of a cell, whatever the page
ON_DARK = "#ffffff"
EVEN = 0.179  # luminance of a cell from which both stand out as well, by a contrast of 4.6


def stages(run: RunData, suite: str) -> dict[str, float]:
    """START, then each level in the order of its training -> accuracy at the last evaluation of that stretch.

    An evaluation belongs to the level that trained last before it.
    """
    trained = sorted((step, level) for level in sampled_levels([run]) for step in run.by_step(names.generated(level)))
    out: dict[str, float] = {}
    for step, value in sorted(run.by_step(names.accuracy(suite)).items()):
        before = [level for at, level in trained if at <= step]
        out[before[-1] if before else START] = value
    return out


def forgetting(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Accuracy by suite and stage, mean over seeds: a heat map an arm; only arms with more than one level."""
    accuracies: dict[str, dict[str, dict[str, float]]] = {}
    for arm in shown_arms(study, baseline):
        by_run = {s: [stages(r, s) for r in study.of(arm)] for s in study.suites}
        stage_names = list(dict.fromkeys(n for runs in by_run.values() for r in runs for n in r))
        if len(stage_names) > 2:
            accuracies[arm] = {
                s: {n: mean([r[n] for r in runs if n in r]) for n in stage_names} for s, runs in by_run.items()
            }
    if not accuracies:
        return None

    known = [v for by_suite in accuracies.values() for of in by_suite.values() for v in of.values() if math.isfinite(v)]
    low, high = (edge(10 * end(known)) / 10 for edge, end in ((math.floor, min), (math.ceil, max)))

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, len(accuracies), 2, 0.3 * len(study.suites) + 0.6)
        labels = figure.short(accuracies)
        for ax, (arm, by_suite) in zip(axes.flat, accuracies.items(), strict=False):
            _heat_map(ax, by_suite, low, high)
            ax.set_title(labels[arm])
        return figure

    worst: list[tuple[float, str]] = []
    for arm, by_suite in accuracies.items():
        for suite, of in by_suite.items():
            trained = list(of)
            falls = np.diff(list(of.values()))
            if len(falls) and np.isfinite(falls).any():
                at = int(np.nanargmin(falls))
                worst.append((float(falls[at]), f"{arm}: {suite} {falls[at]:+.3f} during level {trained[at + 1]}"))
    title = f"Forgetting: accuracy by suite at the start and after each level's training{some(study, list(accuracies))}"
    alt = f"The smallest change is {min(worst)[1]}." if worst else "No change is known."
    rows = [
        Row(arm, arm, suite, "", stage, value)
        for arm, by_suite in accuracies.items()
        for suite, of in by_suite.items()
        for stage, value in of.items()
    ]
    return Picture("forgetting", title, alt, draw, rows)


def _heat_map(ax: Any, by_suite: Mapping[str, Mapping[str, float]], low: float, high: float) -> None:
    """A row a suite, a column a stage; cells keep their colours on a dark page, and so does what is written in them."""
    stage_names = list(next(iter(by_suite.values())))
    cells = np.array([[of.get(n, math.nan) for n in stage_names] for of in by_suite.values()])
    mesh = ax.pcolormesh(cells, cmap="cividis", vmin=low, vmax=high, linewidth=0)
    for (i, j), value in np.ndenumerate(cells):
        if math.isfinite(value):
            colour = ON_BRIGHT if _luminance(mesh.to_rgba(value)[:3]) > EVEN else ON_DARK
            ax.text(j + 0.5, i + 0.5, f"{value:.2f}", ha="center", va="center_baseline", color=colour)
    ax.set_xticks(np.arange(len(stage_names)) + 0.5, [n if n == START else f"level {n}" for n in stage_names])
    ax.set_yticks(np.arange(len(by_suite)) + 0.5, list(by_suite))
    ax.tick_params(length=0)
    ax.invert_yaxis()
    ax.grid(visible=False)


def _luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, as WCAG 2.2 defines it."""
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def q_order(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Accuracy of each suite before and after training: does difficulty really rise from suite to suite?"""
    arms = [a for a in shown_arms(study, baseline, MOST_ROWS) if study.of(a)]
    ends = {
        (s, a): tuple(mean([end(r, names.accuracy(s)) for r in study.of(a)]) for end in (RunData.first, RunData.last))
        for s in study.suites
        for a in arms
    }
    if not any(math.isfinite(v) for pair in ends.values() for v in pair) or all(IMPORTED in r.tags for r in study.runs):
        return None  # of imported runs nobody said how hard a suite is
    styles = look(study)

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, len(study.suites), 4, 0.24 * len(arms) + 0.7, sharey=True, sharex=True)
        labels = figure.short(arms)
        for ax, suite in zip(axes.flat, study.suites, strict=False):
            for i, arm in enumerate(arms):
                before, after = ends[suite, arm]
                colour = styles[arm].colour
                ax.plot([before, after], [i, i], color=colour, linewidth=1.5)
                ax.plot([before], [i], styles[arm].marker, color=colour, markerfacecolor=PAPER, markersize=6)
                ax.plot([after], [i], styles[arm].marker, color=colour, markersize=6)
            ax.set_title(suite)
            ax.set_yticks(range(len(arms)), [labels[a] for a in arms])
            ax.set_ylim(len(arms) - 0.5, -0.5)
            ax.set_xlim(0, 1)
            ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        for mark, label in ((PAPER, "before training"), (SOFT, "after")):
            axes[0][0].plot([], [], "o", color=SOFT, markerfacecolor=mark, label=label)
        figure.supxlabel("accuracy (avg_at_k)")
        legend(figure, axes)
        return figure

    alt = "; ".join(
        f"{s} {mean([ends[s, a][0] for a in arms]):.3f} before, {mean([ends[s, a][1] for a in arms]):.3f} after"
        for s in study.suites
    )
    title = f"Does difficulty order accuracy? Held-out accuracy before and after{some(study, arms)}"
    rows = [
        Row(suite, arm, series, "", arm, value, n=len(study.of(arm)))
        for (suite, arm), pair in ends.items()
        for series, value in zip(("before training", "after training"), pair, strict=True)
    ]
    return Picture("q_order", title, f"Means over arms: {alt}.", draw, rows)
