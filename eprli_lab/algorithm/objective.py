"""The loss of a token by its objective's name, what an objective may ask for, and which tokens it holds back.

An objective is a function `(logp_new, logp_old, advantages, clip_low, clip_high)` on flat token tensors [T] that gives
losses [T]; one that has a parameter `context` is also given an ObjectiveContext.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eprli_lab.config.extensions import resolve, takes_context
from eprli_lab.records import CovarianceSettings


@dataclass(frozen=True)
class ObjectiveContext:
    """What an objective may ask beside the tokens that it is given: those of some whole sequences, all together."""

    sequence: Tensor  # int64 [T]: number, from 0, of the sequence that a token belongs to
    generator: torch.Generator  # on the CPU; its seed is another one at every call
    covariance: CovarianceSettings


def token_losses(
    name: str,
    logp_new: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    clip_low: float,
    clip_high: float,
    context: ObjectiveContext,
) -> Tensor:
    """Losses [T] of the objective of this name (registered, or an import path)."""
    function = resolve("objective", name)
    more = {"context": context} if takes_context(function) else {}
    losses: Tensor = function(logp_new, logp_old, advantages, clip_low, clip_high, **more)
    return losses
