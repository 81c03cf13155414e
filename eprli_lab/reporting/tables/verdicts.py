"""What may be said of a difference, in words."""

from __future__ import annotations

import math

from eprli_lab.reporting.tables.arm import ArmRow
from eprli_lab.reporting.tables.numbers import difference_text, p_text, signed

ALPHA = 0.05  # of Holm-corrected p


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
