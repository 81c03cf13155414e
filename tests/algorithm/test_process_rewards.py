"""Step-wise rewards: which steps are right, where they end, and what a token's advantage is."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.step_rewards import step_advantages
from eprli_lab.config.spec import AlgorithmSpec
from eprli_lab.data.families import demonstration, draw
from eprli_lab.data.steps import check_steps, parse_chain, totals
from eprli_lab.records import Grade, Group, Problem, Response, Step
from eprli_lab.training.batch import make_batch


def check(prompt: str, text: str, family: str = "int") -> list[tuple[int, bool]]:
    """Steps of a response whose every character is a token."""
    found = check_steps(parse_chain(family, prompt), text, tuple(range(1, len(text) + 1)))
    return [(s.end, s.correct) for s in found]


def test_a_prompt_is_a_chain() -> None:
    chain = parse_chain("int", "66a+8b-5?")
    assert (chain.start, chain.steps, totals(chain), chain.answer) == (66, (("+", 8), ("-", 5)), [74, 69], 69)
    assert totals(parse_chain("mod10", "3a-5b+9?")) == [8, 7]
    for family, prompt in (("int", "66?"), ("int", "What is 2+2?"), ("program", "66a+8?")):
        with pytest.raises(ValueError, match="is not a chain"):
            parse_chain(family, prompt)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a74b69\\boxed{69}", [(2, True), (5, True)]),
        ("a66+8=74b74-5=69\\boxed{69}", [(7, True), (15, True)]),
        ("a75b70\\boxed{70}", [(2, False), (5, False)]),  # an error that is carried on is wrong twice
        ("a75b69\\boxed{69}", [(2, False), (5, True)]),
        ("b69a74\\boxed{69}", [(2, False), (5, False)]),  # out of order
        ("a74a74b69\\boxed{69}", [(2, True), (5, False), (8, False)]),  # repeated: what follows is out of place
        ("a74b69c12\\boxed{12}", [(2, True), (5, True), (8, False)]),  # beyond the chain
        ("\\boxed{69}", []),
        ("a74", [(2, True)]),  # cut off
        ("a", [(0, False)]),
    ],
)
def test_steps_of_a_response(text: str, steps: list[tuple[int, bool]]) -> None:
    assert check("66a+8b-5?", text) == steps


def test_tokens_may_be_longer_than_a_character() -> None:
    chain = parse_chain("int", "66a+8b-5?")
    ends = (3, 4, 13, 15, 16, 16)  # "a74", "b", "69\boxed{", "69", "}", end of sequence
    assert check_steps(chain, "a74b69\\boxed{69}", ends) == (Step(0, True), Step(2, True))


@given(st.integers(0, 10_000), st.sampled_from(["int", "mod10"]), st.integers(1, 8))
def test_a_demonstration_without_noise_has_only_right_steps(seed: int, family: str, operations: int) -> None:
    rng = random.Random(seed)
    chain = draw(family, operations, rng)  # type: ignore[arg-type]
    text = demonstration(chain, rng)
    steps = check(chain.prompt, text, family)
    assert all(right for _, right in steps) and len(steps) in (0, operations)


def test_a_tokens_advantage_is_the_sum_over_the_steps_that_end_at_or_after_it() -> None:
    # rewards 1, 0, 1, 1: mean 3/4, unbiased std 1/2; normalised: +.5 and -1.5
    steps = [[Step(1, True), Step(3, False)], [Step(0, True), Step(2, True)], []]
    values = step_advantages(steps, [5, 4, 3])
    assert values[0] == pytest.approx((-1.0, -1.0, -1.5, -1.5, 0.0))
    assert values[1] == pytest.approx((1.0, 0.5, 0.5, 0.0))
    assert values[2] == (0.0, 0.0, 0.0)


def test_steps_that_do_not_differ_give_nothing() -> None:
    assert step_advantages([[Step(0, True)], [Step(1, True)]], [2, 2]) == [(0.0, 0.0), (0.0, 0.0)]
    assert step_advantages([[], []], [1, 2]) == [(0.0,), (0.0, 0.0)]
    assert step_advantages([[Step(0, True)], []], [1, 1]) == [(0.0,), (0.0,)]


def group() -> Group:
    def answer(n: int) -> Response:
        return Response("x", (1,), tuple(range(n)), (-0.1,) * n, False)

    return Group(
        Problem("p", "66a+8b-5?", ("69",), 0.25, "int"),
        "l1",
        (answer(5), answer(4)),
        (Grade(True, "exact"), Grade(False, "wrong")),
        (1.0, 0.0),
        0,
        "admitted",
        ((Step(1, True), Step(3, True)), (Step(0, True), Step(2, False))),
    )


def test_outcome_dense_and_both() -> None:
    outcome, dense, both = (
        make_batch([group()], AlgorithmSpec(reward_density=d, advantage="mean_only"), 0).advantages  # type: ignore[arg-type]
        for d in ("outcome", "dense", "both")
    )
    assert outcome == ((0.5,) * 5, (-0.5,) * 4)
    assert dense[0] == pytest.approx((1.0, 1.0, 0.5, 0.5, 0.0)) and dense[1] == pytest.approx((-1.0, -1.5, -1.5, 0.0))
    for o, d, b in zip(outcome, dense, both, strict=True):
        assert b == pytest.approx([x + y for x, y in zip(o, d, strict=True)])


def test_daro_scales_a_groups_tokens() -> None:
    spec = AlgorithmSpec(advantage="mean_only", difficulty_weights="daro")
    batch = make_batch([group()], spec, 0, {"1/2": math.log(3.0)})
    assert batch.advantages[0] == pytest.approx((1.5,) * 5) and batch.advantages[1] == pytest.approx((-1.5,) * 4)
