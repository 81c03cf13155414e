"""The clipped objective, its aggregation, KL and clip fractions: pure functions on flat token tensors, shape [T].

T runs over all response tokens of a batch; which sequence a token belongs to only enters through the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def clipped_objective(
    logp_new: Tensor, logp_old: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """Per-token loss [T]: -min(r A, clip(r, 1 - eps_low, 1 + eps_high) A) with r = exp(new - old).

    GRPO (arXiv 2402.03300, eq. 3) with DAPO's asymmetric bounds (arXiv 2503.14476, eq. 8). At r exactly on a bound the
    token is not clipped and keeps its gradient; a token with A = 0 has zero gradient.
    """
    ratio = (logp_new - logp_old).exp()
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def sequence_weights(
    lengths: Sequence[int], aggregation: Literal["token_mean", "sequence_mean", "constant"], constant: int
) -> list[float]:
    """Weight of each token of sequence i, shape [B], such that the loss is sum_t w_t loss_t.

    token_mean: 1 / (tokens in the batch) (DAPO). sequence_mean: 1 / (B |o_i|) (GRPO). constant: 1 / (B C), the paper's
    1/(P G) at C = 1, Dr. GRPO (arXiv 2503.20783) at C = the longest response allowed.
    """
    count, total = len(lengths), sum(lengths)
    if aggregation == "token_mean":
        return [1.0 / total] * count
    if aggregation == "sequence_mean":
        return [1.0 / (count * n) for n in lengths]
    return [1.0 / (count * constant)] * count


def k3(logp: Tensor, logp_other: Tensor) -> Tensor:
    """Per-token estimate [T] of KL(pi || other) from samples of pi: exp(d) - d - 1 with d = other - pi, never negative.

    arXiv 2402.03300, eq. 4. By expm1: near equality exp(d) - 1 cancels and the estimate would come out negative.
    """
    difference = logp_other - logp
    return difference.expm1() - difference


def beyond_bounds(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> tuple[Tensor, Tensor]:
    """Clipped tokens [T]: (r < 1 - eps_low where A < 0, r > 1 + eps_high where A > 0). On the bound is inside."""
    return (ratio < 1.0 - clip_low) & (advantages < 0), (ratio > 1.0 + clip_high) & (advantages > 0)


def clip_counts(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> tuple[int, int, int, int]:
    """(clipped low, negative-advantage tokens, clipped high, positive-advantage tokens)."""
    low, high = beyond_bounds(ratio, advantages, clip_low, clip_high)
    return int(low.sum()), int((advantages < 0).sum()), int(high.sum()), int((advantages > 0).sum())


def clip_fractions(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> tuple[float, float]:
    """(low, high): clipped tokens as a share of the tokens whose advantage has that sign; 0 where there are none."""
    low, negative, high, positive = clip_counts(ratio, advantages, clip_low, clip_high)
    return low / max(1, negative), high / max(1, positive)


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy [T] in nats of distributions given as log-probabilities [T, V]."""
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


def outcome_cross_entropy(
    log_ratios: Tensor, lengths: Sequence[int], correct: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """(r(y), -[o log sigmoid(r(y)) + (1 - o) log(1 - sigmoid(r(y)))]) of each response, both [B].

    PRIME (arXiv 2502.01456, section 2). r(y) = beta sum_t log(pi_phi(y_t) / pi_ref(y_t)), from the log ratios [T] of
    responses of these lengths, one behind the other. `correct`: o, 1.0 or 0.0 [B].
    """
    scores = beta * torch.stack([part.sum() for part in log_ratios.split(list(lengths))])
    return scores, F.binary_cross_entropy_with_logits(scores, correct.to(scores.dtype), reduction="none")
