"""Learning curves, and what happened in the policy: means over seeds with 95% t bands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprli_lab.reporting.figures.palette import ArmStyle
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import Canvas, Layout, grid, legend, look, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import JUDGED, mean, t_quantile
from eprli_lab.tracking import names

AXES = {
    names.TOKENS: ("tokens", "generated training tokens (thousands)", 1e-3),
    names.UPDATES: ("updates", "updates", 1.0),
    names.TOTAL_SECONDS: ("seconds", "seconds of the run, evaluation included", 1.0),
}
SPREAD = f"band: 95% t interval from {JUDGED} seeds; thin: seeds"
POINTS = 60  # of the grid where seeds were evaluated at different places, and of long curves
FEW_SEEDS = 5  # up to so many, each is drawn,
FEW_ARMS = 4  # where arms are no more than these
Curve = list[tuple[float, float]]  # (place on the axis, value)
Array = NDArray[np.float64]


class Band(NamedTuple):
    """Mean over seeds and its 95% t interval, point by point (nan where one seed is all there is)."""

    x: Array
    mean: Array
    low: Array
    high: Array


def curve(run: RunData, metric: str, axis: str = names.TOKENS) -> Curve:
    """A metric against an axis, in the axis' unit (tokens in thousands)."""
    x, y = run.against(metric, axis)
    return list(zip((x * AXES[axis][2]).tolist(), y.tolist(), strict=True))


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Mean over seeds: point by point where all have as many points, else between points, over the common range."""
    mean_band = band(curves)
    return list(zip(mean_band.x.tolist(), mean_band.mean.tolist(), strict=True))


def band(curves: Sequence[Curve]) -> Band:
    """Mean and t band: on a common grid where the seeds' points are not as many, or are more than POINTS."""
    arrays = [np.array(sorted(c)) for c in curves if c]
    if not arrays:
        return Band(*[np.empty(0)] * 4)
    if len({len(a) for a in arrays}) == 1 and len(arrays[0]) <= POINTS:
        x = np.mean([a[:, 0] for a in arrays], axis=0)
        values = np.array([a[:, 1] for a in arrays])
    else:
        low = max(a[0, 0] for a in arrays)
        high = min(a[-1, 0] for a in arrays)
        x = np.linspace(low, max(low, high), POINTS)
        values = np.array([np.interp(x, a[:, 0], a[:, 1]) for a in arrays])
    centre = values.mean(axis=0)
    n = len(values)
    if n < 2:
        return Band(x, centre, *[np.full_like(centre, math.nan)] * 2)
    half = t_quantile(n - 1) * values.std(axis=0, ddof=1) / math.sqrt(n)
    return Band(x, centre, centre - half, centre + half)


Curves = Mapping[str, Sequence[Curve]]  # arm -> a curve a seed


def learning_curves(study: StudyData, baseline: str | None = None) -> Picture | None:
    """The objective over training, an arm's mean over seeds and its band; over tokens, updates and seconds."""
    arms = shown_arms(study, baseline)
    metric = objective_over_time(study)
    found = [_objective_over(study, arms, metric, axis) for axis in AXES]
    drawn = [p for p in found if p is not None]
    return replace(drawn[0], name="learning_curves", alternatives=drawn[1:]) if drawn else None


def objective_over_time(study: StudyData) -> str:
    """The objective; of the score that over the problems which every evaluation asks, where each run logged it."""
    is_common = study.objective == names.SCORE and all(names.COMMON_SCORE in r.histories for r in study.runs)
    return names.COMMON_SCORE if is_common else study.objective


def _objective_over(study: StudyData, arms: Sequence[str], metric: str, axis: str) -> Picture | None:
    word, label, _ = AXES[axis]
    of = {a: [curve(r, metric, axis) for r in study.of(a)] for a in arms}
    if not any(len(c) > 1 for curves in of.values() for c in curves):
        return None
    styles = look(study)
    ends = {a: mean([r.last(metric) for r in study.of(a)]) for a in arms}

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, 1, 1, 2.9)
        labels = figure.short(arms)
        for arm in arms:
            draw_curves(axes[0][0], of[arm], f"{labels[arm]} (n={len(of[arm])})", styles[arm], len(arms) <= FEW_ARMS)
        axes[0][0].set(xlabel=label, ylabel=study.objective, ylim=value_range(of))
        if axis == names.UPDATES:
            whole_numbers(axes[0][0])
        legend(figure, axes)
        return figure

    few = {r.params.get("evaluation.boundary_problems", "0") for r in study.runs} - {"0"}
    common = "; over the problems that every evaluation asks" if few and metric == names.COMMON_SCORE else ""
    title = f"Learning curves: {study.objective} over {word}{some(study, arms)}; mean over seeds; {SPREAD}{common}"
    alt = ", ".join(f"{a} {v:.3f}" for a, v in ends.items() if math.isfinite(v))
    rows = curve_rows(study, study.objective, of)
    return Picture(f"learning_curves_{word}", title, f"{study.objective} at the end: {alt}.", draw, rows, word)


def value_range(of: Curves) -> tuple[float, float]:
    """Every seed; of the bands, which few seeds make endless, half as much again to each side."""
    values = [v for curves in of.values() for points in curves for _, v in points]
    bands = [band(curves) for curves in of.values() if sum(1 for c in curves if c) >= JUDGED]
    ends = [v for b in bands for v in (*b.low, *b.high) if math.isfinite(v)] or values
    size = max(values) - min(values)
    low = max(min(values) - size / 2, min(*values, *ends))
    high = min(max(values) + size / 2, max(*values, *ends))
    room = 0.04 * (high - low) or 0.05
    return low - room, high + room


