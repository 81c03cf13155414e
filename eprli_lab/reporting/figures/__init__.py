"""Every figure of a report. Each is a function of a study that answers a Picture, or None where nothing was logged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from eprli_lab.reporting.diagnosis.finding import Rows
from eprli_lab.reporting.figures.arms import effects, pareto, profiles
from eprli_lab.reporting.figures.curves import curve, dynamics, learning_curves, mean_curve
from eprli_lab.reporting.figures.levels import buffer, buffer_rates, reward_variance
from eprli_lab.reporting.figures.sampling import passk
from eprli_lab.reporting.figures.search import importance, response_surface, trials
from eprli_lab.reporting.figures.stages import forgetting, q_order
from eprli_lab.reporting.figures.style import Picture, styled, svg, write
from eprli_lab.reporting.load import StudyData

__all__ = ["Picture", "buffer_rates", "curve", "mean_curve", "pictures", "svg", "trials", "wanted", "write"]


def pictures(
    study: StudyData, baseline: str | None = None, only: Collection[str] | None = None, outcomes: Rows | None = None
) -> Iterator[Picture]:
    """All figures for which something was logged, in the order of a report; of `only` these names, if given.

    `outcomes`: rows of that artifact by run id, for what only single problems show.
    """
    if study.description.get("kind") == "search":
        makers: dict[str, Callable[[], Picture | None]] = {
            "importance": lambda: importance(study),
            "response_surface": lambda: response_surface(study),
        }
    else:
        makers = {
            "effects": lambda: effects(study, baseline),
            "learning_curves": lambda: learning_curves(study, "progress/tokens", baseline),
            "learning_curves_updates": lambda: learning_curves(study, "progress/updates", baseline),
            "learning_curves_seconds": lambda: learning_curves(study, "time/total", baseline),
            "buffer": lambda: buffer(study, baseline),
            "reward_variance": lambda: reward_variance(study, baseline),
            "forgetting": lambda: forgetting(study, baseline),
            "q_order": lambda: q_order(study, baseline),
            "pass_at_k": lambda: passk(study, outcomes or {}, baseline),
            "pareto": lambda: pareto(study, baseline),
            "clipping_entropy_kl": lambda: dynamics(study, baseline),
            "profiles": lambda: profiles(study, baseline),
        }
    for name, make in makers.items():
        picture = styled(make) if only is None or name in only else None
        if picture is not None:
            yield picture


def wanted(metric: str) -> bool:
    """The metrics that the figures read."""
    parts = metric.split("/")
    return (
        parts[0] in ("eval", "buffer", "progress")
        or len(parts) == 1
        or metric == "time/total"
        or (parts[0] == "policy" and len(parts) > 2 and parts[2] in ("entropy", "approx_kl", "kl_ref", "clip_fraction"))
    )
