"""Our loss against numbers that OpenRLHF 0.11.2 printed for the same tensors (its PolicyLoss and compute_approx_kl)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eprli_lab.algorithm.loss import clip_counts, clipped_objective, k3, sequence_weights


@pytest.fixture
def tensors() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(new, old, advantages, mask), each [4, 6]: drawn as for OpenRLHF; 21 tokens, rows of 3, 6, 6, 6."""
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(4, 6, generator=generator) * 0.1 - 1
    new = old + torch.randn(4, 6, generator=generator) * 0.5
    advantages = torch.randn(4, 1, generator=generator).expand(4, 6)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[0, 3:] = False
    return new, old, advantages, mask


@pytest.mark.parametrize(
    ("high", "aggregation", "theirs"),
    [(0.2, "token_mean", 0.20235), (0.28, "token_mean", 0.1969), (0.2, "sequence_mean", 0.18214)],
)
def test_clipped_loss_equals_their_policy_loss(tensors, high, aggregation, theirs):
    new, old, advantages, mask = tensors
    losses = clipped_objective(new[mask], old[mask], advantages[mask], 0.2, high)
    lengths = mask.sum(-1)
    weights = torch.tensor(sequence_weights(lengths.tolist(), aggregation, 1)).repeat_interleave(lengths)
    assert (losses * weights).sum().item() == pytest.approx(theirs, abs=6e-6)  # they printed five digits


@pytest.mark.parametrize(("high", "theirs"), [(0.2, 0.61905), (0.28, 0.57143)])
def test_clipped_tokens_equal_their_clip_ratio(tensors, high, theirs):
    new, old, advantages, mask = tensors
    low, _, up, _ = clip_counts((new - old).exp()[mask], advantages[mask], 0.2, high)
    assert (low + up) / 21 == pytest.approx(theirs, abs=6e-6)  # theirs does not tell low from high


def test_k3_equals_their_estimator(tensors):
    new, old, _, _ = tensors
    assert k3(new, old).mean().item() == pytest.approx(0.10996528714895248, abs=1e-7)
