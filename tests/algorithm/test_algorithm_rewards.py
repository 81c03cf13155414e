"""Rewards, admission, advantages: hand-computed numbers at the boundaries, and properties."""

from __future__ import annotations

import math

import pytest
from helpers import response
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm import admission, reward
from eprli_lab.algorithm.admission import Band
from eprli_lab.algorithm.advantage import advantages, group_norm, mean_only, rloo
from eprli_lab.algorithm.length_terms import group_relative, linear, soft_overlong
from eprli_lab.config.curriculum import AdmissionSpec, LevelSpec
from eprli_lab.records import Problem

PROBLEM = Problem("p", "1a+1?", ("2",), 0.125)


def level(**kw) -> LevelSpec:
    return LevelSpec(quality_threshold=1.0, max_response_tokens=10, **kw)


def rewards(spec: LevelSpec, correct, tokens) -> tuple[float, ...]:
    return reward.rewards(spec, PROBLEM, [response("x", n) for n in tokens], correct)


def admission_verdict(spec: AdmissionSpec, correct, rewards, errored: bool = False) -> str:
    return admission.admission_verdict(Band(spec), PROBLEM, correct, rewards, errored)


groups = st.lists(st.tuples(st.booleans(), st.integers(1, 10)), min_size=2, max_size=16)
reward_lists = st.lists(st.floats(-5, 5, allow_nan=False).map(lambda x: round(x, 3)), min_size=2, max_size=16)


def test_linear_counts_correct_responses_only():
    assert linear([True, True, False], [5, 10, 10], level()) == [-0.5, -1.0, 0.0]


def test_soft_overlong_is_dapo_equation_13():
    # Len 10, cache 4: free to 6, then a quarter a token, -1 at 10 and beyond
    lengths, spec = [5, 6, 7, 8, 9, 10, 12, 20], level(overlong_tokens=4)
    assert soft_overlong([True] * 8, lengths, spec) == [0.0, 0.0, -0.25, -0.5, -0.75, -1.0, -1.0, -1.0]


def test_group_relative_is_kimi():
    assert group_relative([True, True, True], [2, 4, 6], level()) == [0.5, 0.0, -0.5]
    assert group_relative([False, False, False], [2, 4, 6], level()) == [0.0, 0.0, -0.5]
    assert group_relative([True, False], [3, 3], level()) == [0.0, 0.0]


def test_shaped_reward_by_hand():
    shaped = rewards(level(length_term="linear", length_coef=0.5), [True, False], [4, 4])
    assert shaped == (1.0 - 0.5 * 0.4, 0.0)
    assert rewards(level(reward_correct=2.0, reward_wrong=-1.0), [True, False], [4, 4]) == (2.0, -1.0)


@given(groups, st.sampled_from(["linear", "soft_overlong", "group_relative"]))
def test_zero_coefficient_is_exactly_plain_reward(group, term):
    correct, tokens = zip(*group, strict=True)
    spec = level(length_term=term, length_coef=0.0, overlong_tokens=4)
    assert rewards(spec, correct, tokens) == tuple(1.0 if c else 0.0 for c in correct)


@given(groups, st.sampled_from(["linear", "soft_overlong", "group_relative"]), st.floats(0.01, 2))
def test_length_terms_stay_within_their_range(group, term, coefficient):
    correct, tokens = zip(*group, strict=True)
    spec = level(length_term=term, length_coef=coefficient, overlong_tokens=4)
    low, high = (-0.5, 0.5) if term == "group_relative" else (-1.0, 0.0)
    for ok, r in zip(correct, rewards(spec, correct, tokens), strict=True):
        assert low - 1e-9 <= (r - float(ok)) / coefficient <= high + 1e-9


@pytest.mark.parametrize(
    ("right", "verdict"),
    [(0, "too_hard"), (2, "too_hard"), (3, "admitted"), (7, "admitted"), (8, "too_easy"), (10, "too_easy")],
)
def test_band_is_closed_and_exact_on_the_threshold(right, verdict):
    band = AdmissionSpec(accuracy_min=0.3, accuracy_max=0.7)
    correct = [True] * right + [False] * (10 - right)
    assert admission_verdict(band, correct, [float(c) for c in correct]) == verdict


@pytest.mark.parametrize(("right", "verdict"), [(0, "no_signal"), (1, "admitted"), (2, "no_signal")])
def test_groups_of_two_under_the_widest_band(right, verdict):
    correct = [True] * right + [False] * (2 - right)
    band = AdmissionSpec(accuracy_min=0.0, accuracy_max=1.0)
    assert admission_verdict(band, correct, [float(c) for c in correct]) == verdict


def test_float_noise_is_no_signal():
    third = 1.0 / 3.0
    noisy = [0.1 + 0.2, 0.3, 0.3 + 1e-12, third * 0.9]
    assert admission_verdict(AdmissionSpec(accuracy_min=0, accuracy_max=1), [True] * 4, noisy) == "no_signal"


def test_phantom_gradient_passes_the_reward_rule_and_not_the_accuracy_rule():
    # all wrong, but the length term spreads the rewards: group normalisation would make full-size advantages of it
    spec = level(length_term="group_relative", length_coef=0.1)
    correct, tokens = [False] * 4, [2, 6, 8, 10]
    shaped = rewards(spec, correct, tokens)
    by_reward = AdmissionSpec(metric="reward", accuracy_min=-1.0, accuracy_max=1.0)
    assert admission_verdict(by_reward, correct, shaped) == "admitted"
    assert admission_verdict(AdmissionSpec(), correct, shaped) == "too_hard"
    assert max(map(abs, advantages("group_norm", shaped))) > 1.0


def test_errored_comes_before_everything():
    assert admission_verdict(AdmissionSpec(), [True, False], [1.0, 0.0], errored=True) == "errored"


def test_group_norm_by_hand():
    # rewards 1 0 0 1: mean .5, unbiased std sqrt(1/3) = .57735; OpenRLHF's group_norm printed .866025
    assert group_norm([1.0, 0.0, 0.0, 1.0]) == pytest.approx([0.866025, -0.866025, -0.866025, 0.866025], abs=1e-6)
    # G = 2: std = sqrt(1/2), so +-0.5 / 0.7071 = +-0.7071
    assert group_norm([1.0, 0.0]) == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)], abs=1e-6)


def test_mean_only_and_rloo_by_hand():
    assert mean_only([1.0, 0.0, 0.0, 0.0]) == (0.75, -0.25, -0.25, -0.25)
    assert rloo([1.0, 0.0, 0.0, 0.0]) == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])


@given(reward_lists, st.sampled_from(["group_norm", "mean_only", "rloo"]), st.randoms())
def test_permuting_a_group_permutes_its_advantages(values, name, rng):
    order = list(range(len(values)))
    rng.shuffle(order)
    plain = advantages(name, values)
    assert advantages(name, [values[i] for i in order]) == pytest.approx([plain[i] for i in order], abs=1e-9)


@given(reward_lists, st.sampled_from(["group_norm", "mean_only", "rloo"]))
def test_advantages_sum_to_zero_and_equal_rewards_give_exact_zeros(values, name):
    assert math.fsum(advantages(name, values)) == pytest.approx(0.0, abs=1e-6)
    assert advantages(name, [values[0]] * 4) == (0.0,) * 4


@given(reward_lists)
def test_rloo_is_mean_only_scaled(values):
    n = len(values)
    assert rloo(values) == pytest.approx([a * n / (n - 1) for a in mean_only(values)], abs=1e-9)
