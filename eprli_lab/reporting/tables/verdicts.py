"""What may be said of differences, in words."""

from __future__ import annotations

import math

from eprli_lab.reporting.stats.paired import ALPHA
from eprli_lab.reporting.tables.arm import ArmRow, Comparison
from eprli_lab.reporting.tables.numbers import difference_text, p_text, signed


def is_significant(row: ArmRow) -> bool:
    """The interval excludes zero, and p after Holm's correction is below 5%: the rule of every sentence on an arm."""
    return row.difference is not None and row.difference.distinguishable and row.p_holm < ALPHA


def verdict(row: ArmRow, baseline: str, objective: str, direction: str = "maximize") -> str:
    """One sentence on an arm's difference; one that the interval cannot tell from zero is said to be so."""
    d = row.difference
    if d is None or d.n == 0:
        return f"no seed in common with {baseline}, so no comparison"
    seeds = f"{d.n} common seed{'s' if d.n > 1 else ''}"
    if d.n == 1:
        return f"{signed(d.mean)} in {objective} on one common seed: no interval, so nothing can be said"
    if math.isnan(d.low):
        return f"{signed(d.mean)} in {objective} on each of {seeds}: without spread there is no interval"
    what = f"{difference_text(d)} in {objective} over {seeds}"
    if d.identical:
        return f"{what}: identical at every seed, so what differs never acted on it"
    if not d.distinguishable:
        return f"{what}: not distinguishable from zero"
    better = "better" if (d.mean > 0) == (direction == "maximize") else "worse"
    if not is_significant(row):
        return f"{what}: {better} by itself, not after correction for the number of arms (p {p_text(row.p_holm)})"
    return f"{what}: {better} than {baseline} (p {p_text(row.p_holm)})"


def verdicts(table: Comparison, row: ArmRow) -> str:
    """The headline's sentence, and a short one for each further objective."""
    objective, direction = table.study.objectives[0]
    out = verdict(row, row.baseline, objective, direction)
    for metric, way in table.study.objectives[1:]:
        out += f"; {metric} {difference_text(row.secondary[metric])}: {_short_verdict(row, metric, way)}"
    return out


def _short_verdict(row: ArmRow, metric: str, direction: str) -> str:
    d = row.secondary[metric]
    if d.distinguishable:
        better = "better" if (d.mean > 0) == (direction == "maximize") else "worse"
        p = row.secondary_p[metric]
        return f"{better} (p {p_text(p)})" if p < ALPHA else f"{better} by itself, not after correction (p {p_text(p)})"
    if d.identical:
        return "identical at every seed"
    return "no comparison" if math.isnan(d.low) else "not distinguishable from zero"


def headline(table: Comparison) -> str:
    """How many arms a study tells apart from their baselines, and which."""
    compared = [r for r in table.rows if r.difference is not None and r.difference.n]
    if len(table.rows) < 2:
        return "There is one arm, so nothing is compared."
    if not compared:
        return "No arm has a seed in common with a baseline, so nothing is compared."
    is_more_better = table.study.objectives[0][1] == "maximize"
    bases = {r.baseline for r in compared}
    base = bases.pop() if len(bases) == 1 else "their baselines"
    significant = [
        f"{r.arm} ({'better' if (r.difference.mean > 0) == is_more_better else 'worse'})"
        for r in compared
        if r.difference is not None and is_significant(r)
    ]
    arms = f"{len(significant) or 'None'} of {len(compared)} arms" if len(compared) > 1 else "The arm"
    is_not = "" if significant or len(compared) > 1 else "not"
    which = f": {', '.join(significant)}" if significant else ""
    return f"{arms} can{is_not} be told apart from {base} in {table.study.objective}{which}."
