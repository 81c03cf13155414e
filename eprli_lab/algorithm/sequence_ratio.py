"""GSPO: the probability ratio of a whole sequence (arXiv 2507.18071)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sequence_ratio(logp_new: Tensor, logp_old: Tensor, sequence: Tensor) -> Tensor:
    """s_i = exp(mean_t (new - old)) of the sequence that each token [T] belongs to (eq. 7), shape [T]."""
    if not len(sequence):
        return (logp_new - logp_old).exp()
    count = int(sequence.max()) + 1
    lengths = torch.bincount(sequence, minlength=count).clamp(min=1)
    sums = torch.zeros(count, dtype=logp_new.dtype, device=logp_new.device)
    sums = sums.index_add(0, sequence, logp_new - logp_old)
    return (sums / lengths).exp()[sequence]


def gspo(
    logp_new: Tensor, logp_old: Tensor, advantages: Tensor, clip_low: float, clip_high: float, context: Any
) -> Tensor:
    """Per-token loss [T]: -min(s A, clip(s, 1 - eps_low, 1 + eps_high) A), s the ratio of the token's sequence (eq. 5).

    Averaged over the tokens of a sequence and then over sequences it is GSPO's objective; with advantages that differ
    within a sequence it keeps each token's own. s moves far less than a
    token's ratio: the paper clips at 3e-4 and 4e-4.
    """
    ratio = sequence_ratio(logp_new, logp_old, context.sequence)
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)
