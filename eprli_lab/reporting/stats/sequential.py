"""Group-sequential t tests: nominal levels that keep the error rate however early one looks. Pure; exact for few seeds.

A study that may stop at look 1, ..., K spends its level step by step (Lan and DeMets 1983, 10.1093/biomet/70.3.659): by
look k at most `spent(n_k / n_K)` of it. What the p of a look is compared with follows from how the looks hang
together. The usual way takes that from the normal distribution and puts its levels on the p of t tests (Jennison and
Turnbull 2000, section 4.4); with 3 + 3 + 3 seeds 5.3% then come out as 5% (Pocock: 5.5%). Here it is taken from the t
statistics themselves: with S_k = sum x and Q_k = sum x^2 over the first n_k differences, u_k = S_k / sqrt(n_k Q_k) is a
monotone function of t_k, and under no effect

    u_{k+1} = (u_k sqrt(n_k r) + v sqrt(m (1 - r))) / sqrt(n_k + m),   r ~ Beta(n_k / 2, m / 2),

with v the same ratio of the m new differences alone and u_k, r, v independent: the direction of normal values does not
know their length. So u_1, ..., u_K is a Markov chain on one number, which is integrated on a grid.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eprli_lab.tracking.description import Spending

Floats = NDArray[np.float64]

TOP = 6.0  # normal scores of |t| are kept on a grid from 0 to here (two-sided p 2e-9)
CELLS = 144
NODES = 64  # of the integral over r
LEVELS = np.geomspace(1e-8, 1.0, 321)  # levels between which the nominal ones are interpolated
EDGES = np.linspace(0.0, TOP, CELLS + 1)


def spent(fraction: float, level: float, spending: Spending) -> float:
    """How much of a two-sided level may be spent by this fraction (0 to 1] of the seeds, half of it on each side."""
    return float(_spent(fraction, np.array([level]), spending)[0])


def nominal_level(
    level: float, sizes: Sequence[int], fractions: Sequence[float], spending: Spending, look: int = -1
) -> float:
    """What the two-sided p of the t test at a look is compared with, so that all looks together keep `level`.

    `sizes`: seeds at the looks so far, increasing, 2 or more; `fractions`: of all seeds, the last look's is 1. `look`:
    which of them, as an index.
    """
    of_look = _nominal(tuple(sizes), tuple(fractions), spending)[:, look]
    logs = np.log(np.maximum(of_look, 1e-300))
    return float(np.exp(np.interp(math.log(level), np.log(LEVELS), logs)))


def sequential_p(p: float, sizes: Sequence[int], fractions: Sequence[float], spending: Spending) -> float:
    """The smallest level at which the newest of these looks rejects: its p, adjusted for all looks so far.

    Never below 1e-8; nan stays nan. Its running minimum over the looks may be compared with any level, also by Holm.
    """
    if math.isnan(p):
        return p
    nominal = _nominal(tuple(sizes), tuple(fractions), spending)[:, -1]
    if p > nominal[-1]:
        return 1.0
    known = nominal > 0
    return float(np.exp(np.interp(math.log(max(p, 1e-300)), np.log(nominal[known]), np.log(LEVELS[known]))))


@functools.cache
def _nominal(sizes: tuple[int, ...], fractions: tuple[float, ...], spending: Spending) -> Floats:
    """[level of LEVELS, look]: nominal levels; 0 where a look may spend nothing that could be seen."""
    from scipy import stats

    if not sizes or sizes[0] < 2 or any(b <= a for a, b in zip(sizes, sizes[1:], strict=False)):
        raise ValueError(f"looks need two or more seeds, and more at each: not {sizes}")
    out = np.zeros((len(LEVELS), len(sizes)))
    before = np.zeros(len(LEVELS))
    critical = np.full(len(LEVELS), np.inf)
    # tails[level, edge]: chance to come here without a rejection so far, and with |score| above the edge
    tails = np.tile(2 * stats.norm.sf(EDGES), (len(LEVELS), 1))
    for k, fraction in enumerate(fractions):
        if k:
            masses = _kept(tails, critical)
            tails = masses @ _moves(sizes[k - 1], sizes[k] - sizes[k - 1])
        total = _spent(fraction, LEVELS, spending)
        critical = _critical(tails, total - before) if k else stats.norm.isf(total / 2)
        before = total
        out[:, k] = np.where(np.isfinite(critical), 2 * stats.norm.sf(critical), 0.0)
    monotone: Floats = np.maximum.accumulate(out, axis=0)
    return monotone


def _spent(fraction: float, levels: Floats, spending: Spending) -> Floats:
    from scipy import stats

    if spending == "pocock":
        return np.asarray(levels * math.log(1 + (math.e - 1) * fraction))
    return np.asarray(4 * stats.norm.sf(stats.norm.isf(levels / 4) / math.sqrt(fraction)))


def _critical(tails: Floats, targets: Floats) -> Floats:
    """The score above which each row's tail is its target; inf where that is not on the grid."""
    out = np.full(len(targets), np.inf)
    logs = np.log(np.maximum(tails, 1e-300))
    for i, target in enumerate(targets):
        if target > tails[i, -1]:
            out[i] = np.interp(-math.log(target), -logs[i], EDGES)
    return out


def _kept(tails: Floats, critical: Floats) -> Floats:
    """[level, cell]: chance of each cell of scores that goes on, those above the critical one left out."""
    width = EDGES[1] - EDGES[0]
    share = np.clip((critical[:, None] - EDGES[None, :-1]) / width, 0.0, 1.0)
    kept: Floats = (tails[:, :-1] - tails[:, 1:]) * share
    return kept


@functools.cache
def _moves(n: int, more: int) -> Floats:
    """[cell, edge]: from the middle of a cell at n seeds, the chance of a |score| above the edge at n + more."""
    from scipy import special

    here = _ratio((EDGES[:-1] + EDGES[1:]) / 2, n)[:, None]
    there = _ratio(EDGES, n + more)[None, :] * math.sqrt(n + more)
    places, weights = special.roots_jacobi(NODES, more / 2 - 1, n / 2 - 1)
    out = np.zeros((CELLS, CELLS + 1))
    for r, weight in zip((1 + places) / 2, weights / weights.sum(), strict=True):
        old = here * math.sqrt(n * r)
        new = math.sqrt(more * (1 - r))
        out += weight * (_ratio_above((there - old) / new, more) + _ratio_above((there + old) / new, more))
    return out


def _ratio(scores: Floats, n: int) -> Floats:
    """|u| at n seeds whose two-sided p is that of these normal scores."""
    from scipy import stats

    return np.asarray(np.sqrt(stats.beta.isf(2 * stats.norm.sf(scores), 0.5, (n - 1) / 2)))


def _ratio_above(values: Any, n: int) -> Floats:
    """Chance that the ratio u of n normal values is above these."""
    from scipy import special

    clipped = np.clip(values, -1.0, 1.0)
    if n == 1:  # a sign
        return np.where(clipped >= 1.0, 0.0, np.where(clipped <= -1.0, 1.0, 0.5))
    if n == 3:  # uniform
        return np.asarray((1.0 - clipped) / 2)
    within = special.betainc(0.5, (n - 1) / 2, clipped**2)
    return np.asarray((1.0 - np.sign(clipped) * within) / 2)
