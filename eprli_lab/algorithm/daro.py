"""DARO: learnable loss weights for groups of equal difficulty (arXiv 2510.09001)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def daro_step(log_weights: Mapping[str, float], losses: Mapping[str, float], rate: float) -> dict[str, float]:
    """One gradient step of log w_mu on sum_mu (w_mu L_mu - log w_mu), whose derivative is w_mu L_mu - 1.

    At rest w_mu = 1 / L_mu: every difficulty contributes equally to the loss. Difficulties that are not in this batch
    keep their weight; a new one starts at w = 1.
    """
    out = dict(log_weights)
    for mu, loss in losses.items():
        out[mu] = out.get(mu, 0.0) - rate * (math.exp(out.get(mu, 0.0)) * loss - 1.0)
    return out


def loss_scales(difficulties: Sequence[str], magnitudes: Sequence[float]) -> dict[str, float]:
    """L_mu: each difficulty's share of sum |A_{i,t}|, times the number of difficulties, so that equal shares are 1.

    `difficulties`, `magnitudes`: one entry a group of the batch; the magnitude is the sum of |A_{i,t}| over its tokens.
    Simplified: the paper takes the policy-gradient loss itself, which on fresh groups is near zero and of either sign;
    the magnitude of its terms is what it scales with.
    """
    total = math.fsum(magnitudes)
    names = list(dict.fromkeys(difficulties))
    if total == 0.0:
        return dict.fromkeys(names, 1.0)
    sums = {n: math.fsum(m for d, m in zip(difficulties, magnitudes, strict=True) if d == n) for n in names}
    return {n: len(names) * value / total for n, value in sums.items()}
