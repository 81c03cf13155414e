"""What the buffer did at each level: verdicts over training, and how much rewards vary within and between groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eprli_lab.records import VERDICTS
from eprli_lab.reporting.derived import admission_rate, sampled_levels
from eprli_lab.reporting.derived import reward_variance as variance_over_runs
from eprli_lab.reporting.figures.curves import Curve, band, band_rows, curve
from eprli_lab.reporting.figures.palette import INK, MARKERS, ArmStyle, shade
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import Canvas, Layout, grid, hide, legend, look, panels, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.tracking import names

REJECTED = {
    "too_hard": 0.62,
    "too_easy": 0.36,
    "no_signal": 0.17,
    "errored": 1.0,
}  # opacity of ink; admitted: the arm's
BINS = 24  # of the token axis
LINES = 0.6  # the lightest shade in which a line is seen on every page
KINDS = ("within", "between")  # groups


def buffer_rates(runs: Sequence[RunData], level: str, edges: Sequence[float]) -> dict[str, list[float]]:
    """Verdict -> groups per thousand tokens in each bin of the token axis (edges in thousands), mean over runs.

    A step's groups are spread over the tokens that it generated, so that bins and steps do not beat: the count up to a
    place on the axis is read between the steps, and a bin holds the difference of its ends.
    """
    wide = np.diff(edges)
    out: dict[str, list[float]] = {}
    for verdict in VERDICTS:
        total = np.zeros(len(edges) - 1)
        for run in runs:
            groups = run.histories.get(names.groups(level, verdict))
            tokens = run.histories.get(names.TOKENS)
            if groups is None or tokens is None:
                continue
            after = np.interp(groups.steps, tokens.steps, tokens.values) / 1000
            place = np.searchsorted(tokens.steps, groups.steps)
            before = np.concatenate([[0.0], tokens.values])[place] / 1000
            for left, right, count in zip(before, after, groups.values, strict=True):
                if count and right > left:
                    inside = np.clip(np.minimum(edges[1:], right) - np.maximum(edges[:-1], left), 0, None)
                    total += count * inside / (right - left)
        out[verdict] = (total / wide / max(1, len(runs))).tolist()
    return out


def has(study: StudyData, arm: str, level: str) -> bool:
    """Did any run of the arm sample at this level?"""
    return level in sampled_levels(study.of(arm))


def buffer(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Groups admitted and rejected over training, stacked: a panel an arm and level, mean over seeds."""
    arms = [a for a in shown_arms(study, baseline) if any(has(study, a, lv) for lv in study.levels)]
    levels = study.levels[:6]
    totals = [t for r in study.runs if math.isfinite(t := r.last(names.TOKENS))]
    if not arms or not totals:
        return None
    edges = np.linspace(0, max(totals) / 1000, BINS + 1)
    styles = look(study)
    rates = {(a, lv): buffer_rates(study.of(a), lv, edges.tolist()) for a in arms for lv in levels if has(study, a, lv)}

    def draw(layout: Layout) -> Canvas:
        if layout.is_narrow:
            figure, axes = grid(layout, len(rates), 2, 1.2, narrow=2, sharex=True, sharey=True)
            places = dict(zip(rates, axes.flat, strict=False))
        else:
            figure, axes = panels(layout, len(arms), len(levels), 1.15, sharex=True, sharey=True)
            places = {(a, lv): axes[i][j] for i, a in enumerate(arms) for j, lv in enumerate(levels)}
            hide([ax for key, ax in places.items() if key not in rates])
        labels = figure.short(arms, 12 if layout.is_narrow or len(levels) > 3 else 20)
        for (arm, level), of in rates.items():
            ax = places[arm, level]
            _stack(ax, of, edges.tolist(), styles[arm])
            ax.set_title(f"{labels[arm]}, level {level}")
        figure.supxlabel("generated training tokens (thousands)")
        figure.supylabel("groups per thousand tokens")
        legend(figure, axes)
        return figure

    alt = ", ".join(f"{a} at level {lv} {admission_rate(study.of(a), lv):.2f}" for a, lv in rates)
    title = f"What the buffer admitted (in the arm's colour) and rejected (greys){some(study, arms)}; mean over seeds"
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    rows = [
        Row(f"{arm}, level {level}", arm, verdict, "", x, y)
        for (arm, level), of in rates.items()
        for verdict, counts in of.items()
        if any(counts)
        for x, y in zip(middles, counts, strict=True)
    ]
    return Picture("buffer", title, f"Admitted groups / generated groups: {alt}.", draw, rows)


