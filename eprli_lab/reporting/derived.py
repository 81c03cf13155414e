"""What is derived of logged metrics, each in one place: for table, figures, diagnosis and checks alike. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from eprli_lab.records import VERDICTS, Verdict
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.reporting.stats.transfer import LevelMatrix, backward_transfer, forgetting, forward_transfer
from eprli_lab.tracking import names

TRANSFER = {"forward_transfer": forward_transfer, "backward_transfer": backward_transfer, "forgetting": forgetting}
WINDOW = 5  # updates that a first or last value is the mean of: single updates swing by a third


def sampled_levels(runs: Sequence[RunData]) -> list[str]:
    """Levels that any of these runs sampled, by the alphabet."""
    logged = {k for r in runs for k in r.histories if names.is_generated(k)}
    return sorted({level for k in logged if (level := names.level_of(k)) is not None})


def updated_levels(run: RunData, quantity: str) -> list[str]:
    """Levels of whose updates a run logged this quantity, by the alphabet."""
    logged = {names.level_of(k) for k in run.histories if names.is_policy(k, (quantity,))}
    return sorted(level for level in logged if level is not None)


def verdict_counts(runs: Sequence[RunData], level: str) -> dict[Verdict, float]:
    """Verdict -> groups over all steps of all runs; what was not logged is nothing."""
    return {verdict: _summed(runs, names.groups(level, verdict)) for verdict in VERDICTS}


def generated_groups(runs: Sequence[RunData], level: str) -> float:
    """Groups of any verdict over all steps of all runs; what was not logged is nothing."""
    return _summed(runs, names.generated(level))


def _summed(runs: Sequence[RunData], metric: str) -> float:
    totals = [r.total(metric) for r in runs]
    return math.fsum(t for t in totals if math.isfinite(t))


def admission_rate(runs: Sequence[RunData], level: str) -> float:
    """All groups admitted / all groups generated, over the steps of all these runs; nan without any."""
    counts = [(r.total(names.admitted(level)), r.total(names.generated(level))) for r in runs]
    known = [(a, g) for a, g in counts if not math.isnan(a + g)]
    generated = math.fsum(g for _, g in known)
    return math.fsum(a for a, _ in known) / generated if generated else math.nan


def clip_fraction(run: RunData, level: str, side: str) -> float:
    """Fraction of tokens at the clip bound (`side`: low, high), mean over the level's updates; nan without any."""
    return run.mean(names.clip_fraction(level, side))


def clip_fractions(runs: Sequence[RunData], level: str, side: str) -> list[float]:
    """That fraction at every update of every run."""
    return [v for r in runs for v in r.by_step(names.clip_fraction(level, side)).values()]


def reward_variance(runs: Sequence[RunData], level: str, kind: str) -> float:
    """Variance of rewards (`kind`: within, between groups), mean over a run's steps and over runs; nan without any."""
    return mean([r.mean(names.reward_variance(level, kind)) for r in runs])


def response_tokens(run: RunData, suites: Sequence[str]) -> float:
    """Mean response length after training, mean over suites, in tokens; nan without any."""
    return mean([run.last(names.evaluation(s, "response_tokens")) for s in suites])


def entropies(run: RunData) -> list[tuple[int, str, float]]:
    """(step, level, nats a token) of every update of a run, whatever its level, by step; finite ones."""
    return sorted(
        (step, level, value)
        for level in updated_levels(run, "entropy")
        for step, value in run.by_step(names.policy(level, "entropy")).items()
        if math.isfinite(value)
    )


def final_entropy(run: RunData) -> float:
    """Entropy of the policy (nats a token), mean over the last updates of a run; nan without any."""
    return mean([value for _, _, value in entropies(run)[-WINDOW:]])


def level_matrix(run: RunData) -> LevelMatrix | None:
    """Accuracy on the held-out problems of each level before training and after each level's.

    None unless two or more levels were trained, each in one stretch, and the suites were evaluated before the first
    and right after each: so of a schedule with boundaries. Over the problems that all these evaluations asked, where
    that was logged: those at boundaries may ask fewer than those at the ends.
    """
    trained = sorted((step, level) for level in sampled_levels([run]) for step in run.by_step(names.generated(level)))
    stretches = [(level, list(steps)[-1][0]) for level, steps in itertools.groupby(trained, key=lambda at: at[1])]
    levels = tuple(level for level, _ in stretches)
    if len(levels) < 2 or len(set(levels)) < len(levels):
        return None
    common = [run.by_step(names.common_accuracy(level)) for level in levels]
    of = common if all(common) else [run.by_step(names.heldout_accuracy(level)) for level in levels]
    places = [0, *(end for _, end in stretches)]
    values = np.array([[by_step.get(place, math.nan) for by_step in of] for place in places], dtype=float)
    return LevelMatrix(levels, values[0], values[1:]) if np.isfinite(values).all() else None


def transfer(run: RunData) -> dict[str, float]:
    """forward_transfer, backward_transfer, forgetting of one run; nan where `level_matrix` is None."""
    matrix = level_matrix(run)
    return {name: math.nan if matrix is None else measure(matrix) for name, measure in TRANSFER.items()}


def seed_values(run: RunData, study: StudyData) -> dict[str, float | str | int]:
    """Column -> value of one run, named as the columns of the table."""
    out: dict[str, float | str | int] = {"arm": run.arm, "seed": run.seed, "run_id": run.run_id}
    for suite in study.suites:
        out[f"{suite}/start"] = run.first(names.accuracy(suite))
        out[f"{suite}/end"] = run.last(names.accuracy(suite))
    out[f"{study.objective}/start"] = run.first(study.objective)
    out[f"{study.objective}/end"] = run.last(study.objective)
    out["updates"] = run.last(names.UPDATES)
    out["tokens"] = run.last(names.TOKENS)
    out["response_tokens"] = response_tokens(run, study.suites)
    out["seconds"] = run.last(names.TOTAL_SECONDS)
    out["entropy"] = final_entropy(run)
    out["parameters"] = run.first(names.PARAMETERS)
    out |= transfer(run)
    for level in study.levels:
        out[f"admission_rate/{level}"] = admission_rate([run], level)
        out[f"clip_fraction_low/{level}"] = clip_fraction(run, level, "low")
        out[f"clip_fraction_high/{level}"] = clip_fraction(run, level, "high")
    return out
