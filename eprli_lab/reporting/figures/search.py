"""What a search saw of its space: which swept values mattered, and the objective over the two that mattered most."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprli_lab.reporting.figures.palette import INK, NO_ARM
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import Canvas, Layout, panels
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.importance import Trial, importances
from eprli_lab.reporting.stats.paired import mean

SURFACE = 12  # trials, for a contour between them
Floats = NDArray[np.float64]


class Trials(NamedTuple):
    """Complete trials, those with every seed of the search: swept values by key, and the mean objective over seeds."""

    values: dict[str, list[Any]]
    scores: list[float]
    names: list[str]


def trials(study: StudyData) -> Trials:
    """Of a search's store; the swept keys are those that its description names, `*` standing for every level.

    A pruned trial has fewer seeds than the others, so its mean is no value beside theirs: it is left out.
    """
    seeds = set(study.description.seeds)
    runs = {a: study.of(a) for a in sorted(study.arms)}
    means = {a: mean([r.last(study.objective) for r in rs]) for a, rs in runs.items() if {r.seed for r in rs} >= seeds}
    scores = {a: score for a, score in means.items() if math.isfinite(score)}
    values = {k: [_swept(runs[a][0].params, k) for a in scores] for k in study.description.space}
    known = {
        k: vs for k, vs in values.items() if any(v is not None for v in vs)
    }  # a choice of config groups is no param
    return Trials(known, list(scores.values()), list(scores))


def _swept(params: Mapping[str, str], key: str) -> Any:
    """A searched value of a run; None where the run has no such key. One with `*` is the same at every level."""
    text = params.get(key, next((v for k, v in params.items() if "*" in key and fnmatchcase(k, key)), "null"))
    return _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def trial_importances(complete: Trials) -> dict[str, float]:
    """Key -> share of the variance by fANOVA, largest first; numbers as a range, all else as a choice."""
    import optuna

    space: dict[str, Any] = {}
    for key, values in complete.values.items():
        if len({str(v) for v in values}) < 2:
            continue
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            space[key] = optuna.distributions.FloatDistribution(min(values), max(values))
        else:
            space[key] = optuna.distributions.CategoricalDistribution(sorted({str(v) for v in values}))
    points = []
    for i, score in enumerate(complete.scores):
        drawn = {k: complete.values[k][i] for k in space}
        typed = {k: float(v) if hasattr(space[k], "low") else str(v) for k, v in drawn.items()}
        points.append(Trial(typed, space, score))
    return importances(points)


def importance(study: StudyData) -> Picture | None:
    """A bar a swept value: its share of the variance over the finished trials."""
    complete = trials(study)
    shares = trial_importances(complete)
    if not shares:
        return None
    keys = list(shares)

    def draw(layout: Layout) -> Canvas:
        """On a phone a key stands above its bar."""
        row = 0.5 if layout.is_narrow else 0.3
        figure, axes = panels(layout, 1, 1, row * len(keys) + 0.7)
        ax = axes[0][0]
        labels = figure.short(keys, 40)
        ax.barh(range(len(keys)), list(shares.values()), color=NO_ARM, height=0.4 if layout.is_narrow else 0.7)
        if layout.is_narrow:
            for i, key in enumerate(keys):
                ax.annotate(labels[key], (0, i - 0.4), xycoords=("axes fraction", "data"), va="center")
            ax.set_yticks([])
            ax.set_ylim(len(keys) - 0.6, -0.7)
        else:
            ax.set_yticks(range(len(keys)), [labels[k] for k in keys])
            ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("share of the variance")
        return figure

    alt = ", ".join(f"{k} {v:.2f}" for k, v in shares.items())
    title = f"Which swept values mattered: fANOVA over {len(complete.scores)} complete trials"
    rows = [Row("", "", "share of the variance", "", key, share) for key, share in shares.items()]
    return Picture("importance", title, f"{alt}.", draw, rows)


def _spread(x: Floats, y: Floats) -> bool:
    """Are there triangles between the points? Those on one line have none."""
    points = np.column_stack([(v - v.mean()) / (np.ptp(v) or 1.0) for v in (x, y)])
    return bool(np.linalg.svd(points, compute_uv=False)[-1] > 1e-6)


def response_surface(study: StudyData) -> Picture | None:
    """The objective over the two numeric values that mattered most, a point a trial; a contour from SURFACE."""
    complete = trials(study)
    numeric = [
        k for k, vs in complete.values.items() if all(isinstance(v, int | float) for v in vs) and len(set(vs)) > 1
    ]
    order = list(trial_importances(complete)) or numeric
    keys = [k for k in order if k in numeric][:2]
    if not keys or len(complete.scores) < 3:
        return None
    scores = np.array(complete.scores)
    points = [np.array(complete.values[k], dtype=float) for k in keys]

    def draw(layout: Layout) -> Canvas:
        figure, axes = panels(layout, 1, 1, 3.1)
        ax = axes[0][0]
        labels = figure.short(keys, 40)
        if len(keys) == 1:
            ax.plot(points[0], scores, "o", color=NO_ARM)
            ax.set(xlabel=labels[keys[0]], ylabel=study.objective)
        else:
            _draw_surface(figure, ax, points[0], points[1], scores, study.objective)
            ax.set(xlabel=labels[keys[0]], ylabel=labels[keys[1]])
        return figure

    top = int(np.argmax(scores) if study.objectives[0][1] == "maximize" else np.argmin(scores))
    at = ", ".join(f"{k}={complete.values[k][top]:.4g}" for k in keys)
    alt = f"{len(scores)} trials, {scores.min():.3f} to {scores.max():.3f}; best (the choice flatters it) at {at}."
    rows = [
        Row("", name, key, "", float(of[i]), complete.scores[i])
        for i, name in enumerate(complete.names)
        for key, of in zip(keys, points, strict=True)
    ]
    return Picture("response_surface", f"{study.objective} over {' and '.join(keys)}", alt, draw, rows)


def _draw_surface(figure: Canvas, ax: Any, x: Floats, y: Floats, scores: Floats, objective: str) -> None:
    """A point a trial in the colour of its score; a contour between them where they are many."""
    if len(scores) >= SURFACE and _spread(x, y):
        ax.tricontourf(x, y, scores, levels=10, cmap="cividis", alpha=0.7)
    sizes = [45 * (1 + sum((x[:i] == x[i]) & (y[:i] == y[i]))) for i in range(len(x))]  # rings where points meet
    back = np.argsort(sizes, kind="stable")[::-1]
    look = {"cmap": "cividis", "edgecolors": INK, "linewidths": 0.6}
    points = ax.scatter(x[back], y[back], c=scores[back], s=np.array(sizes)[back], **look)
    figure.colorbar(points, ax=ax, label=objective)
    ax.use_sticky_edges = False  # a contour would cut the points at its edge in half
    ax.margins(0.05)
