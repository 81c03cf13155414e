"""Learning curves, and what happened in the policy: means over seeds with 95% t bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprli_lab.reporting.derived import updated_levels
from eprli_lab.reporting.figures.style import Picture, hide, legend, look, panels, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean, t_quantile
from eprli_lab.tracking import names

AXES = {
    names.TOKENS: ("tokens", "generated training tokens (thousands)", 1e-3),
    names.UPDATES: ("updates", "updates", 1.0),
    names.TOTAL_SECONDS: ("seconds", "seconds of the run, evaluation included", 1.0),
}
POINTS = 60  # of the grid where seeds were evaluated at different places, and of long curves
FEW_SEEDS = 5  # up to so many, each is drawn
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


def learning_curves(study: StudyData, axis: str = names.TOKENS, baseline: str | None = None) -> Picture | None:
    """Accuracy of every suite over training: a panel a suite, an arm's mean over seeds and its band."""
    suites, arms, (word, label, _) = study.suites, shown_arms(study, baseline), AXES[axis]
    of = {(s, a): [curve(r, names.accuracy(s), axis) for r in study.of(a)] for s in suites for a in arms}
    if not any(len(c) > 1 for curves in of.values() for c in curves):  # one place is no curve
        return None
    columns = min(3, len(suites))
    figure, axes = panels(math.ceil(len(suites) / columns), columns, 2.6, sharey=True)
    styles = look(arms)
    ends = []
    for ax, suite in zip(axes.flat, suites, strict=False):
        for arm in arms:
            _draw(ax, of[suite, arm], f"{arm} (n={len(of[suite, arm])})", styles[arm])
        ax.set_title(suite)
        last = {a: mean([r.last(names.accuracy(suite)) for r in study.of(a)]) for a in arms}
        ends.append(f"{suite}: " + ", ".join(f"{a} {v:.3f}" for a, v in last.items() if math.isfinite(v)))
    hide(list(axes.flat)[len(suites) :])
    figure.supxlabel(label, fontsize=9)
    figure.supylabel("accuracy (avg_at_k)", fontsize=9)
    legend(figure, axes)
    few = {r.params.get("evaluation.boundary_problems", "0") for r in study.runs} - {"0"}
    note = f"; between first and last evaluation: the first {', '.join(sorted(few))} problems of a suite" if few else ""
    title = f"Accuracy against {word}{some(study, arms)}; band: 95% t interval over seeds{note}"
    name = "learning_curves" if word == "tokens" else f"learning_curves_{word}"
    return Picture(name, title, f"Accuracy at the end, mean over seeds. {'; '.join(ends)}.", figure)


def _draw(ax: object, curves: Sequence[Curve], label: str, style: dict[str, str]) -> None:
    mean_band = band(curves)
    if not len(mean_band.x):
        return
    ax.plot(mean_band.x, mean_band.mean, label=label, linewidth=1.8, **style)  # type: ignore[attr-defined]
    if np.isfinite(mean_band.low).any():
        ax.fill_between(mean_band.x, mean_band.low, mean_band.high, color=style["color"], alpha=0.13, linewidth=0)  # type: ignore[attr-defined]
    if 1 < len(curves) <= FEW_SEEDS:
        for c in curves:
            if c:
                ax.plot(*zip(*c, strict=True), color=style["color"], linewidth=0.6, alpha=0.35)  # type: ignore[attr-defined]


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
    of = {(k, a): [over_levels(r, updated_levels(r, k), k) for r in study.of(a)] for k, _ in DYNAMICS for a in arms}
    kept = [(k, title) for k, title in DYNAMICS if any(c for a in arms for c in of[k, a])]
    if not kept:
        return None
    columns = min(2, len(kept))
    figure, axes = panels(math.ceil(len(kept) / columns), columns, 2.1)
    styles = look(arms)
    alt = []
    for ax, (key, title) in zip(axes.flat, kept, strict=False):
        for arm in arms:
            _draw(ax, of[key, arm], arm, styles[arm])
        ax.set_title(title)
        ax.set_ylim(bottom=0)
        means = {a: np.mean([v for c in of[key, a] for _, v in c]) for a in arms if any(of[key, a])}
        alt.append(f"{title}: " + ", ".join(f"{a} {v:.2g}" for a, v in means.items()))
    hide(list(axes.flat)[len(kept) :])
    figure.supxlabel("updates", fontsize=9)
    legend(figure, axes)
    title = f"Clip fractions, entropy and KL over updates{some(study, arms)}"
    return Picture("clipping_entropy_kl", title, f"Means over all updates. {'; '.join(alt)}.", figure)
