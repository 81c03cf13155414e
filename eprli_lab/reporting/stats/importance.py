"""Which values of a search mattered: fANOVA (Hutter, Hoos, Leyton-Brown 2014), by Optuna, with a fixed seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eprli_lab.tracking.description import Direction

ENOUGH = 8  # trials: below it a forest of regression trees says nothing of the variance


class Trial(NamedTuple):
    """One complete trial."""

    values: Mapping[str, Any]  # key -> what it drew
    distributions: Mapping[str, Any]  # key -> Optuna's distribution that it drew from
    score: float


def importances(trials: Sequence[Trial], direction: Direction = "maximize") -> dict[str, float]:
    """Key -> its share of the variance of the score, largest first; empty below ENOUGH trials or two keys."""
    if len(trials) < ENOUGH or len({k for t in trials for k in t.values}) < 2:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction)
    for t in trials:
        study.add_trial(
            optuna.trial.create_trial(params=dict(t.values), distributions=dict(t.distributions), value=t.score)
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
