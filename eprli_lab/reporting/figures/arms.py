"""Arms beside each other: accuracy against length, profiles over thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from eprli_lab.reporting.derived import response_tokens
from eprli_lab.reporting.figures.palette import PAPER, SOFT
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import Canvas, Layout, legend, look, panels, shown_arms, some
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.aggregates import MIN_SEEDS, performance_profile
from eprli_lab.reporting.stats.effects import suite_scores
from eprli_lab.reporting.stats.paired import JUDGED, mean, spread, t_quantile


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Arms that no other beats in both, by cost: points are (cost, value), less cost and more value are better."""
    known = {a: p for a, p in points.items() if all(map(math.isfinite, p))}
    out = []
    for arm, (cost, value) in known.items():
        beaten = any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in known.values())
        if not beaten:
            out.append(arm)
    return sorted(out, key=lambda a: known[a])


def pareto(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Objective against mean response length after training: mean over seeds, t intervals, the front joined."""
    arms = shown_arms(study, baseline)
    values = {a: [r.last(study.objective) for r in study.of(a)] for a in arms}
    lengths = {a: [response_tokens(r, study.suites) for r in study.of(a)] for a in arms}
    points = {a: (mean(lengths[a]), mean(values[a])) for a in arms}
    points = {a: p for a, p in points.items() if all(map(math.isfinite, p))}
    if len(points) < 2:
        return None
    sign = 1 if study.objectives[0][1] == "maximize" else -1
    styles = look(study)
    front = pareto_front({a: (x, sign * y) for a, (x, y) in points.items()})
    halves = {a: (_half(lengths[a]), _half(values[a])) for a in points}

    def draw(layout: Layout) -> Canvas:
        figure, axes = panels(layout, 1, 1, 3.1)
        ax = axes[0][0]
        labels = figure.short(points)
        steps = [points[a] for a in front]
        ax.plot(*zip(*steps, strict=True), color=SOFT, linewidth=1, drawstyle="steps-post", zorder=1)
        for arm, (x, y) in points.items():
            style = styles[arm]
            ax.errorbar(
                x, y, xerr=halves[arm][0], yerr=halves[arm][1], color=style.colour, linewidth=1,
                marker=style.marker, markersize=7, markerfacecolor=style.colour if arm in front else PAPER,
                linestyle="none", label=labels[arm] + (" (front)" if arm in front else ""),
            )  # fmt: skip
        ax.set(xlabel="mean response length after training (tokens)", ylabel=study.objective)
        legend(figure, axes)
        return figure

    alt = ", ".join(f"{a} {y:.3f} at {x:.1f} tokens" for a, (x, y) in points.items())
    title = (
        f"Accuracy against response length{some(study, arms)}; filled: on the Pareto front; bars: 95% t intervals from "
        f"{JUDGED} seeds"
    )
    rows = []
    for arm, (x, y) in points.items():
        series = "front" if arm in front else "beaten"
        rows.append(Row("", arm, series, "", x, y, y - halves[arm][1], y + halves[arm][1], len(values[arm])))
        pairs = zip(study.of(arm), lengths[arm], values[arm], strict=True)
        rows += [Row("", arm, "seed", run.seed, length, value) for run, length, value in pairs]
    return Picture("pareto", title, f"{alt}. On the front: {', '.join(front)}.", draw, rows)


def _half(values: list[float]) -> float:
    """Half a 95% t interval; 0 below three values, where it would be endless."""
    known = [v for v in values if math.isfinite(v)]
    return t_quantile(len(known) - 1) * spread(known) / math.sqrt(len(known)) if len(known) >= JUDGED else 0.0


def profiles(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Share of (seed, suite) scores above each threshold, from MIN_SEEDS seeds (arXiv 2108.13264, whole rows)."""
    arms = shown_arms(study, baseline)
    matrices = {a: suite_scores(study, a)[1] for a in arms}
    matrices = {a: m for a, m in matrices.items() if len(m) >= MIN_SEEDS and m.size}
    if not matrices:
        return None
    taus = np.linspace(0, 1, 101)
    styles = look(study)
    found = {arm: performance_profile(matrix, taus) for arm, matrix in matrices.items()}

    def draw(layout: Layout) -> Canvas:
        figure, axes = panels(layout, 1, 1, 2.8)
        labels = figure.short(found)
        for arm, p in found.items():
            style = styles[arm]
            marks = {"marker": style.marker, "markersize": 4, "markevery": 20}
            axes[0][0].plot(p.taus, p.share, label=f"{labels[arm]} (n={p.n})", linewidth=1.8, **style.line, **marks)
            if np.isfinite(p.low).any():
                axes[0][0].fill_between(p.taus, p.low, p.high, color=style.colour, alpha=0.13, linewidth=0)
        axes[0][0].set(xlabel="threshold", ylabel="share of (seed, suite) scores above it", xlim=(0, 1))
        legend(figure, axes)
        return figure

    alt = [f"{arm} {float((matrix > 0.8).mean()):.2f}" for arm, matrix in matrices.items()]
    rows = [
        Row("", arm, "share", "", tau, share, low, high, p.n)
        for arm, p in found.items()
        for tau, share, low, high in zip(*(v.tolist() for v in (p.taus, p.share, p.low, p.high)), strict=True)
    ]
    title = f"Performance profiles{some(study, arms)}"
    return Picture("profiles", title, f"Share of scores above 0.8: {', '.join(alt)}.", draw, rows)
