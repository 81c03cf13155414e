"""Findings along a run: entropy collapse, and accuracy that a later level cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from eprli_lab.reporting.derived import WINDOW, entropies, sampled_levels
from eprli_lab.reporting.diagnosis.finding import (
    Finding,
    Rows,
    advice,
    current_value,
    number_of,
    param_of,
    problem_count,
)
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean, spread
from eprli_lab.tracking import names

ENTROPY_SHARE = 0.1  # of its first value: a policy that lost 90% of its entropy explores one path only
ENTROPY_FLOOR = 0.02  # nats a token: exp(-.02 * 50) = a third of 50-token responses are the same one; see _collapse
FORGOTTEN_ERRORS = 3.0  # standard errors; with 5 arms x 3 levels x 3 suites 0.06 false alarms a study (from 2 seeds)
FORGOTTEN_DROP = 0.02  # accuracy; a smaller drop is not worth a reader's time, however certain


def entropy_collapse(study: StudyData, runs: Sequence[RunData], arm: str) -> list[Finding]:
    """Entropy that fell below a share of its first value and below a floor, in the mean over seeds.

    Both: a policy that becomes right on a deterministic task rightly loses most of its entropy; below the floor its
    samples of one problem are mostly identical, and a group of identical responses has no advantage.
    """
    fallen: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        points = entropies(run)
        if len(points) < 2 * WINDOW:
            continue
        first = mean([v for _, _, v in points[:WINDOW]])
        for i in range(2 * WINDOW, len(points) + 1):
            now = mean([v for _, _, v in points[i - WINDOW : i]])
            if now < ENTROPY_FLOOR and now < ENTROPY_SHARE * first:
                fallen.setdefault(points[i - 1][1], []).append((first, now))
                break
    out = []
    for level, pairs in fallen.items():
        first = mean([a for a, _ in pairs])
        now = mean([b for _, b in pairs])
        sentence = (
            f"{arm}: the policy's entropy collapsed at level {level} in {len(pairs)} of {len(runs)} runs (from "
            f"{first:.3f} to {now:.3f} nats a token): later groups are near copies of one response; "
            f"{_against_collapse(study, runs, arm, level)}"
        )
        out.append(Finding("entropy_collapse", arm, level, sentence))
    return out


def _against_collapse(study: StudyData, runs: Sequence[RunData], arm: str, level: str) -> str:
    """What keeps entropy up, and which arms do it already."""
    bound = f"curriculum.levels.{level}.clip.high"
    high, rate, coefficient = (number_of(runs[0], path) for path in (bound, "optim.learning_rate", "algorithm.kl_coef"))
    return advice(
        study,
        arm,
        [
            (f"raise {bound}{current_value(runs, bound)}", lambda r: number_of(r, bound) > high),
            ("lower the learning rate", lambda r: number_of(r, "optim.learning_rate") < rate),
            ("raise algorithm.kl_coef", lambda r: number_of(r, "algorithm.kl_coef") > coefficient),
        ],
    )


# what keeps an easier level in training, and whether a run does it
KEEPS = (
    ("curriculum.schedule=mixed", lambda r: param_of(r, "curriculum.schedule", "") == "mixed"),
    ("curriculum.strata=cumulative", lambda r: param_of(r, "curriculum.strata", "") == "cumulative"),
)


@dataclass(frozen=True)
class AccuracyDrop:
    """A suite's accuracy at both ends of a stretch that trained one level only."""

    before: float
    after: float
    error: float  # standard error of the difference, from the number of problems


