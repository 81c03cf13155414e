"""The correction for a sampler that is not the trainer: weights of tokens, truncated (TIS) or masked (IcePop)."""

from __future__ import annotations

import torch
from torch import Tensor

from eprli_lab.records import CorrectionSettings


def importance_weights(trainer: Tensor, sampler: Tensor) -> Tensor:
    """w [T] = pi_trainer / pi_sampler, of log-probabilities (nats) before the update; no gradient."""
    return (trainer - sampler).detach().exp()


def correction(weights: Tensor, settings: CorrectionSettings) -> tuple[Tensor, Tensor]:
    """(factor [T] of each token's loss, tokens [T] that were cut). A weight exactly on a bound is inside.

    tis (Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training"): min(w, cap).
    icepop (arXiv 2510.18855): w inside [low, high], else 0.
    """
    if settings.kind == "tis":
        return weights.clamp(max=settings.cap), weights > settings.cap
    outside = (weights < settings.low) | (weights > settings.high)
    return torch.where(outside, torch.zeros_like(weights), weights), outside
