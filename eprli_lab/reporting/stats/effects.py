"""Where an arm differs: one paired difference a suite (the strata of the evaluation). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eprli_lab.errors import UserError, nearest
from eprli_lab.reporting.load import History, RunData, StudyData
from eprli_lab.reporting.stats.aggregates import Matrix, score_matrix
from eprli_lab.reporting.stats.looks import adjusted
from eprli_lab.reporting.stats.paired import PairedDifference, corrected, family_size, paired_difference
from eprli_lab.reporting.stats.power import equivalence
from eprli_lab.tracking import names
from eprli_lab.tracking.description import Contrast


@dataclass(frozen=True)
class SuiteEffect:
    """One arm minus its baseline on one suite, over common seeds."""

    arm: str
    baseline: str
    suite: str
    metric: str  # of eval/{suite}/..., after training
    difference: PairedDifference
    p_holm: float  # corrected over the arms and suites of the study; nan of one that is not judged


@dataclass(frozen=True)
class ContrastEffect:
    """A named contrast in the first objective, over common seeds."""

    contrast: Contrast
    difference: PairedDifference
    p_holm: float  # corrected over the contrasts of the study; nan of one that is not judged
    family: int  # contrasts that it is corrected over


def baselines(study: StudyData, baseline: str | None = None) -> dict[str, str]:
    """Arm -> what it is compared to; arms that are compared to nothing are left out.

    A given baseline goes before those that arms have of their own. Raises UserError when it is no arm of the study.
    """
    arms = study.arms
    base = baseline or study.description.baseline or (arms[0] if arms else "")
    if arms and base not in arms:
        raise UserError(f"baseline={base}: {study.name} has no such arm{nearest(base, arms)}")
    compared_to = {arm: base for arm in arms}
    if baseline is None:
        of_arms = study.description.arm_baselines
        compared_to |= {arm: b for arm, b in of_arms.items() if arm in arms and b in arms}
    return {arm: b for arm, b in compared_to.items() if arm != b}


def last_by_seed(study: StudyData, arm: str, metric: str) -> dict[int, float]:
    """Seed -> the metric's last value; nan where it was never logged."""
    return {run.seed: run.last(metric) for run in study.of(arm)}


def suite_scores(study: StudyData, arm: str) -> tuple[list[int], Matrix]:
    """(seeds, seeds x suites) of the arm's last avg_at_k; a seed that lacks a suite is left out."""
    values = {run.seed: {s: run.last(names.accuracy(s)) for s in study.suites} for run in study.of(arm)}
    return score_matrix(values, study.suites)


def difference(study: StudyData, arm: str, baseline: str, metric: str) -> PairedDifference:
    """Arm minus baseline in the last value of a metric, paired over common seeds.

    Of a study that is looked at early: over the seeds of its newest look, with a repeated confidence interval (one that
    holds 95% at all looks together); without an interval before the first one.
    """
    values, base_values = last_by_seed(study, arm, metric), last_by_seed(study, baseline, metric)
    looks = study.looks
    if looks is None or looks.is_broken:
        return paired_difference(values, base_values)
    if not looks.taken:
        return paired_difference(values, base_values)._replace(low=math.nan, high=math.nan, p=math.nan)
    test = looks.test({arm: values, baseline: base_values}, (arm, baseline))
    values, base_values = ({s: of[s] for s in test.seeds} for of in (values, base_values))
    return paired_difference(values, base_values, confidence=0.95 if math.isnan(test.level) else 1 - test.level)


def is_equivalent(study: StudyData, arm: str, baseline: str, metric: str, margin: float) -> bool:
    """Is the difference shown to lie within the margin (stats/power.py)?

    Of a study that is looked at early: does its repeated confidence interval lie there?
    """
    if study.looks is None:
        return equivalence(last_by_seed(study, arm, metric), last_by_seed(study, baseline, metric), margin).equivalent
    d = difference(study, arm, baseline, metric)
    return not study.looks.waits and -margin < d.low and d.high < margin


def corrected_p(
    study: StudyData, compared: Sequence[tuple[str, str, str]], differences: Iterable[PairedDifference]
) -> list[float]:
    """p of a family of (arm, baseline, metric) with these differences, in order: after Holm, and for the looks.

    nan of those that are not judged, which are all where a plan of looks was changed or no look is taken yet.
    """
    looks = study.looks
    if looks is None:
        return corrected(differences)
    if looks.is_broken or not looks.taken:
        return [math.nan] * len(compared)
    scores = [{a: last_by_seed(study, a, metric) for a in (arm, base)} for arm, base, metric in compared]
    return adjusted([looks.test(s, (arm, base)) for s, (arm, base, _) in zip(scores, compared, strict=True)])


def suite_effects(study: StudyData, baseline: str | None = None, metric: str = "avg_at_k") -> list[SuiteEffect]:
    """The difference of every arm on every suite, arm by arm, Holm-corrected over all of them.

    One family: corrected within each arm alone, a study of 11 identical arms finds a difference in one of three.
    `baseline` None: those that the study names; an arm that is its own baseline has no effects. Raises UserError when
    the baseline is no arm of the study.
    """
    differences = {
        (arm, base, suite): difference(study, arm, base, names.evaluation(suite, metric))
        for arm, base in baselines(study, baseline).items()
        for suite in study.suites
    }
    compared = [(arm, base, names.evaluation(suite, metric)) for arm, base, suite in differences]
    p_holm = corrected_p(study, compared, differences.values())
    return [
        SuiteEffect(arm, base, suite, metric, d, p)
        for ((arm, base, suite), d), p in zip(differences.items(), p_holm, strict=True)
    ]


def contrast_effects(study: StudyData) -> list[ContrastEffect]:
    """The contrasts that the study names, in its order: they answer its question, so that they are their own family."""
    named = [Contrast.of(text) for text in study.description.contrasts]
    differences = [difference(study, c.arm, c.reference, study.objective) for c in named]
    p_holm = corrected_p(study, [(c.arm, c.reference, study.objective) for c in named], differences)
    many = family_size(differences)
    return [ContrastEffect(c, d, p, many) for c, d, p in zip(named, differences, p_holm, strict=True)]


def is_identical(study: StudyData, arm: str, other: str) -> bool:
    """Are two arms' runs the same at every common seed, in every metric that was logged but those of the clock?"""
    if frozenset((arm, other)) in study.unequal:
        return False
    ours, others = ({run.seed: _without_clock(run) for run in study.of(a)} for a in (arm, other))
    common = ours.keys() & others.keys()
    return bool(common) and all(_same(ours[seed], others[seed]) for seed in common)


def _without_clock(run: RunData) -> dict[str, History]:
    return {metric: history for metric, history in run.histories.items() if not names.is_of_the_clock(metric)}


def _same(one: Mapping[str, History], other: Mapping[str, History]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(h.steps, other[k].steps) and np.array_equal(h.values, other[k].values, equal_nan=True)
        for k, h in one.items()
    )
