"""Compute curves: what an arm's evaluations measured over tokens, and the saturating curve through them."""

from __future__ import annotations

import math

import numpy as np

from eprli_lab.reporting.compute import ComputeCurves, compute_curves
from eprli_lab.reporting.figures.style import MARKERS, Picture, legend, look, panels, shown_arms, some
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
    figure, axes = panels(1, 1, 3.4)
    ax = axes[0][0]
    styles = look(arms)
    places = np.concatenate([r.tokens for a in arms for r in curves.runs[a]])
    is_log = places.max() / places.min() >= LOG_FROM
    for i, arm in enumerate(arms):
        colour = styles[arm]["color"]
        marker = MARKERS[i % len(MARKERS)]
        for run in curves.runs[arm]:
            ax.plot(run.tokens / THOUSAND, run.scores, marker, color=colour, markersize=3.5, alpha=0.55)
        _draw(ax, curves, arm, colour, i, is_log)
    if is_log:
        ax.set_xscale("log")
    else:
        ax.set_xlim(left=0)
        ax.plot([0], [mean([curves.start[a] for a in arms])], "k|", markersize=9, clip_on=False)
    ax.set(xlabel="generated training tokens (thousands)", ylabel="score")
    legend(figure, axes)
    is_told = any(not curves.fitted[a].open_end for a in arms if a in curves.fitted)
    beyond = "; dashed: beyond the budget, nothing measured; bars: 95% interval of the asymptote" if is_told else ""
    title = f"Compute curves{some(study, arms)}; points: seeds; dotted: before the first evaluation{beyond}"
    return Picture("compute_curves", title, f"{'; '.join(_words(curves, a) for a in arms)}.", figure)


def _draw(ax: object, curves: ComputeCurves, arm: str, colour: str, rank: int, is_log: bool) -> None:
    """One arm's curve; of an arm that carries none its points stand alone, named in the legend."""
    plot = ax.plot  # type: ignore[attr-defined]
    found = curves.of[arm]
    if not isinstance(found, Scaling):
        plot([], [], MARKERS[rank % len(MARKERS)], color=colour, label=f"{arm} (no curve)")
        return
    if not is_log:
        before = np.linspace(found.budget / 200, found.first, 100)
        plot(before / THOUSAND, found.curve.at(before), ":", color=colour, linewidth=1.2)
    inside = np.linspace(found.first, found.budget, 200)
    told = " (no asymptote)" if found.open_end else ""
    plot(inside / THOUSAND, found.curve.at(inside), "-", color=colour, linewidth=1.8, label=f"{arm}{told}")
    if found.open_end:
        return
    outside = np.linspace(found.budget, BEYOND * found.budget, 50)
    plot(outside / THOUSAND, found.curve.at(outside), "--", color=colour, linewidth=1.2)
    place = found.budget * (BEYOND + 0.05 + 0.03 * rank) / THOUSAND
    plot([place, place], [found.asymptote.low, found.asymptote.high], "-", color=colour, linewidth=1.5)
    plot([place], [found.asymptote.value], MARKERS[rank % len(MARKERS)], color=colour, markersize=5)


def _words(curves: ComputeCurves, arm: str) -> str:
    found = curves.of[arm]
    if not isinstance(found, Scaling):
        return f"{arm}: no curve"
    reached = found.tokens_to(curves.target).value
    words = f"{reached:,.0f} tokens to {curves.target:.3f}" if math.isfinite(reached) else f"never {curves.target:.3f}"
    if found.open_end:
        return f"{arm}: {words}, no asymptote told"
    e = found.asymptote
    return f"{arm}: asymptote {e.value:.3f} [{e.low:.3f}, {e.high:.3f}], {words}"
