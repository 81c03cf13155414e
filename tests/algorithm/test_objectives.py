"""Every objective by hand at its boundaries, and its gradient by finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from eprli_lab.algorithm.clipped_tokens import clipped_tokens
from eprli_lab.algorithm.covariance import chosen_count, token_covariances
from eprli_lab.algorithm.loss import clipped_objective, sequence_weights
from eprli_lab.algorithm.objective import ObjectiveContext, token_losses
from eprli_lab.algorithm.sequence_ratio import sequence_ratio
from eprli_lab.config.extensions import KINDS
from eprli_lab.records import CovarianceSettings

NAMES = tuple(KINDS["objective"].registered)
numbers = st.floats(-2, 2, allow_nan=False, width=32)


def context(sequence: Sequence[int], seed: int = 0, **covariance: float) -> ObjectiveContext:
    return ObjectiveContext(
        torch.tensor(sequence), torch.Generator().manual_seed(seed), CovarianceSettings(**covariance)
    )


def doubles(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)


def loss_and_gradient(
    name: str,
    new: Sequence[float],
    old: Sequence[float],
    advantages: Sequence[float],
    low: float = 0.2,
    high: float = 0.28,
    sequence: Sequence[int] | None = None,
    **covariance: float,
) -> tuple[list[float], list[float]]:
    """(losses, gradient of their sum by the new log-probabilities)."""
    logp = doubles(new).requires_grad_()
    about = context(sequence if sequence is not None else range(len(new)), **covariance)
    losses = token_losses(name, logp, doubles(old), doubles(advantages), low, high, about)
    losses.sum().backward()
    assert logp.grad is not None
    return losses.tolist(), logp.grad.tolist()


def test_gspo_by_hand():
    # sequence 0: ratios 1.1 and 1.3, so s = sqrt(1.43) = 1.19583; sequence 1: one token of .5
    new, old = [math.log(1.1), math.log(1.3), math.log(0.5)], [0.0] * 3
    s = math.sqrt(1.43)
    losses, gradient = loss_and_gradient("gspo", new, old, [2.0, 2.0, -1.0], 0.2, 0.28, [0, 0, 1])
    assert losses == pytest.approx([-2 * s, -2 * s, 0.8])  # the second sequence is clipped at 1 - .2
    assert gradient == pytest.approx([-2 * s, -2 * s, 0.0])  # each token has half of s's gradient, from two losses
    losses, gradient = loss_and_gradient("gspo", new, old, [2.0, 2.0, -1.0], 0.2, 0.19, [0, 0, 1])
    assert losses[:2] == pytest.approx([-2 * 1.19] * 2) and gradient == [0.0, 0.0, 0.0]


def test_gspo_at_its_bound_is_not_clipped():
    # both ratios 1.5, exact in binary up to an ulp of log and exp; at the bound's own value the gradient stays
    s = sequence_ratio(doubles([math.log(1.5)] * 2), doubles([0.0] * 2), torch.tensor([0, 0]))[0].item()
    _, gradient = loss_and_gradient("gspo", [math.log(1.5)] * 2, [0.0] * 2, [1.0] * 2, 0.5, s - 1.0, [0, 0])
    assert gradient == pytest.approx([-1.5, -1.5])
    below = math.nextafter(s, 0.0) - 1.0
    assert loss_and_gradient("gspo", [math.log(1.5)] * 2, [0.0] * 2, [1.0] * 2, 0.5, below, [0, 0])[1] == [0.0, 0.0]


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=12))
def test_gspo_of_sequences_of_one_token_is_ppo_clip(rows: list[tuple[float, float, float]]):
    new, old, advantages = (doubles(x) for x in zip(*rows, strict=True))
    ours = token_losses("gspo", new, old, advantages, 0.2, 0.28, context(range(len(rows))))
    assert torch.allclose(ours, clipped_objective(new, old, advantages, 0.2, 0.28), atol=1e-12)


def test_gspo_under_sequence_mean_is_a_mean_over_sequences():
    lengths, advantages = [1, 3], [1.0, -2.0]
    sequence = [0, 1, 1, 1]
    new, old = doubles([0.1, 0.3, -0.2, 0.05]), doubles([0.0] * 4)
    losses = token_losses("gspo", new, old, doubles([advantages[i] for i in sequence]), 0.9, 9.0, context(sequence))
    weights = doubles(
        [w for w, n in zip(sequence_weights(lengths, "sequence_mean", 1), lengths, strict=True) for _ in range(n)]
    )
    expected = -(math.exp(0.1) * 1.0 + math.exp(0.15 / 3) * -2.0) / 2
    assert (losses * weights).sum().item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight"),
    [(1.0, 1.0, 1.0), (0.25, 1.0, 0.25), (0.25, -1.0, 0.25), (2.0, 1.0, 1.28), (2.0, -1.0, 1.28), (1.5, 0.0, 1.28)],
)
def test_cispo_by_hand(ratio: float, advantage: float, weight: float):
    """The weight is cut above whatever the sign, nowhere below, and gets no gradient."""
    new = math.log(0.3)
    losses, gradient = loss_and_gradient("cispo", [new], [new - math.log(ratio)], [advantage])
    assert losses == pytest.approx([-weight * advantage * new]) and gradient == pytest.approx([-weight * advantage])
    assert loss_and_gradient("cispo", [new], [new - math.log(ratio)], [advantage], low=0.9)[0] == losses


@pytest.mark.parametrize(
    ("pi", "mu", "advantage", "kept"),
    [
        (0.75, 0.5, 1.0, True),  # exactly delta: inside
        (0.8125, 0.5, 1.0, False),  # outward
        (0.8125, 0.5, -1.0, True),  # back
        (0.25, 0.5, -1.0, True),
        (0.1875, 0.5, -1.0, False),
        (0.1875, 0.5, 1.0, True),
        (0.01, 0.0001, 1.0, True),  # a ratio of 100, which PPO clips: hardly any probability has moved
    ],
)
def test_dppo_by_hand(pi: float, mu: float, advantage: float, kept: bool):
    # 2^-k: pi and mu come back from log and exp exactly, or are far from the bound
    losses, gradient = loss_and_gradient("dppo_tv", [math.log(pi)], [math.log(mu)], [advantage], 0.25, 0.25)
    expected = -pi / mu * advantage if kept else 0.0
    assert losses == pytest.approx([expected]) and gradient == pytest.approx([expected])


def test_dppo_has_two_deltas():
    up, down = ([math.log(0.8)], [math.log(0.5)], [1.0]), ([math.log(0.2)], [math.log(0.5)], [-1.0])
    assert loss_and_gradient("dppo_tv", *up, 0.2, 0.4)[0] != [0.0] == loss_and_gradient("dppo_tv", *up, 0.4, 0.2)[0]
    assert loss_and_gradient("dppo_tv", *down, 0.4, 0.2)[0] != [0.0] == loss_and_gradient("dppo_tv", *down, 0.2, 0.4)[0]


def test_covariances_by_hand():
    # means -2 and 0: (1)(1), (-1)(1), (1)(-1), (-1)(-1)
    found = token_covariances(doubles([-1.0, -3.0, -1.0, -3.0]), doubles([1.0, 1.0, -1.0, -1.0]))
    assert found.tolist() == [1.0, -1.0, -1.0, 1.0] and found.mean() == 0.0
    assert [chosen_count(2e-4, n) for n in (0, 1, 4999, 10_000)] == [0, 1, 1, 2]


LOGP, ADVANTAGES = [-1.0, -5.0, -1.0, -5.0], [1.0, 1.0, -1.0, -1.0]  # covariances 2, -2, -2, 2


def test_clip_cov_holds_back_tokens_of_high_covariance_alone():
    plain, _ = loss_and_gradient("ppo_clip", LOGP, LOGP, ADVANTAGES)
    losses, gradient = loss_and_gradient("clip_cov", LOGP, LOGP, ADVANTAGES, clip_share=1.0)
    assert losses == [0.0, plain[1], plain[2], 0.0] and gradient == [0.0, -1.0, 1.0, 0.0]
    one, _ = loss_and_gradient("clip_cov", LOGP, LOGP, ADVANTAGES, clip_share=0.25)
    assert sorted(map(bool, one)) == [False, True, True, True] and (one[0] == 0.0 or one[3] == 0.0)
    for bounds in ({"clip_low": 2.0}, {"clip_high": 2.0}):  # exactly on a bound: outside
        assert loss_and_gradient("clip_cov", LOGP, LOGP, ADVANTAGES, clip_share=1.0, **bounds)[0] == plain


def test_clip_cov_leaves_what_the_ratio_clips():
    old = [LOGP[0] - 1.0, *LOGP[1:]]  # token 0 is clipped at 1.28 by its ratio
    losses, _ = loss_and_gradient("clip_cov", LOGP, old, ADVANTAGES, clip_share=1.0)
    assert losses[0] == pytest.approx(-1.28) and losses[3] == 0.0


def test_clip_cov_draws_from_its_generator():
    def held(seed: int) -> list[bool]:
        logp = doubles(LOGP * 8)
        about = context(range(32), seed, clip_share=0.25)
        return (token_losses("clip_cov", logp, logp, doubles(ADVANTAGES * 8), 0.2, 0.28, about) == 0).tolist()

    assert held(1) == held(1) != held(2) and sum(held(1)) == 8
    state = torch.get_rng_state()
    held(3)
    assert torch.equal(state, torch.get_rng_state()), "not the process's own stream"


def test_kl_cov_penalises_the_top_share():
    old = [x - 0.5 for x in LOGP[:2]] + [x + 0.25 for x in LOGP[2:]]
    r = [math.exp(0.5), math.exp(0.5), math.exp(-0.25), math.exp(-0.25)]
    plain = [-r[0], -r[1], r[2], r[3]]
    losses, gradient = loss_and_gradient("kl_cov", LOGP, old, ADVANTAGES, kl_share=0.5, kl_coef=0.1)
    assert losses == pytest.approx([plain[0] + 0.05, plain[1], plain[2], plain[3] + 0.025])
    assert gradient == pytest.approx([plain[0] + 0.1, plain[1], plain[2], plain[3] - 0.1])
    assert loss_and_gradient("kl_cov", LOGP, LOGP, ADVANTAGES)[1] == [-1.0, -1.0, 1.0, 1.0], "nothing at ratio 1"


def test_no_token_is_no_loss():
    nothing = torch.zeros(0)
    for name in NAMES:
        assert token_losses(name, nothing, nothing, nothing, 0.2, 0.28, context([])).shape == (0,)
        assert [
            t.shape
            for t in clipped_tokens(name, nothing, nothing, nothing, 0.2, 0.28, torch.zeros(0, dtype=torch.long))
        ] == [(0,)] * 2


SEQUENCES = [0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str):
    """Away from kinks; where a factor gets no gradient by definition, it is held fixed."""
    generator = torch.Generator().manual_seed(5)
    old = -torch.rand(6, generator=generator, dtype=torch.float64) - 0.5
    new = (old + 0.4 * torch.randn(6, generator=generator, dtype=torch.float64)).requires_grad_()
    advantages = torch.randn(6, generator=generator, dtype=torch.float64)

    def losses(logp: Tensor) -> Tensor:
        about = context(SEQUENCES, 7, clip_share=0.4, clip_low=-1.0, kl_share=0.4)
        if name == "cispo":  # its weight is a constant
            return -(new.detach() - old).exp().clamp(max=1.28) * advantages * logp
        return token_losses(name, logp, old, advantages, 0.2, 0.28, about)

    token_losses(
        name, new, old, advantages, 0.2, 0.28, context(SEQUENCES, 7, clip_share=0.4, clip_low=-1.0, kl_share=0.4)
    ).sum().backward()
    assert new.grad is not None and new.grad.any()
    for i in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[i] = 1e-6
        with torch.no_grad():
            slope = (losses(new + step).sum() - losses(new - step).sum()) / 2e-6
        assert new.grad[i].item() == pytest.approx(slope.item(), abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
@given(rows=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_zero_advantages_have_zero_gradient(name: str, rows: list[tuple[float, float]]):
    new, old = (doubles(x) for x in zip(*rows, strict=True))
    new.requires_grad_()
    about = context([i // 2 for i in range(len(rows))], kl_coef=0.0)
    token_losses(name, new, old, torch.zeros_like(old), 0.2, 0.28, about).sum().backward()
    assert new.grad is not None and not new.grad.any()


@pytest.mark.parametrize("name", NAMES)
@given(advantages=st.lists(numbers, min_size=1, max_size=12))
def test_at_ratio_one_all_are_the_policy_gradient(name: str, advantages: list[float]):
    """So one optimizer step on fresh groups tells no objective from another; clip_cov apart, which holds tokens back."""
    logp = torch.linspace(-2, -1, len(advantages), dtype=torch.float64).requires_grad_()
    about = context([i // 3 for i in range(len(advantages))])
    given_a = doubles(advantages)
    if name == "gspo":  # one advantage a sequence, as outcome rewards give
        given_a = given_a[3 * about.sequence]
    losses = token_losses(name, logp, logp.detach(), given_a, 0.2, 0.28, about)
    losses.sum().backward()
    assert logp.grad is not None
    same = torch.isclose(logp.grad, -given_a, atol=1e-12)
    assert same.all() or (name == "clip_cov" and (~same).sum() == 1)


BOUNDS: dict[str, Callable[[float, float], tuple[bool, bool]]] = {
    # ratio, advantage (at pi = ratio / 2, mu = 1/2) -> (at the lower, at the upper bound) with .25 and .25
    "ppo_clip": lambda r, a: (r < 0.75 and a < 0, r > 1.25 and a > 0),
    "gspo": lambda r, a: (r < 0.75 and a < 0, r > 1.25 and a > 0),
    "clip_cov": lambda r, a: (r < 0.75 and a < 0, r > 1.25 and a > 0),
    "cispo": lambda r, a: (False, r > 1.25 and a > 0),
    "dppo_tv": lambda r, a: (r < 0.5 and a < 0, r > 1.5 and a > 0),
    "kl_cov": lambda r, a: (False, False),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_counts_as_clipped(name: str):
    for ratio in (0.25, 0.6, 1.0, 1.3, 1.9):
        for advantage in (-1.0, 0.0, 1.0):
            new, old = doubles([math.log(ratio / 2)]), doubles([math.log(0.5)])
            found = clipped_tokens(name, new, old, doubles([advantage]), 0.25, 0.25, torch.tensor([0]))
            assert tuple(t.item() for t in found) == BOUNDS[name](ratio, advantage), (ratio, advantage)
