"""What a search saw of its space: which swept values mattered, and the objective over the two that mattered most."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprli_lab.reporting.figures.style import Picture, panels
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.importance import Trial, importances
from eprli_lab.reporting.stats.paired import mean

SURFACE = 12  # trials, for a contour between them


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
    figure, axes = panels(1, 1, 0.3 * len(shares) + 0.9)
    names = list(shares)
    axes[0][0].barh(names, list(shares.values()), color="#0072B2")
    axes[0][0].invert_yaxis()
    axes[0][0].set_xlabel("share of the variance")
    alt = ", ".join(f"{k} {v:.2f}" for k, v in shares.items())
    title = f"Which swept values mattered: fANOVA over {len(complete.scores)} complete trials"
    return Picture("importance", title, f"{alt}.", figure)


def _spread(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
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
    figure, axes = panels(1, 1, 3.4)
    ax = axes[0][0]
    scores = np.array(complete.scores)
    x = np.array(complete.values[keys[0]], dtype=float)
    if len(keys) == 1:
        ax.plot(x, scores, "o", color="#0072B2")
        ax.set(xlabel=keys[0], ylabel=study.objective)
    else:
        y = np.array(complete.values[keys[1]], dtype=float)
        if len(scores) >= SURFACE and _spread(x, y):
            ax.tricontourf(x, y, scores, levels=10, cmap="cividis", alpha=0.7)
        sizes = [45 * (1 + sum((x[:i] == x[i]) & (y[:i] == y[i]))) for i in range(len(x))]  # rings where points meet
        back = np.argsort(sizes, kind="stable")[::-1]
        look = {"cmap": "cividis", "edgecolors": "black", "linewidths": 0.6}
        points = ax.scatter(x[back], y[back], c=scores[back], s=np.array(sizes)[back], **look)
        figure.colorbar(points, ax=ax, label=study.objective)
        ax.use_sticky_edges = False  # a contour would cut the points at its edge in half
        ax.margins(0.05)
        ax.set(xlabel=keys[0], ylabel=keys[1])
    top = int(np.argmax(scores) if study.objectives[0][1] == "maximize" else np.argmin(scores))
    at = ", ".join(f"{k}={complete.values[k][top]:.4g}" for k in keys)
    alt = f"{len(scores)} trials, {scores.min():.3f} to {scores.max():.3f}; best (the choice flatters it) at {at}."
    return Picture("response_surface", f"{study.objective} over {' and '.join(keys)}", alt, figure)