def curves_by_suite(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Accuracy of every suite over tokens: a panel a suite, an arm's mean over seeds and its band."""
    suites, arms, (_, label, _) = study.suites, shown_arms(study, baseline), AXES[names.TOKENS]
    of = {s: {a: [curve(r, names.accuracy(s)) for r in study.of(a)] for a in arms} for s in suites}
    if not any(c for by_arm in of.values() for curves in by_arm.values() for c in curves):
        return None
    styles = look(study)

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, len(suites), 3, 2.3, sharex=True, sharey=True)
        labels = figure.short(arms)
        for ax, suite in zip(axes.flat, suites, strict=False):
            for arm in arms:
                draw_curves(ax, of[suite][arm], labels[arm], styles[arm], len(arms) <= FEW_ARMS)
            ax.set_title(suite)
        lows, highs = zip(
            *(value_range(by_arm) for by_arm in of.values() if any(map(any, by_arm.values()))), strict=True
        )
        axes[0][0].set_ylim(min(lows), max(highs))
        figure.supxlabel(label)
        figure.supylabel("accuracy (avg_at_k)")
        legend(figure, axes)
        return figure

    ends = []
    for suite in suites:
        last = {a: mean([r.last(names.accuracy(suite)) for r in study.of(a)]) for a in arms}
        ends.append(f"{suite}: " + ", ".join(f"{a} {v:.3f}" for a, v in last.items() if math.isfinite(v)))
    few = {r.params.get("evaluation.boundary_problems", "0") for r in study.runs} - {"0"}
    partly = f"; between start and end over the first {', '.join(sorted(few))} problems" if few else ""
    title = f"Learning curves by suite{some(study, arms)}; mean over seeds; {SPREAD}{partly}"
    rows = [row for suite in suites for row in curve_rows(study, suite, of[suite])]
    return Picture("learning_curves_by_suite", title, f"Accuracy at the end. {'; '.join(ends)}.", draw, rows)


def whole_numbers(ax: Any) -> None:
    """Of an axis of counts."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))


def draw_curves(ax: Any, curves: Sequence[Curve], label: str, style: ArmStyle, is_each: bool = True) -> None:
    """One arm: its mean, its band from three seeds on, and each seed as a thin line where they are few."""
    mean_band = band(curves)
    if not len(mean_band.x):
        return
    marks = {"marker": style.marker, "markersize": 4, "markevery": max(1, len(mean_band.x) // 6)}
    ax.plot(mean_band.x, mean_band.mean, label=label, linewidth=1.8, **style.line, **marks)
    count = sum(1 for c in curves if c)
    if count >= JUDGED and np.isfinite(mean_band.low).any():
        ax.fill_between(mean_band.x, mean_band.low, mean_band.high, color=style.colour, alpha=0.13, linewidth=0)
    if 1 < count < JUDGED or (is_each and 1 < count <= FEW_SEEDS):
        for c in curves:
            if c:
                ax.plot(*zip(*c, strict=True), color=style.colour, linewidth=0.8, alpha=0.5)


def curve_rows(study: StudyData, panel: str, of: Curves) -> list[Row]:
    """Means with their bands, then every seed."""
    rows = []
    for arm, curves in of.items():
        rows += band_rows(panel, arm, "mean", curves)
        for run, points in zip(study.of(arm), curves, strict=True):
            rows += [Row(panel, arm, "seed", run.seed, x, y) for x, y in points]
    return rows


def band_rows(panel: str, arm: str, series: str, curves: Sequence[Curve]) -> list[Row]:
    """The mean over seeds and its band."""
    n = sum(1 for c in curves if c)
    points = zip(*(values.tolist() for values in band(curves)), strict=True)
    return [Row(panel, arm, series, "", x, y, low, high, n) for x, y, low, high in points]


DYNAMICS: tuple[tuple[str, str], ...] = (
    ("entropy", "entropy (nats a token)"),
    ("approx_kl", "KL to the sampling policy"),
    ("kl_ref", "KL to the reference"),
    ("clip_fraction/low", "clipped at the low bound"),
    ("clip_fraction/high", "clipped at the high bound"),
)


def over_levels(run: RunData, levels: Sequence[str], key: str) -> Curve:
    """A quantity of the policy, which each level logs while it trains, as one curve over updates."""
    return sorted(p for level in levels for p in curve(run, names.policy(level, key), names.UPDATES))


def dynamics(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Entropy, KL and clip fractions over updates: a panel a quantity, an arm's mean over seeds and its band."""
    arms = shown_arms(study, baseline)
    of = {key: {a: [over_levels(r, study.levels, key) for r in study.of(a)] for a in arms} for key, _ in DYNAMICS}
    kept = [(k, title) for k, title in DYNAMICS if any(c for a in arms for c in of[k][a])]
    if not kept:
        return None
    styles = look(study)

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, len(kept), 2, 2.0)
        labels = figure.short(arms)
        for ax, (key, title) in zip(axes.flat, kept, strict=False):
            for arm in arms:
                draw_curves(ax, of[key][arm], labels[arm], styles[arm], is_each=False)
            ax.set_title(title)
            ax.set_ylim(bottom=0)
            whole_numbers(ax)
        figure.supxlabel("updates")
        legend(figure, axes)
        return figure

    alt = []
    for key, title in kept:
        means = {a: np.mean([v for c in of[key][a] for _, v in c]) for a in arms if any(of[key][a])}
        alt.append(f"{title}: " + ", ".join(f"{a} {v:.2g}" for a, v in means.items()))
    title = f"Clip fractions, entropy and KL over updates{some(study, arms)}; mean over seeds; {SPREAD}"
    rows = [row for key, panel in kept for a in arms for row in band_rows(panel, a, "mean", of[key][a])]
    return Picture("clipping_entropy_kl", title, f"Means over all updates. {'; '.join(alt)}.", draw, rows)
