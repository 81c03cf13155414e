"""Every figure of a report. Each is a function of a study that answers a Picture, or None where nothing was logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from analysis.figures.arms import effects, pareto, profiles
from analysis.figures.curves import curve, dynamics, learning_curves, mean_curve
from analysis.figures.levels import buffer, buffer_rates, reward_variance
from analysis.figures.search import importance, response_surface
from analysis.figures.stages import forgetting, q_order
from analysis.figures.style import Picture, styled, svg, write
from analysis.store import StudyData

__all__ = ["Picture", "buffer_rates", "curve", "mean_curve", "pictures", "svg", "wanted", "write"]


def pictures(study: StudyData, baseline: str | None = None) -> Iterator[Picture]:
    """All figures for which something was logged, in the order of a report."""
    if study.description.get("kind") == "search":
        makers: list[Callable[[], Picture | None]] = [lambda: importance(study), lambda: response_surface(study)]
    else:
        makers = [
            lambda: effects(study, baseline),
            lambda: learning_curves(study, "progress/tokens", baseline),
            lambda: learning_curves(study, "progress/updates", baseline),
            lambda: learning_curves(study, "time/total", baseline),
            lambda: buffer(study, baseline),
            lambda: reward_variance(study, baseline),
            lambda: forgetting(study, baseline),
            lambda: q_order(study, baseline),
            lambda: pareto(study, baseline),
            lambda: dynamics(study, baseline),
            lambda: profiles(study, baseline),
        ]
    for make in makers:
        picture = styled(make)
        if picture is not None:
            yield picture


def wanted(metric: str) -> bool:
    """The metrics that the figures read."""
    parts = metric.split("/")
    return (
        parts[0] in ("eval", "buffer", "progress")
        or len(parts) == 1
        or metric == "time/total"
        or (parts[0] == "policy" and parts[2] in ("entropy", "approx_kl", "kl_ref", "clip_fraction"))
    )
