"""The clipped objective at its boundaries."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.loss import clip_fractions, clipped_objective, entropy, k3, sequence_weights

numbers = st.floats(-2, 2, allow_nan=False, width=32)


def objective(ratio: float, advantage: float, low: float = 0.2, high: float = 0.28) -> tuple[float, float]:
    """(loss, gradient by the new log-probability) of one token whose ratio is exactly representable."""
    new = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    loss = clipped_objective(
        new, torch.zeros(1, dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64), low, high
    )
    loss.sum().backward()
    return loss.item(), new.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 1.0, -1.0, -1.0),  # on policy: the plain policy gradient
        (1.2, 1.0, -1.2, -1.2),  # inside
        (1.5, 1.0, -1.28, 0.0),  # above 1 + eps_high with A > 0: clipped
        (1.5, -1.0, 1.5, 1.5),  # above, A < 0: the pessimistic branch keeps its gradient
        (0.5, -1.0, 0.8, 0.0),  # below 1 - eps_low with A < 0: clipped
        (0.5, 1.0, -0.5, -0.5),  # below, A > 0: keeps its gradient
        (1.5, 0.0, 0.0, 0.0),  # no advantage, no gradient
        (0.5, 0.0, 0.0, 0.0),
    ],
)
def test_every_branch_by_hand(ratio, advantage, loss, gradient):
    got = objective(ratio, advantage)
    assert got[0] == pytest.approx(loss, abs=1e-12)
    assert got[1] == pytest.approx(gradient, abs=1e-12)


def test_exactly_on_the_bound_is_not_clipped():
    # eps 0.5: 1.5 and 0.5 are exact in binary; log and exp of them round-trip to within an ulp, so use ratio tensors
    for ratio, advantage in ((1.5, 1.0), (0.5, -1.0)):
        assert clip_fractions(torch.tensor([ratio]), torch.tensor([advantage]), 0.5, 0.5) == (0.0, 0.0)
    above = torch.nextafter(torch.tensor(1.5), torch.tensor(2.0))
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0))
    assert clip_fractions(above[None], torch.tensor([1.0]), 0.5, 0.5) == (0.0, 1.0)
    assert clip_fractions(below[None], torch.tensor([-1.0]), 0.5, 0.5) == (1.0, 0.0)
    new = torch.zeros(1, requires_grad=True)  # ratio exactly 1, bounds exactly at it
    clipped_objective(new, torch.zeros(1), torch.ones(1), 0.0, 0.0).sum().backward()
    assert new.grad.item() == -1.0


def test_clip_fractions_are_conditional_on_the_sign():
    ratio = torch.tensor([2.0, 1.0, 0.1, 0.1, 2.0, 1.0])
    advantages = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, 0.0])
    low, high = clip_fractions(ratio, advantages, 0.2, 0.28)
    assert (low, high) == (1 / 2, 1 / 3)
    assert clip_fractions(ratio, torch.zeros(6), 0.2, 0.28) == (0.0, 0.0)


def test_changing_the_high_bound_changes_only_high_clipped_tokens():
    new, old = torch.tensor([0.24, 0.1, -0.5]).double(), torch.zeros(3).double()
    advantages = torch.ones(3).double()
    a = clipped_objective(new, old, advantages, 0.2, 0.2718)
    b = clipped_objective(new, old, advantages, 0.2, 0.2)
    assert (a != b).tolist() == [True, False, False]
    assert a[0].item() == pytest.approx(-math.exp(0.24))  # 1.27125 < 1.2718
    assert b[0].item() == pytest.approx(-1.2)


def test_three_aggregations_by_hand():
    # sequences of 1 and 3 tokens with token losses 1 | 2 2 2
    losses = [[1.0], [2.0, 2.0, 2.0]]

    def total(name: str, constant: int = 10) -> float:
        weights = sequence_weights([1, 3], name, constant)
        return sum(w * x for w, row in zip(weights, losses, strict=True) for x in row)

    assert total("token_mean") == pytest.approx(7 / 4)
    assert total("sequence_mean") == pytest.approx((1 + 2) / 2)
    assert total("constant") == pytest.approx(7 / (2 * 10))
    assert total("constant", 1) == pytest.approx(7 / 2)  # the paper's 1 / (P G)


def test_k3_by_hand():
    # d = other - pi = log 2: 2 - log 2 - 1
    assert k3(torch.zeros(1).double(), torch.tensor([math.log(2)]).double()).item() == pytest.approx(1 - math.log(2))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_k3_is_never_negative_and_zero_only_at_equality(pairs):
    a, b = (torch.tensor(x, dtype=torch.float64) for x in zip(*pairs, strict=True))
    assert (k3(a, b) >= 0).all()
    assert (k3(a, a) == 0).all()


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_zero_advantage_tokens_have_zero_gradient(pairs):
    new, old = (torch.tensor(x, dtype=torch.float64) for x in zip(*pairs, strict=True))
    new.requires_grad_()
    clipped_objective(new, old, torch.zeros_like(old), 0.2, 0.28).sum().backward()
    assert (new.grad == 0).all()


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=20))
def test_loss_is_never_below_the_unclipped_one(rows):
    new, old, advantages = (torch.tensor(x, dtype=torch.float64) for x in zip(*rows, strict=True))
    clipped = clipped_objective(new, old, advantages, 0.2, 0.28)
    assert (clipped >= -(new - old).exp() * advantages - 1e-12).all()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=16), st.sampled_from(["token_mean", "sequence_mean"]))
def test_means_weigh_one_in_all(lengths, name):
    assert math.fsum(w * n for w, n in zip(sequence_weights(lengths, name, 1), lengths, strict=True)) == pytest.approx(
        1.0
    )


def test_entropy_of_uniform_is_log_v():
    assert entropy(torch.full((2, 8), -math.log(8))).tolist() == pytest.approx([math.log(8)] * 2)
