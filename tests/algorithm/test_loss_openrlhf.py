"""Our losses against numbers that OpenRLHF 0.11.2 printed for the same tensors (its PolicyLoss and compute_approx_kl)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eprli_lab.algorithm.importance import correction, importance_weights
from eprli_lab.algorithm.loss import clip_counts, clipped_objective, k3, sequence_weights
from eprli_lab.backends.token_loss import context_for, corrected_losses
from eprli_lab.records import CorrectionSettings, CovarianceSettings


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


def ours(
    name: str, bounds: tuple[float, float], aggregation: str, tensors: tuple[Tensor, ...], how: CorrectionSettings
):
    """Our loss of the same tensors; the sampler's log-probabilities are drawn behind theirs."""
    new, old, advantages, mask = tensors
    generator = torch.Generator().manual_seed(0)
    _ = [torch.randn(*shape, generator=generator) for shape in ((4, 6), (4, 6), (4, 1))]
    sampler = old + torch.randn(4, 6, generator=generator)
    lengths = mask.sum(-1)
    sequence = torch.arange(4).repeat_interleave(lengths)
    known = old if how.kind == "none" else sampler
    trainer = None if how.kind == "none" else old[mask]
    about = context_for(sequence, 0, CovarianceSettings())
    losses = corrected_losses(name, new[mask], known[mask], trainer, advantages[mask], bounds, about, how)
    weights = torch.tensor(sequence_weights(lengths.tolist(), aggregation, 1)).repeat_interleave(lengths)
    _, cut = correction(importance_weights(old[mask], sampler[mask]), how if how.kind != "none" else ICEPOP)
    return (losses * weights).sum().item(), cut.float().mean().item()


NONE, TIS, ICEPOP = CorrectionSettings(), CorrectionSettings("tis"), CorrectionSettings("icepop")


@pytest.mark.parametrize(
    ("bounds", "theirs"), [((0.2, 0.28), 0.14256702363491058), ((3e-4, 4e-4), 0.16848325729370117)]
)
def test_gspo_equals_their_gspo(tensors, bounds, theirs):
    assert ours("gspo", bounds, "sequence_mean", tensors, NONE)[0] == pytest.approx(theirs, abs=1e-7)


@pytest.mark.parametrize(
    ("how", "aggregation", "theirs", "filtered"),
    [
        (TIS, "token_mean", 0.022218819707632065, 2 / 21),  # level token, mode clip, threshold 0, 2
        (TIS, "sequence_mean", 0.023951135575771332, 2 / 21),
        (ICEPOP, "token_mean", -0.00462990440428257, 7 / 21),  # level token, mode mask, threshold .5, 5
        (ICEPOP, "sequence_mean", -0.00023499131202697754, 7 / 21),
        (CorrectionSettings("icepop", low=0.8, high=1.25), "token_mean", -0.03486444801092148, 14 / 21),
    ],
)
def test_corrections_equal_theirs(tensors, how, aggregation, theirs, filtered):
    loss, cut = ours("ppo_clip", (0.2, 0.28), aggregation, tensors, how)
    assert loss == pytest.approx(theirs, abs=1e-7) and cut == pytest.approx(filtered)
