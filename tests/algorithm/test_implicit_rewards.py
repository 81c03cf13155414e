"""Implicit process rewards: advantages by hand, the loss and its gradient, step scores, the exact AUC."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.implicit_rewards import process_advantages, step_scores
from eprli_lab.algorithm.loss import outcome_cross_entropy
from eprli_lab.algorithm.ranking import auc
from eprli_lab.config.implicit import ImplicitSpec
from eprli_lab.config.spec import AlgorithmSpec
from eprli_lab.records import Grade, Group, Problem, Response, Step
from eprli_lab.training.batch import make_batch


def test_a_tokens_advantage_is_what_is_still_to_come_above_the_mean_reward_of_the_others() -> None:
    # means 0.2, 0.1, 0.3; baselines (the others' mean of means) 0.2, 0.25, 0.15
    values = process_advantages([[0.1, 0.3], [0.3, -0.1, 0.1], [0.3]])
    assert values[0] == pytest.approx((-0.1 + 0.1, 0.1))
    assert values[1] == pytest.approx((0.05 - 0.35 - 0.15, -0.35 - 0.15, -0.15))
    assert values[2] == pytest.approx((0.15,))


def test_two_responses_are_each_others_baseline() -> None:
    assert process_advantages([[0.5, 0.1], [0.2]]) == [pytest.approx((0.2, -0.1)), pytest.approx((-0.1,))]


def test_equal_rewards_and_no_tokens_give_nothing() -> None:
    assert process_advantages([[0.0, 0.0], [0.0]]) == [(0.0, 0.0), (0.0,)]
    assert process_advantages([[0.25, 0.25], [0.25]]) == [(0.0, 0.0), (0.0,)]
    assert process_advantages([[], [0.5]]) == [(), (0.5,)]


def group(correct: tuple[bool, bool], process: tuple[tuple[float, ...], ...]) -> Group:
    responses = tuple(Response("x", (1,), tuple(range(len(p))), (-0.1,) * len(p), False) for p in process)
    grades = tuple(Grade(c, "exact" if c else "wrong") for c in correct)
    rewards = tuple(float(c) for c in correct)
    return Group(Problem("p", "?", ("1",)), "l1", responses, grades, rewards, 0, "admitted", process=process)


@pytest.mark.parametrize(
    ("advantage", "correct", "outcome"),
    [
        ("rloo", (True, False), (1.0, -1.0)),
        ("mean_only", (True, False), (0.5, -0.5)),
        ("rloo", (True, True), (0.0, 0.0)),  # all right: the learned rewards are the whole signal
        ("rloo", (False, False), (0.0, 0.0)),
    ],
)
def test_the_outcomes_advantage_is_added(
    advantage: str, correct: tuple[bool, bool], outcome: tuple[float, float]
) -> None:
    algorithm = AlgorithmSpec(reward_density="implicit", advantage=advantage)
    values = make_batch([group(correct, ((0.5, 0.1), (0.2,)))], algorithm, 0).advantages
    assert values[0] == pytest.approx((outcome[0] + 0.2, outcome[0] - 0.1))
    assert values[1] == pytest.approx((outcome[1] - 0.1,))


def test_rewards_of_nothing_leave_the_outcomes_advantage_as_it_is() -> None:
    one = group((True, False), ((0.0, -0.0), (-0.0,)))
    with_them, without = (
        make_batch([one], AlgorithmSpec(reward_density=d), 0).advantages  # type: ignore[arg-type]
        for d in ("implicit", "outcome")
    )
    assert with_them == without


def test_a_masked_response_counts_in_the_baseline_alone() -> None:
    import dataclasses

    one = group((True, False), ((0.5, 0.1), (0.2,)))
    cut = dataclasses.replace(one.responses[1], truncated=True)
    one = dataclasses.replace(one, responses=(one.responses[0], cut))
    batch = make_batch([one], AlgorithmSpec(reward_density="implicit", advantage="rloo", truncated="masked"), 0)
    assert batch.advantages == (pytest.approx((1.2, 0.9)),)


def test_the_cross_entropy_by_hand() -> None:
    ratios = torch.tensor([2.0, -1.0, 4.0, -6.0], dtype=torch.float64)
    scores, losses = outcome_cross_entropy(ratios, [2, 1, 1], torch.tensor([1.0, 0.0, 1.0]), 0.5)
    assert scores.tolist() == [0.5, 2.0, -3.0]
    sigmoid = lambda x: 1 / (1 + math.exp(-x))
    expected = [-math.log(sigmoid(0.5)), -math.log(1 - sigmoid(2.0)), -math.log(sigmoid(-3.0))]
    assert losses.tolist() == pytest.approx(expected, abs=1e-12)
    assert outcome_cross_entropy(ratios, [2, 2], torch.tensor([1.0, 0.0]), 0.0)[1].tolist() == [math.log(2)] * 2


def test_its_gradient_is_that_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(5)
    ratios = torch.randn(9, dtype=torch.float64, generator=generator, requires_grad=True)
    outcomes = torch.tensor([1.0, 0.0, 1.0])
    mean = lambda x: outcome_cross_entropy(x, [4, 2, 3], outcomes, 0.7)[1].mean()
    mean(ratios).backward()
    step, found = 1e-6, []
    with torch.no_grad():
        for i in range(9):
            shift = torch.zeros(9, dtype=torch.float64)
            shift[i] = step
            found.append(float((mean(ratios + shift) - mean(ratios - shift)) / (2 * step)))
    assert ratios.grad is not None and ratios.grad.tolist() == pytest.approx(found, abs=1e-9)
    assert max(map(abs, found)) > 0.01 and found[0] == pytest.approx(found[3]) and found[0] < 0 < found[4]


def test_a_steps_score_is_the_sum_over_its_own_tokens() -> None:
    rewards = (1.0, 2.0, 4.0, 8.0, 16.0)
    assert step_scores(rewards, [Step(1, True), Step(3, False)]) == [3.0, 12.0]
    assert step_scores(rewards, [Step(0, True), Step(0, True), Step(4, True)]) == [1.0, 1.0, 30.0]
    assert step_scores(rewards, []) == []


def test_auc_of_a_perfect_a_reversed_and_a_constant_scorer() -> None:
    right = [True, False, True, False, False]
    assert auc([2.0, 1.0, 3.0, 0.0, 1.0], right) == 1.0
    assert auc([-2.0, -1.0, -3.0, 0.0, -1.0], right) == 0.0
    assert auc([0.5] * 5, right) == 0.5
    assert auc([2.0, 2.0, 1.0, 1.0], [True, False, True, False]) == 0.5
    assert auc([3.0, 2.0, 2.0, 1.0], [True, True, False, False]) == 0.875  # 3 pairs won, one tied, of 4
    assert auc([1.0, 2.0], [True, True]) is auc([1.0], [False]) is auc([], []) is None


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=12))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    scores, right = [float(s) for s, _ in pairs], [r for _, r in pairs]
    good, bad = ([s for s, r in zip(scores, right, strict=True) if r is kind] for kind in (True, False))
    won = [1.0 if g > b else 0.5 if g == b else 0.0 for g, b in itertools.product(good, bad)]
    assert auc(scores, right) == (pytest.approx(sum(won) / len(won), abs=1e-12) if won else None)
    order = random.Random(0).sample(range(len(pairs)), len(pairs))
    assert auc([scores[i] for i in order], [right[i] for i in order]) == auc(scores, right)


@pytest.mark.parametrize(
    "change", [{"beta": -0.1}, {"beta": 11.0}, {"learning_rate": 0.0}, {"passes": 0}, {"rate": 1.0}]
)
def test_what_makes_no_sense_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        ImplicitSpec(**change)  # type: ignore[arg-type]
