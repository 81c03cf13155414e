"""CISPO: REINFORCE under a truncated importance weight (arXiv 2506.13585)."""

from __future__ import annotations

from torch import Tensor


def cispo(logp_new: Tensor, logp_old: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """Per-token loss [T]: -sg(min(r, 1 + eps_high)) A log pi (eq. 4 and 5, where no lower bound is set either).

    The weight is cut and gets no gradient, so every token keeps one, whatever its ratio. `clip_low` does nothing.
    """
    del clip_low
    weight = (logp_new - logp_old).detach().exp().clamp(max=1.0 + clip_high)
    return -weight * advantages * logp_new
