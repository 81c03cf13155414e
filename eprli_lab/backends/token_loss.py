"""The loss of an update's tokens: objective and correction, the same on both engines; and what is measured of them."""

from __future__ import annotations

import torch
from torch import Tensor

from eprli_lab.algorithm.importance import correction, importance_weights
from eprli_lab.algorithm.objective import ObjectiveContext, token_losses
from eprli_lab.backends.update_stats import UpdateStats
from eprli_lab.records import CorrectionSettings, CovarianceSettings


def context_for(sequence: Tensor, seed: int, covariance: CovarianceSettings) -> ObjectiveContext:
    """What an objective may ask, of tokens that belong to these sequences [T]."""
    return ObjectiveContext(sequence, torch.Generator().manual_seed(seed), covariance)


def corrected_losses(
    name: str,
    new: Tensor,
    sampler: Tensor,
    trainer: Tensor | None,
    advantages: Tensor,
    clip: tuple[float, float],
    context: ObjectiveContext,
    settings: CorrectionSettings,
) -> Tensor:
    """Losses [T]: the objective's, times the factor of the correction.

    `sampler`, `trainer`: log-probabilities [T] (nats) under the sampling weights and under those before the update.
    Without a correction (`trainer` None) the ratio is new / sampler; with one it is new / trainer, and the weight
    trainer / sampler, which never gets a gradient.
    """
    old = sampler if trainer is None else trainer
    losses = token_losses(name, new, old, advantages, *clip, context)
    if trainer is None:
        return losses
    factor, _ = correction(importance_weights(trainer, sampler), settings)
    return factor * losses


@torch.no_grad()
def measure(
    stats: UpdateStats,
    name: str,
    new: Tensor,
    sampler: Tensor,
    trainer: Tensor | None,
    advantages: Tensor,
    clip: tuple[float, float],
    sequence: Tensor,
    settings: CorrectionSettings,
) -> None:
    """Add what is known of these tokens [T] (arguments as above) to an update's sums."""
    stats.tokens_seen(new.detach(), sampler, advantages, *clip, objective=name, sequence=sequence, trainer=trainer)
    if trainer is not None:
        _, cut = correction(importance_weights(trainer, sampler), settings)
        stats.weights_seen(trainer, sampler, cut)
