"""max_rl, pass_at_k and batch_norm by hand; what they cannot be made of is refused."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

import pytest
from helpers import group, small_spec
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.advantage import advantages, mean_only
from eprli_lab.algorithm.batch_norm import over_batch
from eprli_lab.config.spec import AlgorithmSpec
from eprli_lab.errors import UserError
from eprli_lab.records import Group
from eprli_lab.training.batch import make_batch

groups = st.lists(st.booleans(), min_size=2, max_size=10).filter(lambda c: len(set(c)) == 2)


def of(correct: Sequence[bool]) -> list[float]:
    return [float(c) for c in correct]


@pytest.mark.parametrize("name", ["max_rl", "pass_at_k", "batch_norm"])
@pytest.mark.parametrize("rewards", [[0.0, 0.0], [1.0, 1.0], [0.0] * 8, [1.0] * 8, [0.3] * 3])
def test_equal_rewards_teach_nothing(name: str, rewards: list[float]):
    assert advantages(name, rewards, pass_k=2) == (0.0,) * len(rewards)


def test_max_rl_by_hand():
    assert advantages("max_rl", [1.0, 0.0]) == (1.0, -1.0)
    assert advantages("max_rl", [1.0, 0.0, 0.0, 0.0]) == (3.0, -1.0, -1.0, -1.0)
    assert advantages("max_rl", [1.0, 1.0, 1.0, 0.0]) == pytest.approx((1 / 3, 1 / 3, 1 / 3, -1.0))
    assert advantages("max_rl", [2.0, 1.0]) == pytest.approx((1 / 3, -1 / 3))
    with pytest.raises(UserError, match="max_rl divides by a group's mean reward, and there is a reward of -0.5"):
        advantages("max_rl", [1.0, -0.5])


@given(groups)
def test_max_rl_is_mean_only_over_the_pass_rate(correct: list[bool]):
    p = sum(correct) / len(correct)
    assert advantages("max_rl", of(correct)) == pytest.approx([a / p for a in mean_only(of(correct))])


def by_enumeration(correct: Sequence[bool], k: int) -> list[float]:
    """Normalised pass@k rewards of all groups of k, averaged over those that a response is in (full sampling)."""
    drawn = list(itertools.combinations(range(len(correct)), k))
    passed = [float(any(correct[i] for i in one)) for one in drawn]
    mean, std = statistics.fmean(passed), statistics.pstdev(passed)
    if std == 0.0:
        return [0.0] * len(correct)
    return [
        statistics.fmean((p - mean) / std for one, p in zip(drawn, passed, strict=True) if i in one)
        for i in range(len(correct))
    ]


@given(groups, st.integers(1, 4))
def test_pass_at_k_is_what_all_groups_of_k_give(correct: list[bool], k: int):
    k = min(k, len(correct))
    found = advantages("pass_at_k", of(correct), k)
    assert found == pytest.approx(by_enumeration(correct, k), abs=1e-9)
    assert math.fsum(found) == pytest.approx(0.0, abs=1e-9)


def test_pass_at_k_by_hand():
    # N = 4, one right, k = 2: C(3,2)/C(4,2) = 1/2 fail; mean 1/2, std 1/2; a wrong one fails with 2 of its 3 partners
    assert advantages("pass_at_k", [1.0, 0.0, 0.0, 0.0], 2) == pytest.approx((1.0, -1 / 3, -1 / 3, -1 / 3))
    # three right: no two are all wrong, so pass@2 is 1 whatever is drawn
    assert advantages("pass_at_k", [1.0, 1.0, 1.0, 0.0], 2) == (0.0,) * 4
    assert advantages("pass_at_k", [1.0, 0.0], 2) == (0.0, 0.0)
    assert advantages("pass_at_k", [1.0, 0.0], 1) == pytest.approx((1.0, -1.0))
    with pytest.raises(UserError, match="more than two values"):
        advantages("pass_at_k", [1.0, 0.5, 0.0], 2)


@given(groups)
def test_pass_at_one_is_the_biased_group_norm(correct: list[bool]):
    rewards = of(correct)
    expected = [(r - statistics.fmean(rewards)) / statistics.pstdev(rewards) for r in rewards]
    assert advantages("pass_at_k", rewards, 1) == pytest.approx(expected)


def test_batch_norm_by_hand():
    # tokens 1, 1 | -1: mean 1/3, variance 8/9
    std = math.sqrt(8 / 9)
    (a, b) = over_batch([(1.0, 1.0), (-1.0,)])
    assert a == pytest.approx((2 / 3 / std,) * 2) and b == pytest.approx((-4 / 3 / std,))
    assert over_batch([(0.5, 0.5)]) == [(0.0, 0.0)] and over_batch([]) == []


def test_batch_norm_is_over_the_groups_together():
    mixed: list[Group] = [group([True, False, False, False]), group([True, False])]
    batch = make_batch(mixed, AlgorithmSpec(advantage="batch_norm"), 0)
    centred = [0.75, -0.25, -0.25, -0.25, 0.5, -0.5]  # lengths are equal: responses count as tokens do
    std = statistics.pstdev(centred)
    assert [a[0] for a in batch.advantages] == pytest.approx([c / std for c in centred])
    plain = make_batch(mixed, AlgorithmSpec(advantage="mean_only"), 0)
    assert [a[0] for a in plain.advantages] == pytest.approx(centred)


def test_k_is_the_configs():
    four = [group([True, False, False, False])]
    two = make_batch(four, AlgorithmSpec(advantage="pass_at_k", pass_k=2), 0)
    assert [a[0] for a in two.advantages] == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])
    three = make_batch(four, AlgorithmSpec(advantage="pass_at_k", pass_k=3), 0)
    assert three.advantages != two.advantages


LEVEL = "curriculum.levels.l2"
REFUSED = [
    (["algorithm.objective=gspo"], "objective gspo is a mean over sequences: set aggregation=sequence_mean"),
    (["algorithm.pass_k=3"], "pass_k does nothing without advantage=pass_at_k"),
    (["algorithm.advantage=pass_at_k", "algorithm.pass_k=17"], "algorithm.pass_k=17 is more than curriculum.levels.l1"),
    (["algorithm.advantage=pass_at_k", f"{LEVEL}.length_coef=0.1", f"{LEVEL}.length_term=linear"], f"{LEVEL} shapes"),
    (["algorithm.advantage=max_rl", f"{LEVEL}.reward_wrong=-1"], f"rewards of {LEVEL} may be negative"),
    (["algorithm.advantage=max_rl", f"{LEVEL}.length_coef=0.1", f"{LEVEL}.length_term=linear"], "may be negative"),
    (["algorithm.advantage=max_rl", "algorithm.reward_density=both"], "max_rl is made of outcome rewards alone"),
    (["algorithm.advantage=batch_norm", "algorithm.difficulty_weights=daro"], "weighs all tokens of a batch alike"),
    (["algorithm.covariance.kl_coef=2"], "covariance.kl_coef does nothing without objective=kl_cov"),
    (["algorithm.objective=kl_cov", "algorithm.covariance.clip_share=0.1"], "nothing without objective=clip_cov"),
    (["algorithm.covariance.clip_low=6"], "clip_low 6.0 is not below clip_high 5.0"),
    (["algorithm.entropy_step=0.1"], "entropy_step does nothing without an entropy_target"),
    (["algorithm.entropy_coef=-0.1"], "algorithm.entropy_coef"),
    (["algorithm.is_cap=3"], "is_cap does nothing without is_correction=tis"),
    (["algorithm.is_correction=tis", "algorithm.is_low=0.1"], "is_low does nothing without is_correction=icepop"),
    (["algorithm.is_correction=tis", "algorithm.is_cap=0.9"], "algorithm.is_cap"),
    (["algorithm.is_correction=tis", "algorithm.objective=dppo_tv"], "dppo_tv measures its step from the sampler"),
    (["algorithm.is_correction=seq"], "algorithm.is_correction"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "words"), REFUSED, ids=[w[:40] for _, w in REFUSED])
def test_what_could_not_act_is_refused(overrides: list[str], words: str):
    with pytest.raises(UserError) as caught:
        small_spec("curriculum=l2", *overrides)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_defaults_are_not_dumped():
    dumped = small_spec("curriculum=l2").model_dump(mode="json")["algorithm"]
    assert list(dumped) == ["advantage", "aggregation", "constant_tokens", "reward_density", "difficulty_weights", "daro_rate", "kl_coef", "temperature"]  # fmt: skip
    changed = small_spec("curriculum=l2", "algorithm.objective=clip_cov", "algorithm.covariance.clip_share=0.01")
    assert changed.model_dump(mode="json")["algorithm"]["covariance"]["clip_share"] == 0.01
    assert changed.fingerprint() != small_spec("curriculum=l2", "algorithm.objective=clip_cov").fingerprint()
