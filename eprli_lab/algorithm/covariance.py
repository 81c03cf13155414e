"""Clip-Cov and KL-Cov: held back are the tokens that lower entropy most (arXiv 2505.22617, section 4.2).

A token's share in the covariance of log-probability and advantage says how much its gradient changes the entropy
(theorem 1). Both act on few tokens. Which, is decided over the tokens that are given at once: a microbatch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eprli_lab.algorithm.loss import clipped_objective


def token_covariances(logp_new: Tensor, advantages: Tensor) -> Tensor:
    """(log pi - mean log pi) (A - mean A) of each token [T] (eq. 10), without a gradient."""
    logp = logp_new.detach()
    return (logp - logp.mean()) * (advantages - advantages.mean())


def chosen_count(share: float, tokens: int) -> int:
    """How many tokens a share is: rounded down, but at least one, as in the published code; none of none."""
    return min(tokens, max(1, int(share * tokens)))


def clip_cov(
    logp_new: Tensor, logp_old: Tensor, advantages: Tensor, clip_low: float, clip_high: float, context: Any
) -> Tensor:
    """Per-token loss [T]: the clipped one, and 0 without a gradient for some tokens of high covariance (eq. 11, 12).

    Drawn at random, `clip_share` of all tokens, from those whose covariance lies between `clip_low` and `clip_high` of
    the context's covariance settings and that the ratio's bounds do not clip already.
    """
    settings = context.covariance
    loss = clipped_objective(logp_new, logp_old, advantages, clip_low, clip_high)
    if not len(loss):
        return loss
    with torch.no_grad():
        unclipped = loss <= -(logp_new - logp_old).exp() * advantages
        values = token_covariances(logp_new, advantages)
        high = (values > settings.clip_low) & (values < settings.clip_high) & unclipped
        candidates = high.nonzero()[:, 0]
        order = torch.randperm(len(candidates), generator=context.generator).to(candidates.device)
        held = candidates[order[: chosen_count(settings.clip_share, len(loss))]]
        keep = torch.ones_like(loss).index_fill_(0, held, 0.0)
    return loss * keep


def kl_cov(
    logp_new: Tensor, logp_old: Tensor, advantages: Tensor, clip_low: float, clip_high: float, context: Any
) -> Tensor:
    """Per-token loss [T]: -r A, plus `kl_coef` |log r| for the `kl_share` of highest covariance (eq. 13, 14).

    |log r| is the published code's estimate of the KL; its gradient is zero while the ratio is 1. No ratio is clipped:
    the clip bounds do nothing.
    """
    del clip_low, clip_high
    settings, difference = context.covariance, logp_new - logp_old
    loss = -difference.exp() * advantages
    if not len(loss):
        return loss
    top = token_covariances(logp_new, advantages).topk(chosen_count(settings.kl_share, len(loss))).indices
    penalised = torch.zeros_like(loss).index_fill_(0, top, settings.kl_coef)
    return loss + penalised * difference.abs()
