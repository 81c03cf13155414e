"""Every figure of a report. Each is a function of a study that answers a Picture, or None where nothing was logged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from eprli_lab.reporting.diagnosis.finding import Rows
from eprli_lab.reporting.figures.arms import pareto, profiles
from eprli_lab.reporting.figures.compute import scaling
from eprli_lab.reporting.figures.curves import (
    DYNAMICS,
    curve,
    curves_by_suite,
    dynamics,
    learning_curves,
    mean_curve,
)
from eprli_lab.reporting.figures.drawn import drawn
from eprli_lab.reporting.figures.effects import effects, effects_by_suite
from eprli_lab.reporting.figures.levels import buffer, buffer_rates, reward_variance
from eprli_lab.reporting.figures.picture import Figure, Picture, rendered, write
from eprli_lab.reporting.figures.sampling import passk
from eprli_lab.reporting.figures.search import importance, response_surface, trials
from eprli_lab.reporting.figures.stages import forgetting, q_order
from eprli_lab.reporting.figures.theme import CSS
from eprli_lab.reporting.load import StudyData
from eprli_lab.tracking import names

__all__ = [
    "CSS",
    "Figure",
    "Picture",
    "buffer_rates",
    "curve",
    "mean_curve",
    "pictures",
    "rendered",
    "trials",
    "wanted",
    "write",
]


OPTIONS = {"learning_curves": ("learning_curves_updates", "learning_curves_seconds")}  # names of its alternatives


def pictures(
    study: StudyData,
    baseline: str | None = None,
    only: Collection[str] | None = None,
    outcomes: Rows | None = None,
    ledger: Rows | None = None,
) -> Iterator[Picture]:
    """All figures for which something was logged, in the order of a report; of `only` these names, if given.

    `outcomes`, `ledger`: rows of those artifacts by run id, for what only single problems and groups show.
    """
    if study.is_search:
        makers: dict[str, Callable[[], Picture | None]] = {
            "importance": lambda: importance(study),
            "response_surface": lambda: response_surface(study),
        }
    else:
        makers = {
            "effects": lambda: effects(study, baseline),
            "learning_curves": lambda: learning_curves(study, baseline),
            "effects_by_suite": lambda: effects_by_suite(study, baseline),
            "learning_curves_by_suite": lambda: curves_by_suite(study, baseline),
            "compute_curves": lambda: scaling(study, baseline),
            "buffer": lambda: buffer(study, baseline),
            "drawn": lambda: drawn(study, ledger or {}, baseline),
            "reward_variance": lambda: reward_variance(study, baseline),
            "forgetting": lambda: forgetting(study, baseline),
            "q_order": lambda: q_order(study, baseline),
            "pass_at_k": lambda: passk(study, outcomes or {}, baseline),
            "pareto": lambda: pareto(study, baseline),
            "clipping_entropy_kl": lambda: dynamics(study, baseline),
            "profiles": lambda: profiles(study, baseline),
        }
    for name, make in makers.items():
        picture = make() if only is None or {name, *OPTIONS.get(name, ())} & set(only) else None
        if picture is not None:
            yield picture


def wanted(metric: str) -> bool:
    """The metrics that the figures read."""
    return (
        names.is_summary(metric)
        or names.family(metric) in ("eval", "buffer", "progress")
        or metric in (names.TOTAL_SECONDS, names.COMMON_SCORE)
        or names.is_policy(metric, [quantity for quantity, _ in DYNAMICS])
    )
