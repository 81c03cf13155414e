"""DARO (arXiv 2510.09001): loss of a batch sum_mu (w_mu L_mu - log w_mu), w_mu learnt.

mu is a group's share of correct responses, L_mu the loss of the groups with that share, divided by their own number of
tokens, so that no difficulty counts more because it has more or longer responses.
"""

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


def own_normalisation(difficulties: Sequence[str], sizes: Sequence[int]) -> dict[str, float]:
    """T / T_mu by difficulty: times this, terms averaged over the batch are averaged over their own difficulty.

    `difficulties`, `sizes`: one entry a group of the batch; a size is in what the loss is averaged over, tokens under
    `token_mean`, responses otherwise. The loss that is 1/T sum over the batch becomes sum_mu 1/T_mu sum over mu.
    """
    own: dict[str, int] = {}
    for mu, size in zip(difficulties, sizes, strict=True):
        own[mu] = own.get(mu, 0) + size
    return {mu: sum(sizes) / size for mu, size in own.items()}


def loss_scales(difficulties: Sequence[str], magnitudes: Sequence[float], tokens: Sequence[int]) -> dict[str, float]:
    """L_mu: the mean of |A_{i,t}| over the tokens of each difficulty, the size of its own normalised loss.

    `difficulties`, `magnitudes`, `tokens`: one entry a group of the batch; the magnitude is the sum of |A_{i,t}| over
    its tokens. A departure: the paper takes the policy-gradient loss itself, which on fresh groups is near zero and of
    either sign (its weight 1 / L_mu has no value there); the magnitude of its terms is what it scales with.
    """
    sums: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for mu, magnitude, count in zip(difficulties, magnitudes, tokens, strict=True):
        sums.setdefault(mu, []).append(magnitude)
        counts[mu] = counts.get(mu, 0) + count
    return {mu: math.fsum(parts) / counts[mu] for mu, parts in sums.items()}
