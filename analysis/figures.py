"""Learning curves and what the buffer did, as PNG. Colours can be told apart by colour-blind readers (Okabe-Ito)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from analysis.store import RunData, StudyData
from eprli_lab.records import VERDICTS

ARM_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800")
ARM_STYLES = ("-", "--", "-.", ":")  # a second round of colours changes the line
VERDICT_COLOURS = {
    "admitted": "#009E73",
    "too_hard": "#D55E00",
    "too_easy": "#56B4E9",
    "no_signal": "#BBBBBB",
    "errored": "#000000",
}
BINS = 24  # of the token axis in the buffer's figure
Curve = list[tuple[float, float]]  # (thousands of tokens, value)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({
        "font.size": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.6,
        "savefig.dpi": 150,
        "savefig.facecolor": "white",
    })  # fmt: skip
    return plt


def curve(run: RunData, metric: str) -> Curve:
    """A metric against thousands of generated training tokens."""
    tokens = run.by_step("progress/tokens")
    return [(tokens[s] / 1000, v) for s, v in sorted(run.by_step(metric).items()) if s in tokens and math.isfinite(v)]


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Mean over seeds: point by point where all have as many points, else between points, over the common range."""
    curves = [c for c in curves if c]
    if not curves:
        return []
    if len({len(c) for c in curves}) == 1:
        return [
            (sum(p[0] for p in points) / len(curves), sum(p[1] for p in points) / len(curves))
            for points in zip(*curves, strict=True)
        ]
    import numpy as np

    grid = np.linspace(max(c[0][0] for c in curves), min(c[-1][0] for c in curves), 25)
    values = np.mean([np.interp(grid, [p[0] for p in c], [p[1] for p in c]) for c in curves], axis=0)
    return [(float(x), float(y)) for x, y in zip(grid, values, strict=True)]


