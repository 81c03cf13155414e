"""Numbers as a table spells them."""

from __future__ import annotations

import math

from eprli_lab.reporting.stats.paired import PairedDifference


def fraction(value: float, digits: int = 3) -> str:
    """.899; -.012; 1.000; a dash for nan."""
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def p_text(p: float) -> str:
    """.031; <.001; a dash for nan."""
    return "<.001" if p < 0.001 else fraction(p)


def signed(value: float) -> str:
    """+.012, -.003; a dash for nan."""
    return "-" if math.isnan(value) else f"{'-' if value < 0 else '+'}{fraction(abs(value))}"


def difference_text(d: PairedDifference) -> str:
    """+.041 [+.011, +.071], or why there is no interval."""
    if d.n == 0:
        return "-"
    if math.isnan(d.low):
        return f"{signed(d.mean)} [no interval, n={d.n}]"
    return f"{signed(d.mean)} [{signed(d.low)}, {signed(d.high)}]"


def number(value: float, digits: int) -> str:
    """12,345.6; a dash for nan."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"
