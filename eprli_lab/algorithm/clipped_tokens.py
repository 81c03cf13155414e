"""Which tokens an objective holds back at its bounds: what the clip fractions of an update count."""

from __future__ import annotations

import torch
from torch import Tensor

from eprli_lab.algorithm.loss import beyond_bounds
from eprli_lab.algorithm.sequence_ratio import sequence_ratio
from eprli_lab.algorithm.trust_region import outside


def clipped_tokens(
    name: str,
    logp_new: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    clip_low: float,
    clip_high: float,
    sequence: Tensor,
) -> tuple[Tensor, Tensor]:
    """(tokens [T] with A < 0 at the lower bound, tokens [T] with A > 0 at the upper bound).

    ppo_clip, clip_cov and a user's objective: by the token's ratio; gspo: by its sequence's; dppo_tv: by the difference
    of probabilities; cispo: the upper bound alone, where its weight is cut; kl_cov: none, it has no bounds.
    """
    if name == "dppo_tv":
        return outside(logp_new, logp_old, advantages, clip_low, clip_high)
    ratio = (logp_new - logp_old).exp()
    if name == "gspo":
        ratio = sequence_ratio(logp_new, logp_old, sequence)
    low, high = beyond_bounds(ratio, advantages, clip_low, clip_high)
    if name == "kl_cov":
        high = torch.zeros_like(high)
    return (torch.zeros_like(low) if name in ("cispo", "kl_cov") else low), high
