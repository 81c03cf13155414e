"""Compute curves: what an arm's evaluations measured over tokens, and the saturating curve through them."""

from __future__ import annotations

from typing import Any

import numpy as np

from eprli_lab.reporting.compute import ComputeCurves, compute_curves
from eprli_lab.reporting.figures.palette import INK, ArmStyle
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import Canvas, Layout, legend, look, panels, shown_arms, some
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.reporting.stats.scaling import Scaling

BEYOND = 1.5  # budgets: how far a curve with an asymptote is drawn
LOG_FROM = 30.0  # last place / first place, from which the axis is logarithmic: the start cannot stand on it
THOUSAND = 1e3


def scaling(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Points per seed and a curve an arm; dashed where nothing was measured, with the asymptote's 95% interval."""
    curves = compute_curves(study)
    arms = [a for a in shown_arms(study, baseline) if a in curves.of]
    if not any(a in curves.fitted for a in arms):
        return None
    styles = look(study)
    places = np.concatenate([r.tokens for a in arms for r in curves.runs[a]])
    is_log = bool(places.max() / places.min() >= LOG_FROM)

    def draw(layout: Layout) -> Canvas:
        figure, axes = panels(layout, 1, 1, 3.1)
        ax = axes[0][0]
        labels = figure.short(arms)
        for rank, arm in enumerate(arms):
            style = styles[arm]
            for run in curves.runs[arm]:
                ax.plot(run.tokens / THOUSAND, run.scores, style.marker, color=style.colour, markersize=3.5, alpha=0.55)
            _draw(ax, curves, arm, labels[arm], style, rank, is_log)
        if is_log:
            ax.set_xscale("log")
        else:
            ax.set_xlim(left=0)
            start = mean([curves.start[a] for a in arms])
            ax.plot([0], [start], "|", color=INK, markersize=9, clip_on=False)
        ax.set(xlabel="generated training tokens (thousands)", ylabel="score")
        legend(figure, axes)
        return figure

    is_told = any(not curves.fitted[a].open_end for a in arms if a in curves.fitted)
    beyond = "; dashed: beyond the budget, nothing measured; bars: 95% interval of the asymptote" if is_told else ""
    title = f"Compute curves{some(study, arms)}; points: seeds; dotted: before the first evaluation{beyond}"
    rows = [row for arm in arms for row in _rows(study, curves, arm)]
    return Picture("compute_curves", title, f"{'; '.join(_words(curves, a) for a in arms)}.", draw, rows)


def _draw(
    ax: Any, curves: ComputeCurves, arm: str, label: str, style: ArmStyle, rank: int, is_log: bool
) -> None:  # fmt: skip
    """One arm's curve; of an arm that carries none its points stand alone, named in the legend."""
    found = curves.of[arm]
    colour = style.colour
    if not isinstance(found, Scaling):
        ax.plot([], [], style.marker, color=colour, label=f"{label} (no curve)")
        return
    if not is_log:
        before = np.linspace(found.budget / 200, found.first, 60)
        ax.plot(before / THOUSAND, found.curve.at(before), ":", color=colour, linewidth=1.2)
    inside = np.linspace(found.first, found.budget, 100)
    told = " (no asymptote)" if found.open_end else ""
    marks = {"marker": style.marker, "markersize": 5, "markevery": [len(inside) - 1]}
    ax.plot(
        inside / THOUSAND, found.curve.at(inside), "-", color=colour, linewidth=1.8, label=f"{label}{told}", **marks
    )
    if found.open_end:
        return
    outside = np.linspace(found.budget, BEYOND * found.budget, 30)
    ax.plot(outside / THOUSAND, found.curve.at(outside), "--", color=colour, linewidth=1.2)
    place = found.budget * (BEYOND + 0.05 + 0.03 * rank) / THOUSAND
    ax.plot([place, place], [found.asymptote.low, found.asymptote.high], "-", color=colour, linewidth=1.5)
    ax.plot([place], [found.asymptote.value], style.marker, color=colour, markersize=5)


def _rows(study: StudyData, curves: ComputeCurves, arm: str) -> list[Row]:
    """Its points seed by seed, the curve, and its asymptote."""
    out = [
        Row("", arm, "seed", seed, float(x) / THOUSAND, float(y))
        for seed, run in zip(_seeds(study, curves, arm), curves.runs[arm], strict=True)
        for x, y in zip(run.tokens, run.scores, strict=True)
    ]
    found = curves.of[arm]
    if isinstance(found, Scaling):
        inside = np.linspace(found.first, found.budget, 20)
        out += [
            Row("", arm, "curve", "", float(x) / THOUSAND, float(y))
            for x, y in zip(inside, found.curve.at(inside), strict=True)
        ]
        if not found.open_end:
            e = found.asymptote
            out.append(Row("", arm, "asymptote", "", "", e.value, e.low, e.high, len(curves.runs[arm])))
    return out


def _seeds(study: StudyData, curves: ComputeCurves, arm: str) -> list[int | str]:
    """The seed of each of its runs; empty where some gave no points."""
    runs = study.of(arm)
    return [r.seed for r in runs] if len(runs) == len(curves.runs[arm]) else [""] * len(curves.runs[arm])


def _words(curves: ComputeCurves, arm: str) -> str:
    found = curves.of[arm]
    if not isinstance(found, Scaling):
        return f"{arm}: no curve"
    reached = found.tokens_to(curves.target).value
    places = f"{reached:,.0f}" if reached <= found.budget else f"over {found.budget:,.0f}"
    words = f"{places} tokens to {curves.target:.3f}"
    if found.open_end:
        return f"{arm}: {words}, no asymptote told"
    e = found.asymptote
    return f"{arm}: asymptote {e.value:.3f} [{e.low:.3f}, {e.high:.3f}], {words}"