def learning_curves(study: StudyData, path: Path) -> Path:
    """One panel a suite, one colour an arm; thin lines are seeds, the thick one is their mean."""
    plt = _pyplot()
    suites, arms = study.suites, [a for a in study.arms if study.of(a)]
    columns = min(3, len(suites))
    rows = math.ceil(len(suites) / columns)
    fig, axes = plt.subplots(rows, columns, figsize=(4.3 * columns, 3.4 * rows + 0.7), squeeze=False, sharey=rows == 1)
    for ax, suite in zip(axes.flat, suites, strict=False):
        for i, arm in enumerate(arms):
            colour, style = ARM_COLOURS[i % len(ARM_COLOURS)], ARM_STYLES[i // len(ARM_COLOURS) % len(ARM_STYLES)]
            curves = [curve(r, f"eval/{suite}/avg_at_k") for r in study.of(arm)]
            for c in curves if len(curves) > 1 else []:
                ax.plot(*zip(*c, strict=True), color=colour, linewidth=0.7, alpha=0.3) if c else None
            average = mean_curve(curves)
            if average:
                look = {"color": colour, "linewidth": 2, "markersize": 3.5}
                look["marker"] = "o" if len(average) == len(curves[0]) else ""  # none on what is between points
                ax.plot(*zip(*average, strict=True), style, label=f"{arm} (n={len(curves)})", **look)
        ax.set_title(suite)
        ax.set_xlim(left=0)
        ax.set_xlabel("generated training tokens (thousands)")
    for row in axes:
        row[0].set_ylabel("accuracy (avg_at_k)")
    for ax in axes.flat[len(suites) :]:
        ax.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    fig.suptitle(f"{study.name}: accuracy over training", x=0.01, ha="left", fontweight="bold")
    fig.tight_layout(rect=(0, 0.075 if rows == 1 else 0.04, 1, 1))
    fig.legend(handles, labels, loc="lower center", ncol=min(6, max(1, len(labels))), frameon=False)
    footnote = _footnote(study)
    if footnote:
        fig.text(0.99, 0.985, footnote, ha="right", va="top", fontsize=8, color="#555555")
    fig.savefig(path)
    plt.close(fig)
    return path


def _footnote(study: StudyData) -> str:
    few = {r.params.get("evaluation.boundary_problems", "0") for r in study.runs} - {"0"}
    return f"points between first and last: first {', '.join(sorted(few))} problems of each suite" if few else ""


def buffer_rates(runs: Sequence[RunData], level: str, edges: Sequence[float]) -> dict[str, list[float]]:
    """Verdict -> groups per thousand tokens in each bin of the token axis (edges in thousands), mean over runs.

    A step's groups are spread over the tokens that it generated, so that bins and steps do not beat.
    """
    out: dict[str, list[float]] = {verdict: [0.0] * (len(edges) - 1) for verdict in VERDICTS}
    for run in runs:
        tokens = {step: value / 1000 for step, value in run.by_step("progress/tokens").items()}
        before = dict(zip(sorted(tokens), [0.0, *(tokens[s] for s in sorted(tokens))], strict=False))
        for verdict, rates in out.items():
            for step, count in run.by_step(f"buffer/{level}/groups/{verdict}").items():
                if not count or tokens.get(step, 0.0) <= before.get(step, 0.0):
                    continue
                left, right = before[step], tokens[step]
                for i, (low, high) in enumerate(pairwise(edges)):
                    inside = max(0.0, min(high, right) - max(low, left)) / (right - left)
                    rates[i] += count * inside / (high - low) / len(runs)
    return out


def buffer_figure(study: StudyData, path: Path) -> Path:
    """One panel an arm and level: groups admitted and rejected over training, stacked; mean over seeds."""
    plt = _pyplot()
    arms, levels = [a for a in study.arms if study.of(a)], study.levels
    totals = [r.last("progress/tokens") for r in study.runs]
    width = max((t for t in totals if not math.isnan(t)), default=1.0) / 1000 / BINS
    edges = [i * width for i in range(BINS + 1)]
    size = (max(6.5, 3.1 * len(levels) + 0.8), 1.55 * len(arms) + 1.5)
    fig, axes = plt.subplots(len(arms), len(levels), figsize=size, squeeze=False, sharex=True, sharey=True)
    for i, arm in enumerate(arms):
        for j, level in enumerate(levels):
            ax = axes[i][j]
            if not _has(study, arm, level):
                ax.set_axis_off()
                continue
            below = [0.0] * BINS
            for verdict, counts in buffer_rates(study.of(arm), level, edges).items():
                ax.bar(edges[:-1], counts, width, below, align="edge", color=VERDICT_COLOURS[verdict], linewidth=0)
                below = [b + c for b, c in zip(below, counts, strict=True)]
            ax.tick_params(labelleft=True, labelbottom=i == _last_row(study, arms, level))
            ax.set_title(f"{arm}, level {level}", fontsize=9, loc="left", pad=3)
    for ax in axes[:, 0]:
        ax.set_ylabel("groups per 1k tokens", fontsize=8.5)
    fig.suptitle(f"{study.name}: what the buffer admitted and rejected", x=0.01, ha="left", fontweight="bold")
    fig.supxlabel("generated training tokens (thousands)", fontsize=9.5, y=0.36 / size[1])
    names = [v.replace("_", " ") for v in VERDICTS]
    fig.tight_layout(rect=(0, 0.3 / size[1], 1, 1))
    patches = [plt.Rectangle((0, 0), 1, 1, color=VERDICT_COLOURS[v]) for v in VERDICTS]
    fig.legend(patches, names, loc="lower center", ncol=len(names), frameon=False)
    fig.savefig(path)
    plt.close(fig)
    return path


def _has(study: StudyData, arm: str, level: str) -> bool:
    return any(f"buffer/{level}/groups/generated" in r.histories for r in study.of(arm))


def _last_row(study: StudyData, arms: Sequence[str], level: str) -> int:
    """The lowest panel of a column: the one that carries the axis."""
    having = [i for i, arm in enumerate(arms) if _has(study, arm, level)]
    return having[-1] if having else len(arms) - 1
