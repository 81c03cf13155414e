"""Each arm of `sweep=neighbours` against its source: the published formula, by hand, on the same arrays."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from helpers import group
from plans import plan_of

from eprli_lab.algorithm.daro import daro_step
from eprli_lab.algorithm.loss import k3, sequence_weights
from eprli_lab.algorithm.reward import rewards
from eprli_lab.algorithm.settings import update_settings
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.samplers import BlockSampler, TargetSampler, mixed_blocks
from eprli_lab.records import Group, Problem, Response
from eprli_lab.training.batch import difficulty_weights, make_batch

pytestmark = pytest.mark.slow  # one of many


@pytest.fixture(scope="module")
def arms() -> dict[str, RunSpec]:
    return {run.spec.arm: run.spec for run in plan_of("sweep=neighbours", "preset=smoke").runs}


def sampled(correct: Sequence[bool], lengths: Sequence[int]) -> Group:
    """A group with a response of each length."""
    responses = tuple(Response("x", (2, 4), tuple(range(n)), (-0.5,) * n, False) for n in lengths)
    return dataclasses.replace(group(list(correct)), responses=responses)


def coefficients(spec: RunSpec, groups: Sequence[Group], log_weights: dict[str, float] | None = None) -> list[float]:
    """What multiplies each response's log-probability gradients at ratio 1: its token's weight times its advantage."""
    batch = make_batch(groups, spec.algorithm, 0, log_weights)
    settings = update_settings(spec, "l1", 1e-3, 0)
    lengths = [len(r.tokens) for r in batch.responses]
    weights = sequence_weights(lengths, settings.aggregation, settings.constant_tokens)
    return [w * a[0] for w, a in zip(weights, batch.advantages, strict=True)]


RIGHT, LENGTHS = (True, False, False, True), (2, 3, 1, 4)
SPREAD = statistics.stdev([1, 0, 0, 1])  # unbiased, as OpenRLHF's: the departure from GRPO's text that all arms share


def test_base_has_dapos_token_mean(arms: dict[str, RunSpec]) -> None:
    expected = [a / SPREAD / 10 for a in (0.5, -0.5, -0.5, 0.5)]  # 1 / sum of lengths: DAPO, eq. 8
    assert coefficients(arms["base"], [sampled(RIGHT, LENGTHS)]) == pytest.approx(expected)
    assert arms["base"].curriculum.levels["l1"].clip.high == 0.28 and arms["base"].algorithm.kl_coef == 0.0


def test_grpo_averages_over_tokens_then_over_responses(arms: dict[str, RunSpec]) -> None:
    expected = [a / SPREAD / 4 / n for a, n in zip((0.5, -0.5, -0.5, 0.5), LENGTHS, strict=True)]  # GRPO, eq. 3
    for name in ("sequence_mean", "grpo"):
        assert coefficients(arms[name], [sampled(RIGHT, LENGTHS)]) == pytest.approx(expected)
    clip = arms["grpo"].curriculum.levels["l1"].clip
    assert (clip.low, clip.high) == (0.2, 0.2)


def test_the_kl_is_k3_with_grpos_coefficient(arms: dict[str, RunSpec]) -> None:
    assert arms["kl"].algorithm.kl_coef == arms["grpo"].algorithm.kl_coef == 0.04
    # eq. 4: pi_ref / pi - log(pi_ref / pi) - 1 at pi = .5, pi_ref = .25 and at pi = .2, pi_ref = .4
    values = k3(torch.tensor([0.5, 0.2]).log(), torch.tensor([0.25, 0.4]).log())
    assert values.tolist() == pytest.approx([0.5 + math.log(2) - 1, 2 - math.log(2) - 1], abs=1e-6)


def test_dr_grpo_divides_by_neither_length_nor_spread(arms: dict[str, RunSpec]) -> None:
    expected = [a / 4 / 76 for a in (0.5, -0.5, -0.5, 0.5)]  # 1 / (G * the longest response allowed)
    assert coefficients(arms["dr_grpo"], [sampled(RIGHT, LENGTHS)]) == pytest.approx(expected)


def test_dapo_penalises_softly_and_keeps_all_but_all_or_none(arms: dict[str, RunSpec]) -> None:
    for name in ("overlong", "dapo"):
        level = arms[name].curriculum.levels["l1"]
        assert level.overlong_tokens / level.max_response_tokens == 4096 / 20480
        published = level.model_copy(update={"max_response_tokens": 20480, "overlong_tokens": 4096})
        responses = sampled((True,) * 4, (16384, 18432, 20480, 17408)).responses
        problem = Problem("p", "1a+1?", ("2",), 0.125)
        # eq. 13: 0 up to 16384, ((L_max - L_cache) - |y|) / L_cache beyond, -1 at the limit; added to the reward
        assert rewards(published, problem, responses, [True] * 4) == pytest.approx([1.0, 0.5, 0.0, 0.75])
    for name in ("dynamic", "dapo", "grpo"):
        band = arms[name].curriculum.levels["l1"].admission
        assert (band.accuracy_min, band.accuracy_max) == (1 / 16, 15 / 16)  # eq. 11: 0 < right < G, G = 16


def test_daro_normalises_each_difficulty_by_its_own_tokens(arms: dict[str, RunSpec]) -> None:
    spec = arms["daro"].model_copy(
        update={"algorithm": arms["daro"].algorithm.model_copy(update={"advantage": "mean_only"})}
    )
    half = [sampled((True, False), (3, 5)), sampled((False, True), (1, 7))]  # mu = 1/2: 16 tokens
    quarter = sampled((True, False, False, False), (4, 4, 8, 8))  # mu = 1/4: 24 tokens
    groups = [half[0], quarter, half[1]]
    # sum_mu w_mu / T_mu sum_t A_t log pi_t, at w(1/2) = 3 and w(1/4) = 1
    expected = [3 * 0.5 / 16, -3 * 0.5 / 16, 0.75 / 24, -0.25 / 24, -0.25 / 24, -0.25 / 24, -3 * 0.5 / 16, 3 * 0.5 / 16]
    assert coefficients(spec, groups, {"1/2": math.log(3.0)}) == pytest.approx(expected)
    assert coefficients(arms["base"], groups) != pytest.approx(expected)
    # L_mu: the mean of |A| over the difficulty's tokens: 1/2, and (4 * .75 + 20 * .25) / 24 = 1/3; one step from w = 1
    after = difficulty_weights(groups, spec.algorithm, {})
    assert after == {"1/2": pytest.approx(0.1 * (1 - 1 / 2)), "1/4": pytest.approx(0.1 * (1 - 1 / 3))}
    for _ in range(2000):
        after = difficulty_weights(groups, spec.algorithm, after)
    assert {mu: math.exp(w) for mu, w in after.items()} == {"1/2": pytest.approx(2.0), "1/4": pytest.approx(3.0)}
    assert daro_step({"1/2": math.log(2.0)}, {"1/2": 0.5}, 0.1)["1/2"] == pytest.approx(math.log(2.0)), "w = 1 / L"


def test_daro_over_responses_where_the_loss_is_averaged_over_them(arms: dict[str, RunSpec]) -> None:
    algorithm = arms["daro"].algorithm.model_copy(update={"advantage": "mean_only", "aggregation": "sequence_mean"})
    groups = [sampled((True, False), (3, 5)), sampled((True, False, False, False), (4, 4, 8, 8))]
    got = coefficients(arms["daro"].model_copy(update={"algorithm": algorithm}), groups)
    expected = [0.5 / 2 / 3, -0.5 / 2 / 5, 0.75 / 4 / 4, -0.25 / 4 / 4, -0.25 / 4 / 8, -0.25 / 4 / 8]
    assert got == pytest.approx(expected)


def test_adarft_moves_its_target_by_50_of_100(arms: dict[str, RunSpec]) -> None:
    sampler = TargetSampler([Problem("p", "q", ("1",), 0.5)], "s", arms["adarft"].curriculum)
    paper = 0.0  # on 0 to 100: eta 50, alpha 2, beta .5, start 0
    for right in (4, 4, 2, 1, 0, 4, 0, 3):
        sampler.observe([group([i < right for i in range(4)])])
        paper = min(100.0, max(0.0, paper + 50 * math.tanh(2 * (right / 4 - 0.5))))
        assert 100 * sampler.target == pytest.approx(paper)
    assert 100 * sampler.target == pytest.approx(50 * (math.tanh(1) + math.tanh(0.5)) - 50 * math.tanh(1), abs=40)


def test_ganits_blocks_hold_what_the_paper_says() -> None:
    # its data: equally many problems of each pass count 32 to 1, here 465; 372 of a block are its own (80%), 3 come
    # from each of the 31 others
    problems = [Problem(f"{c}-{i}", "q", ("1",), 1 - c / 32) for c in range(1, 33) for i in range(465)]
    blocks = mixed_blocks(problems, "s")
    assert len(blocks) == 32 and sorted(p.id for b in blocks for p in b) == sorted(p.id for p in problems)
    for own, block in zip(range(32, 0, -1), blocks, strict=True):
        counts = Counter(int(p.id.partition("-")[0]) for p in block)
        assert counts.pop(own) == 372 and set(counts.values()) == {3} and len(counts) == 31


def test_uneven_classes_are_spread_as_evenly_as_may_be(arms: dict[str, RunSpec]) -> None:
    problems = [
        Problem(f"{n}-{i}", "q", ("1",), n / 8) for n, count in ((1, 10), (4, 7), (8, 20)) for i in range(count)
    ]
    counts = [Counter(int(p.id.partition("-")[0]) for p in block) for block in mixed_blocks(problems, "s")]
    # 10: 8 stay, 1 and 1; 7: 5 stay, 1 and 1; 20: 16 stay, 2 and 2
    assert counts == [{1: 8, 4: 1, 8: 2}, {1: 1, 4: 5, 8: 2}, {1: 1, 4: 1, 8: 16}]
    assert [len(b) for b in mixed_blocks(problems[:10], "s")] == [10], "one class is one block"
    sampler = BlockSampler(problems, "s", arms["ganit"].curriculum)
    # 37 problems in blocks of 11, 8 and 18: the second begins at 11/37 of the budget, the third at 19/37
    for fraction, block in ((0.0, 1), (11 / 37 - 1e-9, 1), (11 / 37 + 1e-9, 2), (0.5, 2), (0.52, 3), (1.0, 3)):
        taken = sampler.take(2, fraction)
        assert sampler.metrics() == {"block": block}
        assert {p.id for p in taken} <= {p.id for p in mixed_blocks(sampler.problems, "s")[block - 1]}
    resumed = BlockSampler(problems, "s", state=json.loads(json.dumps(sampler.state())))
    assert resumed.metrics() == sampler.metrics() and resumed.take(5, 1.0) == sampler.take(5, 1.0)


def test_stages_by_response_limit_and_by_prompt_length_are_two_arms(arms: dict[str, RunSpec]) -> None:
    scaler, fast = arms["deepscaler"], arms["fastcurl"]
    limits = [level.max_response_tokens for level in scaler.curriculum.levels.values()]
    assert limits == [round(76 * k / 24) for k in (8, 16, 24)] and scaler.curriculum.strata == "all"
    assert fast.data.difficulty_by == "prompt_length" and fast.curriculum.strata == "band"
    assert scaler.data == arms["base"].data and scaler.data.difficulty_by == "label"


L1 = "curriculum.levels.l1."
BAND = {f"{L1}admission.accuracy_min", f"{L1}admission.accuracy_max"}
OVERLONG = {f"{L1}length_term", f"{L1}length_coef", f"{L1}overlong_tokens", f"{L1}max_response_tokens"}
IDEAS = {  # what an arm changes beside the levels that it adds
    "base": set(),
    "base_matched": {"budget.unit", "budget.amount"},
    "eprli": set(),
    "sequence_mean": {"algorithm.aggregation"},
    "kl": {"algorithm.kl_coef"},
    "dynamic": BAND,
    "overlong": OVERLONG,
    "dr_grpo": {"algorithm.aggregation", "algorithm.advantage"},
    "daro": {"algorithm.difficulty_weights"},
    "adarft": {"curriculum.selection", "curriculum.target.step"},
    "ganit": {"curriculum.selection"},
    "deepscaler": {"curriculum.strata"},
    "fastcurl": {"data.difficulty_by"},
    "grpo": {"algorithm.aggregation", "algorithm.kl_coef", f"{L1}clip.high", *BAND},  # a recipe
    "dapo": BAND | OVERLONG,  # a recipe
}


def test_every_arm_is_the_base_with_one_idea_changed(arms: dict[str, RunSpec]) -> None:
    assert set(arms) == set(IDEAS)
    base = {**arms["base"].flat(), "data.difficulty_by": "label"}
    for name, spec in arms.items():
        flat = spec.flat()
        staged = "curriculum.levels.l2.clip.high" in flat
        changed = {k for k in flat if flat[k] != base.get(k) and not (staged and k.startswith("curriculum.levels."))}
        assert changed - {"arm", "seed"} == IDEAS[name] - {"budget.amount"}, name
        levels = spec.curriculum.levels.values()
        for part in ("clip", "admission", "group_size", "buffer_groups", "length_term"):
            if staged:
                assert {getattr(level, part) for level in levels} == {
                    getattr(arms["base"].curriculum.levels["l1"], part)
                }
