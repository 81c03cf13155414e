"""The data of a figure as rows of one format, so that every figure's CSV reads the same."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from eprli_lab.reporting.tables.printers.csv import print_records

FIELDS = ("panel", "arm", "series", "seed", "x", "y", "low", "high", "n")


class Row(NamedTuple):
    """One mark of a figure; what a figure has not is an empty cell."""

    panel: str = ""  # heading of its panel
    arm: str = ""  # or the contrast, as "a - b"; of a search the trial
    series: str = ""  # which of the panel's lines: a level, a verdict, "before training", "mean"
    seed: int | str = ""  # of one seed's mark; empty: over seeds
    x: float | str = ""  # place on the axis, in its unit; a word where the axis has words
    y: float | str = ""  # value
    low: float = math.nan  # ends of the interval that is drawn; empty without one
    high: float = math.nan
    n: int | str = ""  # seeds that y is the mean of, where the figure says


def as_csv(rows: Iterable[Row]) -> str:
    """Header and rows, six digits; nan is an empty cell, and no text is a formula."""
    return print_records(FIELDS, (tuple(map(_six_digits, row)) for row in rows))


def _six_digits(value: float | str) -> float | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value
