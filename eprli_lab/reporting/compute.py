"""Compute curves of a study's arms: the score over generated tokens, seed by seed, and the curve through it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.reporting.stats.scaling import Run, Scaling, fit_curve
from eprli_lab.tracking import names

SHARE = 0.9  # of the smallest gain: the score that arms are asked for lies within what all of them measured


class ComputeCurves(NamedTuple):
    """One curve an arm, or why there is none."""

    metric: str  # what was fitted
    runs: Mapping[str, list[Run]]  # arm -> its seeds' evaluations after the start
    start: Mapping[str, float]  # arm -> R0
    of: Mapping[str, Scaling | str]  # arm with runs -> its curve, or a sentence
    target: float  # x, a score that every arm with a curve reached; nan without any
    slowest: str  # the arm with a curve that gained least: it sets x

    @property
    def fitted(self) -> dict[str, Scaling]:
        """Those arms that have a curve."""
        return {arm: found for arm, found in self.of.items() if isinstance(found, Scaling)}


def compute_curves(study: StudyData) -> ComputeCurves:
    """Of every arm with runs. The score is that over the problems which every evaluation asks, where it was logged.

    Runs of earlier versions have the score alone, whose evaluations on the way may ask fewer problems than the first
    and the last. x is nine tenths of the way that the arm came which gained least.
    """
    logged = [names.COMMON_SCORE in r.histories for r in study.runs]
    metric = names.COMMON_SCORE if logged and all(logged) else names.SCORE
    runs: dict[str, list[Run]] = {}
    start: dict[str, float] = {}
    of: dict[str, Scaling | str] = {}
    reached: dict[str, float] = {}
    for arm in study.arms:
        points = [r.against(metric, names.TOKENS) for r in study.of(arm)]
        seeds = [(x, y) for x, y in points if len(x) > 1 and x.min() == 0.0]
        if not seeds:
            continue
        start[arm] = mean([float(y[x == 0.0][0]) for x, y in seeds])
        runs[arm] = [Run(x[x > 0], y[x > 0]) for x, y in seeds]
        of[arm] = fit_curve(runs[arm], start[arm])
        if isinstance(of[arm], Scaling):
            reached[arm] = mean([float(r.scores[r.tokens.argmax()]) for r in runs[arm]])
    slowest = min(reached, key=lambda a: reached[a], default="")
    target = start[slowest] + SHARE * (reached[slowest] - start[slowest]) if slowest else math.nan
    return ComputeCurves(metric, runs, start, of, target, slowest)