def _stack(ax: Any, rates: Mapping[str, Sequence[float]], edges: Sequence[float], style: ArmStyle) -> None:
    """Admitted groups in the arm's colour, upon them the rejected ones; what never was is left out."""
    below = np.zeros(len(edges) - 1)
    for verdict, counts in rates.items():
        rejected = REJECTED.get(verdict)
        if verdict == "errored" and not any(counts):
            continue
        ax.stairs(
            below + counts, edges, baseline=below, fill=True, color=style.colour if rejected is None else INK,
            alpha=rejected, linewidth=0, label=verdict.replace("_", " "),
        )  # fmt: skip
        below = below + counts


def reward_variance(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Variance of rewards within groups and between groups' means over training: a panel an arm, a line a level."""
    arms = [a for a in shown_arms(study, baseline) if any(has(study, a, lv) for lv in study.levels)]
    of = {
        (a, lv, k): [curve(r, names.reward_variance(lv, k)) for r in study.of(a)]
        for a in arms
        for lv in study.levels
        for k in KINDS
    }
    if not any(c for curves in of.values() for c in curves):
        return None
    styles = look(study)

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, len(arms), 3, 1.9, sharex=True, sharey=True)
        labels = figure.short(arms)
        for ax, arm in zip(axes.flat, arms, strict=False):
            for rank, level in enumerate(study.levels):
                for kind in KINDS:
                    _draw_level(ax, of[arm, level, kind], level, kind, rank, len(study.levels), styles[arm])
            ax.set_title(labels[arm])
        axes[0][0].set_ylim(bottom=0)  # of all panels, and once all are drawn: it ends the scaling to what is drawn
        figure.supxlabel("generated training tokens (thousands)")
        figure.supylabel("reward variance")
        legend(figure, axes)
        return figure

    alt = []
    for arm in arms:
        for level in study.levels:
            means = [variance_over_runs(study.of(arm), level, k) for k in KINDS]
            if math.isfinite(means[0]):
                between = f", {means[1]:.3g} between" if math.isfinite(means[1]) else ""
                alt.append(f"{arm} at level {level} {means[0]:.3g} within{between}")
    title = (
        "Reward variance within groups (lines) and between them (dotted); levels by marker, the harder the "
        f"stronger{some(study, arms)}"
    )
    rows = [row for (a, lv, k), curves in of.items() for row in band_rows(a, a, f"level {lv}, {k}", curves)]
    return Picture("reward_variance", title, f"Means over training: {'; '.join(alt)}.", draw, rows)


def _draw_level(
    ax: Any, curves: Sequence[Curve], level: str, kind: str, rank: int, count: int, style: ArmStyle
) -> None:  # fmt: skip
    """The mean over seeds, in the arm's colour: the level's marker and shade, dotted between groups."""
    mean_band = band(curves)
    if not len(mean_band.x):
        return
    is_within = kind == "within"
    marks: dict[str, Any] = {"marker": MARKERS[rank % len(MARKERS)], "markersize": 4} if is_within else {}
    ax.plot(
        mean_band.x, mean_band.mean, "-" if is_within else ":", color=style.colour, linewidth=1.6,
        alpha=shade(rank, count, LINES), markevery=max(1, len(mean_band.x) // 4),
        label=f"level {level}" if is_within else None, **marks,
    )  # fmt: skip
