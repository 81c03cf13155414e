"""DPPO: a trust region in probability, where PPO has one in the ratio (arXiv 2602.04879)."""

from __future__ import annotations

import torch
from torch import Tensor


def outside(
    logp_new: Tensor, logp_old: Tensor, advantages: Tensor, delta_low: float, delta_high: float
) -> tuple[Tensor, Tensor]:
    """Tokens [T] that a step would move further out: (A < 0 and pi < mu - delta_low; A > 0 and pi > mu + delta_high).

    |pi - mu| of the sampled token bounds the total variation from below. At delta exactly a token is inside.
    """
    gap = logp_new.detach().exp() - logp_old.detach().exp()
    return (gap < -delta_low) & (advantages < 0), (gap > delta_high) & (advantages > 0)


def dppo_tv(logp_new: Tensor, logp_old: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """Per-token loss [T]: -r A, and 0 for a token that is outside and would move further out.

    The deltas are the level's clip bounds (the paper: .2 and .2): a bound on the probability itself. Rare tokens, whose
    ratio leaves PPO's interval at once, keep their gradient; likely ones lose it sooner.
    """
    low, high = outside(logp_new, logp_old, advantages, clip_low, clip_high)
    loss = -(logp_new - logp_old).exp() * advantages
    return torch.where(low | high, torch.zeros_like(loss), loss)
