"""Arms beside each other: the forest of effects, accuracy against length, profiles over thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from eprli_lab.reporting.derived import response_tokens
from eprli_lab.reporting.figures.style import MARKERS, Picture, hide, legend, look, panels, shown_arms, some
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.aggregates import MIN_SEEDS, performance_profile
from eprli_lab.reporting.stats.effects import baselines, difference, last_by_seed, suite_scores
from eprli_lab.reporting.stats.paired import differences_by_seed, mean, spread, t_quantile
from eprli_lab.tracking import names


def effects(study: StudyData, baseline: str | None = None) -> Picture | None:
    """A forest: each arm minus its baseline in every objective and every suite, t interval, every seed a point."""
    compared_to = {a: b for a, b in baselines(study, baseline).items() if a in shown_arms(study, baseline)}
    metrics = {m: m for m, _ in study.objectives} | {s: names.accuracy(s) for s in study.suites}
    differences = {(m, a): difference(study, a, b, metrics[m]) for m in metrics for a, b in compared_to.items()}
    if not any(d.n for d in differences.values()):
        return None
    is_mixed = len(set(compared_to.values())) > 1  # then each arm says what it is compared to
    named = {a: f"{a} − {b}" if is_mixed else a for a, b in compared_to.items()}
    columns = min(4, len(metrics))
    figure, axes = panels(math.ceil(len(metrics) / columns), columns, 0.32 * len(compared_to) + 1.0, sharey=True)
    styles = look(list(compared_to))
    alt = []
    for ax, name in zip(axes.flat, metrics, strict=False):
        ax.axvline(0, color="#555555", linewidth=0.9)
        for i, (arm, base) in enumerate(compared_to.items()):
            d = differences[name, arm]
            colour = styles[arm]["color"]
            points = differences_by_seed(*(last_by_seed(study, a, metrics[name]) for a in (arm, base)))
            ax.plot(points, [i + 0.18] * len(points), "|", color=colour, markersize=5, alpha=0.7)
            ax.plot([d.mean], [i], MARKERS[i % len(MARKERS)], color=colour, markersize=5)
            if math.isfinite(d.low):
                ax.plot([d.low, d.high], [i, i], color=colour, linewidth=1.8)
            if name == study.objective:
                interval = f"[{d.low:+.3f}, {d.high:+.3f}]" if math.isfinite(d.low) else "(no interval)"
                alt.append(
                    f"{arm} {d.mean:+.3f} {interval} to {base}" if d.n else f"{arm}: no seed in common with {base}"
                )
        ax.set_title(name)
        ax.set_yticks(
            range(len(compared_to)), [f"{named[a]} (n={differences[study.objective, a].n})" for a in compared_to]
        )
        ax.set_ylim(len(compared_to) - 0.5, -0.6)
    hide(list(axes.flat)[len(metrics) :])
    figure.supxlabel(
        "difference to the baseline; bar: 95% t interval over common seeds, uncorrected; ticks: seeds", fontsize=9
    )
    title = f"Effects: each arm minus its baseline{some(study, shown_arms(study, baseline))}"
    return Picture("effects", title, f"Differences in {study.objective}: {'; '.join(alt)}.", figure)


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
    figure, axes = panels(1, 1, 3.4)
    sign = 1 if study.objectives[0][1] == "maximize" else -1
    ax = axes[0][0]
    styles = look(arms)
    front = pareto_front({a: (x, sign * y) for a, (x, y) in points.items()})
    steps = [points[a] for a in front]
    ax.plot(*zip(*steps, strict=True), color="#999999", linewidth=1, drawstyle="steps-post", zorder=1)
    for i, (arm, (x, y)) in enumerate(points.items()):
        fill = styles[arm]["color"] if arm in front else "white"
        ax.errorbar(
            x, y, xerr=_half(lengths[arm]), yerr=_half(values[arm]), color=styles[arm]["color"], linewidth=1,
            marker=MARKERS[i % len(MARKERS)], markersize=7, markerfacecolor=fill,
            linestyle="none", label=arm + (" (front)" if arm in front else ""),
        )  # fmt: skip
    ax.set(xlabel="mean response length after training (tokens)", ylabel=study.objective)
    legend(figure, axes)
    alt = ", ".join(f"{a} {y:.3f} at {x:.1f} tokens" for a, (x, y) in points.items())
    title = f"Accuracy against response length{some(study, arms)}; filled: on the Pareto front; bars: 95% t intervals"
    return Picture("pareto", title, f"{alt}. On the front: {', '.join(front)}.", figure)


def _half(values: list[float]) -> float:
    """Half a 95% t interval; 0 without one."""
    known = [v for v in values if math.isfinite(v)]
    return t_quantile(len(known) - 1) * spread(known) / math.sqrt(len(known)) if len(known) > 1 else 0.0


def profiles(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Share of (seed, suite) scores above each threshold, from MIN_SEEDS seeds (arXiv 2108.13264, whole rows)."""
    arms = shown_arms(study, baseline)
    matrices = {a: suite_scores(study, a)[1] for a in arms}
    matrices = {a: m for a, m in matrices.items() if len(m) >= MIN_SEEDS and m.size}
    if not matrices:
        return None
    figure, axes = panels(1, 1, 2.8)
    taus = np.linspace(0, 1, 101)
    styles = look(arms)
    alt = []
    for arm, matrix in matrices.items():
        p = performance_profile(matrix, taus)
        axes[0][0].plot(p.taus, p.share, label=f"{arm} (n={p.n})", linewidth=1.8, **styles[arm])
        if np.isfinite(p.low).any():
            axes[0][0].fill_between(p.taus, p.low, p.high, color=styles[arm]["color"], alpha=0.13, linewidth=0)
        alt.append(f"{arm} {float((matrix > 0.8).mean()):.2f}")
    axes[0][0].set(xlabel="threshold", ylabel="share of (seed, suite) scores above it", xlim=(0, 1))
    legend(figure, axes)
    title = f"Performance profiles{some(study, arms)}"
    return Picture("profiles", title, f"Share of scores above 0.8: {', '.join(alt)}.", figure)
