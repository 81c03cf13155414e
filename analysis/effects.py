"""Where an arm differs: one paired difference a suite (the strata of the evaluation). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.aggregates import Matrix, score_matrix
from analysis.statistics import PairedDifference, holm, paired_difference
from analysis.store import StudyData
from eprli_lab.errors import UserError, nearest


@dataclass(frozen=True)
class SuiteEffect:
    """One arm minus its baseline on one suite, over common seeds."""

    arm: str
    baseline: str
    suite: str
    metric: str  # of eval/{suite}/..., after training
    difference: PairedDifference
    p_holm: float  # corrected over the suites of this arm; nan without an interval


def baselines(study: StudyData, baseline: str | None = None) -> dict[str, str]:
    """Arm -> what it is compared to; arms that are compared to nothing are left out.

    A given baseline goes before those that arms have of their own. Raises UserError when it is no arm of the study.
    """
    arms = study.arms
    base = baseline or str(study.description.get("baseline") or (arms[0] if arms else ""))
    if arms and base not in arms:
        raise UserError(f"baseline={base}: {study.name} has no such arm{nearest(base, arms)}")
    against = {arm: base for arm in arms}
    if baseline is None:
        own = study.description.get("arm_baselines") or {}
        against |= {arm: str(b) for arm, b in own.items() if arm in arms and b in arms}
    return {arm: b for arm, b in against.items() if arm != b}


def last_by_seed(study: StudyData, arm: str, metric: str) -> dict[int, float]:
    """Seed -> the metric's last value; nan where it was never logged."""
    return {run.seed: run.last(metric) for run in study.of(arm)}


def suite_scores(study: StudyData, arm: str) -> tuple[list[int], Matrix]:
    """(seeds, seeds x suites) of the arm's last avg_at_k; a seed that lacks a suite is left out."""
    values = {run.seed: {s: run.last(f"eval/{s}/avg_at_k") for s in study.suites} for run in study.of(arm)}
    return score_matrix(values, study.suites)


def difference(study: StudyData, arm: str, baseline: str, metric: str) -> PairedDifference:
    """Arm minus baseline in the last value of a metric, paired over common seeds."""
    return paired_difference(last_by_seed(study, arm, metric), last_by_seed(study, baseline, metric))


def suite_effects(
    study: StudyData, arm: str, baseline: str | None = None, metric: str = "avg_at_k"
) -> list[SuiteEffect]:
    """The arm's difference on every suite, in the study's order of suites, Holm-corrected over them.

    `baseline` None: the one that the study names for this arm; an arm that is its own baseline has no effects. Raises
    UserError when the arm or the baseline is none of the study's.
    """
    if arm not in study.arms:
        raise UserError(f"arm={arm}: {study.name} has no such arm{nearest(arm, study.arms)}")
    against = baselines(study, baseline).get(arm)
    if against is None:
        return []
    found = {suite: difference(study, arm, against, f"eval/{suite}/{metric}") for suite in study.suites}
    adjusted = holm([d.p for d in found.values()])
    return [
        SuiteEffect(arm, against, suite, metric, d, p) for (suite, d), p in zip(found.items(), adjusted, strict=True)
    ]
