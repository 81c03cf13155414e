"""The next point of a search. Drawn from a copy of the study, so that a point that cannot run is never a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from eprli_lab.sweeping.space import Dimension, SearchSpec, sobol

MAX_DRAWS = 200  # points in a row that cannot be run or were run before
RANDOM_AFTER = 20  # as many of a sampler's own, then random ones: a Gaussian process may insist on its optimum


def suggest(
    search: SearchSpec,
    dimensions: Sequence[Dimension],
    trials: Sequence[Any],
    directions: Sequence[str],
    *,
    target: int,
    first: int,
    usable: Callable[[dict[str, Any]], bool],
) -> tuple[dict[str, Any], int] | None:
    """(point, number of the draw), or None when none is left. `trials`: all of the study; `first`: draws so far.

    A pure function of its arguments: the sampler's seed comes from the base seed and the number of draws, so no
    process repeats the start-up points of another, and running trials count as known (constant liar).
    """
    seen = {_identity(t.params) for t in trials}
    if search.sampler == "qmc":
        for i in range(first, first + MAX_DRAWS):
            point = sobol(dimensions, i, search.sampler_seed)
            if _identity(point) not in seen and usable(point):
                return point, i
        return None
    study = _copy(search, trials, directions, target, first)
    distributions = {d.key: d.distribution() for d in dimensions}
    for i in range(MAX_DRAWS):
        if i == RANDOM_AFTER:
            study.sampler = _sampler("random", search, target, first)
        trial = study.ask(distributions)
        if _identity(trial.params) not in seen and usable(trial.params):
            return dict(trial.params), first + i
        study.tell(trial, state=_failed())
    return None


def _identity(params: dict[str, Any]) -> str:
    return repr(sorted(params.items()))


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _copy(search: SearchSpec, trials: Sequence[Any], directions: Sequence[str], target: int, first: int) -> Any:
    import optuna

    study = optuna.create_study(
        directions=cast(Any, list(directions)),
        sampler=_sampler(search.sampler, search, target, first),
        pruner=optuna.pruners.NopPruner(),
    )
    for t in trials:
        if t.state != _failed():
            study.add_trial(
                optuna.trial.create_trial(
                    state=t.state,
                    params=t.params,
                    distributions=t.distributions,
                    values=t.values,
                    intermediate_values=t.intermediate_values,
                )
            )
    return study


def _sampler(name: str, search: SearchSpec, target: int, first: int) -> Any:
    import optuna

    seed = (1_000_003 * (search.sampler_seed + 1) + first) % 2**32
    startup = max(4, target // 4)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
    return optuna.samplers.RandomSampler(seed=seed)


def make_pruner(search: SearchSpec, points: int) -> Any:
    """Wilcoxon between seeds (step: the seed's position); median or Hyperband between evaluations (step: 1..points)."""
    import optuna

    if search.pruner == "wilcoxon":
        return optuna.pruners.WilcoxonPruner(p_threshold=search.p_threshold)
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
    if search.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(2, points), reduction_factor=2)
    return optuna.pruners.NopPruner()
