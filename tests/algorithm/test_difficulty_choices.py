"""DARO's weights, AdaRFT's target: by hand; every problem sampler resumes bit for bit."""

from __future__ import annotations

import json
import math

import pytest
from helpers import group
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.daro import daro_step, loss_scales, own_normalisation
from eprli_lab.config.curriculum import CurriculumSpec, LevelSpec, TargetSpec
from eprli_lab.data.samplers import ProblemSampler, TargetSampler, make_sampler, next_target
from eprli_lab.records import Problem


def problems(count: int = 40) -> list[Problem]:
    return [Problem(f"p{i:03d}", "q", ("1",), (i % 8 + 1) / 8) for i in range(count)]


# --- DARO


def test_sizes_of_a_difficultys_loss_and_of_its_share() -> None:
    # means of |A| over each difficulty's own tokens: (1 + 1) / (2 + 6), 2 / 4
    assert loss_scales(["1/4", "3/4", "1/4"], [1.0, 2.0, 1.0], [2, 4, 6]) == {"1/4": 0.25, "3/4": 0.5}
    assert loss_scales(["1/4"], [0.0], [3]) == {"1/4": 0.0}
    assert own_normalisation(["1/4", "3/4", "1/4"], [2, 4, 6]) == {"1/4": 12 / 8, "3/4": 12 / 4}
    assert own_normalisation(["1/4"], [5]) == {"1/4": 1.0}, "one difficulty alone: the loss as it was"


def test_a_step_of_the_weights() -> None:
    # d/d(log w) of w L - log w is w L - 1: at w = 1, L = 1.5 the log falls by rate * .5, at L = .5 it rises
    out = daro_step({"old": 0.7}, {"a": 1.5, "b": 0.5}, 0.1)
    assert out == {"old": 0.7, "a": pytest.approx(-0.05), "b": pytest.approx(0.05)}
    assert daro_step({"a": math.log(2.0)}, {"a": 0.5}, 0.1)["a"] == pytest.approx(math.log(2.0)), "at rest: w = 1 / L"


@given(st.floats(0.05, 5.0))
def test_the_weights_come_to_rest_where_every_difficulty_counts_the_same(loss: float) -> None:
    weights: dict[str, float] = {}
    for _ in range(4000):
        weights = daro_step(weights, {"a": loss}, 0.1)
    assert math.exp(weights["a"]) * loss == pytest.approx(1.0, rel=1e-3)


# --- AdaRFT


def test_the_target_moves_towards_the_goal() -> None:
    spec = TargetSpec(start=0.0, step=0.05, sensitivity=2.0, goal=0.5)
    assert next_target(0.3, 0.5, spec) == 0.3
    assert next_target(0.3, 1.0, spec) == pytest.approx(0.3 + 0.05 * math.tanh(1.0))
    assert next_target(0.3, 0.0, spec) == pytest.approx(0.3 - 0.05 * math.tanh(1.0))
    assert next_target(0.0, 0.0, spec) == 0.0 and next_target(1.0, 1.0, spec) == 1.0


def test_the_nearest_problems_come_first_and_each_once_an_epoch() -> None:
    stream = TargetSampler(problems(), "s", curriculum("target", TargetSpec(start=0.5)))
    first = stream.take(5)
    assert {p.difficulty for p in first} == {0.5} and len({p.id for p in first}) == 5
    assert {p.difficulty for p in stream.take(10)} == {0.375, 0.625}
    stream.observe([group([True] * 4)] * 20 + [group([False] * 4, verdict="errored")])
    assert stream.target == pytest.approx(0.5 + 0.05 * math.tanh(1.0))
    rest = stream.take(25)
    assert len({p.id for p in [*first, *rest]}) == 30
    assert stream.epoch == 0 and {p.difficulty for p in stream.take(5)} == {0.5} and stream.epoch == 1
    target = stream.target
    stream.observe([])
    assert stream.target == target


# --- all of them


def curriculum(selection: str, target: TargetSpec | None = None) -> CurriculumSpec:
    level = LevelSpec(quality_threshold=1.0, max_response_tokens=8)
    return CurriculumSpec(selection=selection, levels={"l1": level}, target=target or TargetSpec())


@given(st.sampled_from(["uniform", "target", "blocks"]), st.lists(st.integers(0, 30), max_size=8), st.data())
def test_a_resumed_stream_is_the_uninterrupted_one(selection: str, takes: list[int], data: st.DataObject) -> None:
    def work(stream: ProblemSampler, counts: list[int], begin: int) -> list[str]:
        out = []
        for i, n in enumerate(counts, begin):
            taken = stream.take(n, i / 8)
            stream.observe([group([i < 8 * (p.difficulty or 0) for i in range(16)]) for p in taken])
            out += [p.id for p in taken]
        return out

    spec, split = curriculum(selection), data.draw(st.integers(0, len(takes)))
    expected = work(make_sampler(spec, problems(), "s"), takes, 0)
    first = make_sampler(spec, problems(), "s")
    got = work(first, takes[:split], 0)
    state = json.loads(json.dumps(first.state()))
    got += work(make_sampler(spec, list(reversed(problems())), "s", state), takes[split:], split)
    assert got == expected
