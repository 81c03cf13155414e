"""Findings on labels: suites and difficulty labels that do not order accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from eprli_lab.reporting.diagnosis.finding import Finding, Rows, problem_count
from eprli_lab.reporting.load import StudyData, difficulty_rank
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.tracking import names

ORDER_ERRORS = 2.0  # standard errors by which a harder suite or label must be easier than it claims
MIN_GROUPS = 100  # of a ledger, or problems, before a rank correlation says anything (its error is 0.1)


def suite_order(study: StudyData) -> list[Finding]:
    """Suites named easy, medium, hard whose accuracy before training says otherwise."""
    ranked = [s for s in study.suites if difficulty_rank(s)[0] > 0]
    out = []
    for easier, harder in pairwise(ranked):
        if difficulty_rank(easier)[0] >= difficulty_rank(harder)[0]:
            continue
        # the same policy and problems start every run of a study that changes no model: not more than one run's data
        start = {s: mean([r.first(names.accuracy(s)) for r in study.runs]) for s in (easier, harder)}
        sizes = {s: max((problem_count(r, s, partial=False) for r in study.runs), default=0) for s in start}
        if not all(sizes.values()) or any(math.isnan(v) for v in start.values()):
            continue
        error = math.sqrt(math.fsum(max(p * (1 - p), 1 / sizes[s]) / sizes[s] for s, p in start.items()))
        if start[harder] - start[easier] > ORDER_ERRORS * error:
            sentence = (
                f"before training {harder} is easier ({start[harder]:.3f} correct) than {easier} "
                f"({start[easier]:.3f}): the difficulty labels do not order accuracy; measure them "
                f"(eprli-lab difficulty)"
            )
            out.append(Finding("difficulty_order", "", "", sentence))
    return out


def label_order(study: StudyData, ledger: Rows, outcomes: Rows) -> list[Finding]:
    """Difficulty labels of single problems that do not go down with accuracy: held-out before training, and trained."""
    out = []
    for arm in study.arms:
        ids = [r.run_id for r in study.of(arm)]
        # before training every seed has the same policy, problems and samples: they are one evaluation
        first = next((outcomes[i] for i in ids if any(row["step"] == 0 for row in outcomes.get(i, ()))), ())
        held = [[(row["difficulty"], row["correct"] / row["samples"]) for row in first if row["step"] == 0]]
        trained: dict[str, list[list[tuple[Any, float]]]] = {}
        for i in ids:
            rows = [r for r in ledger.get(i, ()) if r["verdict"] != "errored"]
            for level in dict.fromkeys(r["level"] for r in rows):
                of_level = [(r["difficulty"], r["accuracy"]) for r in rows if r["level"] == level]
                trained.setdefault(level, []).append(of_level)
        for level, groups in [("", held), *trained.items()]:
            correlation = rank_correlation(groups)
            if correlation is None:
                continue
            rho, pairs = correlation
            error = ORDER_ERRORS / math.sqrt(pairs)
            if not rho > -error:
                continue
            what = f"at level {level}" if level else "of the held-out problems before training"
            not_shown = "order accuracy the wrong way round" if rho > error else "are not shown to order accuracy"
            sentence = (
                f"{arm}: the difficulty labels {what} {not_shown} (rank correlation {rho:+.2f} ± {error:.2f} over "
                f"{pairs} {'groups' if level else 'problems'}; labels that mean something are negative)"
            )
            out.append(Finding("difficulty_order", arm, level, sentence))
    return out


def rank_correlation(groups: Sequence[Sequence[tuple[Any, float]]]) -> tuple[float, int] | None:
    """(Spearman's rho of difficulty and accuracy, mean over runs weighted by size; pairs); None if there are too few.

    Runs apart, since their policies differ; a run whose labels or accuracies are all equal says nothing.
    """
    from scipy import stats

    total = 0.0
    weight = 0
    for pairs in groups:
        known = [(float(d), a) for d, a in pairs if d is not None]
        if len({d for d, _ in known}) < 2 or len({a for _, a in known}) < 2:
            continue
        total += len(known) * float(stats.spearmanr(*zip(*known, strict=True)).statistic)
        weight += len(known)
    return (total / weight, weight) if weight >= MIN_GROUPS else None