def forgetting(study: StudyData, runs: Sequence[RunData], arm: str, outcomes: Rows) -> list[Finding]:
    """A suite that fell while one of several levels trained, beyond what the number of problems explains."""
    if len(sampled_levels(runs)) < 2:
        return []
    drops_by_stage: dict[tuple[str, str], list[AccuracyDrop]] = {}
    for run in runs:
        for suite in study.suites:
            for level, start, end in training_spans(run, suite):
                drop = accuracy_drop(run, suite, start, end, outcomes.get(run.run_id, ()))
                if drop is not None:
                    drops_by_stage.setdefault((level, suite), []).append(drop)
    out = []
    for (level, suite), drops in sorted(drops_by_stage.items()):
        before = mean([f.before for f in drops])
        after = mean([f.after for f in drops])
        error = max(math.sqrt(math.fsum(f.error**2 for f in drops)) / len(drops), _error_over_seeds(drops))
        if before - after > max(FORGOTTEN_DROP, FORGOTTEN_ERRORS * error):
            sentence = (
                f"{arm}: {suite} fell from {before:.3f} to {after:.3f} while level {level} trained (mean of "
                f"{len(drops)} run{'s' if len(drops) > 1 else ', another seed may not show it'}, "
                f"{(before - after) / error:.1f} standard errors): that level's training damaged it; "
                f"{advice(study, arm, KEEPS, 'compare ')}"
            )
            out.append(Finding("forgetting", arm, level, sentence))
    return out


def _error_over_seeds(drops: Sequence[AccuracyDrop]) -> float:
    """Standard error of the mean drop from its spread over seeds, widened so that FORGOTTEN_ERRORS of it hold by t.

    The number of problems alone knows nothing of the luck of training. 0 for one run, which shows no spread.
    """
    if len(drops) < 2:
        return 0.0
    from scipy import stats

    sizes = [f.before - f.after for f in drops]
    wider = float(stats.t.isf(stats.norm.sf(FORGOTTEN_ERRORS), len(sizes) - 1)) / FORGOTTEN_ERRORS
    return wider * spread(sizes) / math.sqrt(len(sizes))


def training_spans(run: RunData, suite: str) -> Iterator[tuple[str, int, int]]:
    """(level, step of the evaluation before, and after) of every unbroken stretch in which one level trained."""
    trained = {s: lv for lv in sampled_levels([run]) for s in run.by_step(names.generated(lv))}
    points = sorted(run.by_step(names.accuracy(suite)))
    current: tuple[str, int, int] | None = None
    for start, end in pairwise(points):
        levels = {trained[s] for s in range(start + 1, end + 1) if s in trained}
        level = levels.pop() if len(levels) == 1 else None
        if current is not None and current[0] == level and current[2] == start:
            current = (current[0], current[1], end)
            continue
        if current is not None:
            yield current
        current = (level, start, end) if level is not None else None
    if current is not None:
        yield current


def accuracy_drop(
    run: RunData, suite: str, start: int, end: int, rows: Sequence[Mapping[str, Any]]
) -> AccuracyDrop | None:
    """Problem by problem where the outcomes are at hand, else binomial with the problem as the unit."""
    by_step: dict[int, dict[str, float]] = {start: {}, end: {}}
    for row in rows:
        if row["suite"] == suite and row["step"] in by_step:
            by_step[row["step"]][row["problem"]] = row["correct"] / row["samples"]
    common = sorted(by_step[start].keys() & by_step[end].keys())
    if len(common) > 1:
        before, after = (mean([by_step[s][p] for p in common]) for s in (start, end))
        changes = [by_step[end][p] - by_step[start][p] for p in common]
        centre = mean(changes)
        variance = math.fsum((c - centre) ** 2 for c in changes) / (len(changes) - 1)
        # one problem changed by one sample, at least: no spread among few problems is no certainty
        return AccuracyDrop(before, after, math.sqrt(max(variance, 1 / len(common)) / len(common)))
    history = run.by_step(names.accuracy(suite))
    steps = sorted(history)
    before = history[start]
    after = history[end]
    sizes = [problem_count(run, suite, partial=s not in (steps[0], steps[-1])) for s in (start, end)]
    if not all(sizes):
        return None
    parts = [max(p * (1 - p), 1 / n) / n for p, n in zip((before, after), sizes, strict=True)]
    return AccuracyDrop(before, after, math.sqrt(math.fsum(parts)))
