"""What the buffer did at each level: verdicts over training, and how much rewards vary within and between groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eprli_lab.records import VERDICTS
from eprli_lab.reporting.derived import admission_rate, sampled_levels
from eprli_lab.reporting.derived import reward_variance as variance_over_runs
from eprli_lab.reporting.figures.curves import band, curve
from eprli_lab.reporting.figures.style import Picture, hide, legend, panels, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.tracking import names

VERDICT_COLOURS = {
    "admitted": "#009E73",
    "too_hard": "#D55E00",
    "too_easy": "#56B4E9",
    "no_signal": "#BBBBBB",
    "errored": "#000000",
}
HATCHES = {"too_hard": "////", "too_easy": "....", "no_signal": "", "admitted": "", "errored": ""}
BINS = 24  # of the token axis


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
    figure, axes = panels(len(arms), len(levels), 1.25, sharex=True, sharey=True)
    alt = []
    for i, arm in enumerate(arms):
        for j, level in enumerate(levels):
            ax = axes[i][j]
            if not has(study, arm, level):
                ax.set_axis_off()
                continue
            below = np.zeros(BINS)
            for verdict, counts in buffer_rates(study.of(arm), level, edges.tolist()).items():
                ax.stairs(
                    below + counts, edges, baseline=below, fill=True, color=VERDICT_COLOURS[verdict],
                    linewidth=0, hatch=HATCHES[verdict], edgecolor="white", label=verdict.replace("_", " "),
                )  # fmt: skip
                below = below + counts
            ax.set_title(f"{arm}, level {level}", loc="left", fontsize=8.5)
            alt.append(f"{arm} at level {level} {admission_rate(study.of(arm), level):.2f}")
    figure.supxlabel("generated training tokens (thousands)", fontsize=9)
    figure.supylabel("groups per thousand tokens", fontsize=9)
    legend(figure, axes)
    title = f"What the buffer admitted and rejected{some(study, arms)}"
    return Picture("buffer", title, f"Admitted groups / generated groups: {', '.join(alt)}.", figure)


def reward_variance(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Variance of rewards within groups and between groups' means over training: a panel an arm, a line a level."""
    arms = [a for a in shown_arms(study, baseline) if any(has(study, a, lv) for lv in study.levels)]
    kinds = {"within": "-", "between": ":"}
    of = {
        (a, lv, k): [curve(r, names.reward_variance(lv, k)) for r in study.of(a)]
        for a in arms
        for lv in study.levels
        for k in kinds
    }
    if not any(c for curves in of.values() for c in curves):
        return None
    columns = min(3, len(arms))
    figure, axes = panels(math.ceil(len(arms) / columns), columns, 1.9, sharex=True, sharey=True)
    colours = dict(zip(study.levels, ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000"), strict=False))
    alt = []
    for ax, arm in zip(axes.flat, arms, strict=False):
        for level in [lv for lv in study.levels if lv in colours]:
            for kind, style in kinds.items():
                mean_band = band(of[arm, level, kind])
                ax.plot(
                    mean_band.x,
                    mean_band.mean,
                    style,
                    color=colours[level],
                    linewidth=1.6,
                    label=f"level {level}" if kind == "within" else None,
                )
            means = [variance_over_runs(study.of(arm), level, k) for k in kinds]
            if math.isfinite(means[0]):
                between = f", {means[1]:.3g} between" if math.isfinite(means[1]) else ""
                alt.append(f"{arm} at level {level} {means[0]:.3g} within{between}")
        ax.set_title(arm)
    axes[0][0].set_ylim(bottom=0)  # of all panels, and once all are drawn: it ends the scaling to what is drawn
    hide(list(axes.flat)[len(arms) :])
    figure.supxlabel("generated training tokens (thousands)", fontsize=9)
    figure.supylabel("reward variance", fontsize=9)
    fullest = max(axes.flat, key=lambda ax: len(ax.get_legend_handles_labels()[1]))
    legend(figure, np.array([fullest]))
    title = f"Reward variance within groups (lines) and between them (dotted), by level{some(study, arms)}"
    return Picture("reward_variance", title, f"Means over training: {'; '.join(alt)}.", figure)
