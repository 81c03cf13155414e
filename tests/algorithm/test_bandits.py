"""Schedules that learn: their updates by hand, the best of scripted arms found, the same question answered the same."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable

import pytest
from helpers import group
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.bandits import Bandit, Thompson, mean_magnitude
from eprli_lab.algorithm.progress import Progress
from eprli_lab.algorithm.schedule import make_schedule
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.records import Group

LEVELS = ("l1", "l2", "l3")
KINDS = ("bandit", "thompson")


def curriculum(kind: str, **settings: dict[str, float]) -> CurriculumSpec:
    levels = {n: {"quality_threshold": (i + 1) / 3, "max_response_tokens": 8} for i, n in enumerate(LEVELS)}
    return CurriculumSpec.model_validate({"schedule": kind, "levels": levels, **settings})


def of(level: str, right: int, of: int = 4, verdict: str = "admitted") -> Group:
    return group([i < right for i in range(of)], verdict=verdict, level=level)


def test_q_by_hand() -> None:
    made = Bandit(curriculum("bandit", bandit={"rate": 0.5, "temperature": 0.5}), 100.0, 0)
    # 2 of 4 right: mean 1/2, unbiased std sqrt(1/3), so |A| = .5 sqrt(3) of each; the group without spread has zeros
    half = 0.5 * math.sqrt(3.0)
    assert mean_magnitude([of("l1", 2)]) == pytest.approx(half, abs=1e-8)
    made.observe([of("l1", 2), of("l1", 4, verdict="too_easy"), of("l1", 2, verdict="errored")])
    assert made.values == {"l1": pytest.approx(0.5 * half / 2, abs=1e-8), "l2": 0.0, "l3": 0.0}
    made.observe([of("l1", 0, verdict="too_hard")])
    assert made.values["l1"] == pytest.approx(half / 8, abs=1e-8), "half is forgotten"
    made.observe([])
    made.observe([of("l2", 2, verdict="errored")])
    assert made.draws == {"l1": 2, "l2": 0, "l3": 0}, "a step that says nothing is no draw"
    weights = [math.exp(half / 8 / 0.5), 1.0, 1.0]
    assert made.probabilities(LEVELS) == pytest.approx([w / sum(weights) for w in weights])
    assert made.probabilities(["l2"]) == [1.0]
    assert made.metrics()["l1/probability"] == made.probabilities(LEVELS)[0]


def test_a_large_q_at_a_low_temperature_is_no_overflow() -> None:
    made = Bandit(curriculum("bandit", bandit={"temperature": 1e-6}), 100.0, 0)
    made.values["l2"] = 0.9
    assert made.probabilities(LEVELS) == [0.0, 1.0, 0.0]


def test_a_posterior_by_hand() -> None:
    made = Thompson(curriculum("thompson", thompson={"decay": 0.5, "prior": 2.0}), 100.0, 0)
    made.observe([of("l1", 2), of("l1", 2), of("l1", 4, verdict="too_easy"), of("l1", 2, verdict="errored")])
    assert made.posterior("l1") == (4.0, 3.0) and made.posterior("l2") == (2.0, 2.0)
    made.observe([of("l2", 2, verdict="no_signal")])
    assert made.posterior("l1") == (3.0, 2.5) and made.posterior("l2") == (2.0, 3.0), "all levels forget"
    made.observe([])
    assert made.posterior("l1") == (3.0, 2.5)
    assert made.metrics()["l1/share"] == pytest.approx(3.0 / 5.5) and made.metrics()["l2/draws"] == 1.0
    ends = Progress(steps=3)
    assert made.choose(["l3"], ends, 0.0) == "l3", "an ended level is not chosen"


def pulls(kind: str, gain: Callable[[str, int], int], steps: int, seed: int, **settings: dict[str, float]) -> list[str]:
    """The levels that a schedule chose; `gain`: right answers of 4 in the groups of a level at a step."""
    made, progress, out = make_schedule(curriculum(kind, **settings), 1e9, seed), Progress(), []
    for step in range(steps):
        progress.steps = step
        level = made.choose(LEVELS, progress, 0.0)
        assert level == made.choose(LEVELS, progress, 0.0), "asked twice"
        out.append(str(level))
        progress.steps += 1
        right = gain(str(level), step)
        made.observe([of(str(level), right, verdict="admitted" if 0 < right < 4 else "too_hard")] * 2)
    return out


# The teaching arm's groups have mean |A| .87 and are admitted; those of the others have no spread and are rejected.
ARMS = {"bandit": {"bandit": {"rate": 0.5, "temperature": 0.2}}, "thompson": {"thompson": {"decay": 0.9}}}
REGRET = {"bandit": 12, "thompson": 15}  # pulls of 100 at arms that teach nothing; drawn uniformly it would be 67


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_arm_is_found_within_the_stated_regret(kind: str) -> None:
    """One arm teaches (gain 1 a pull), two teach nothing: regret is the number of pulls at these, of 100."""
    for seed in range(10):
        best = random.Random(seed).choice(LEVELS)
        chosen = pulls(kind, lambda level, step, best=best: 2 if level == best else 0, 100, seed, **ARMS[kind])
        assert sum(level != best for level in chosen) <= REGRET[kind], (seed, chosen)


@pytest.mark.parametrize("kind", KINDS)
def test_an_arm_that_is_used_up_is_left_for_the_next(kind: str) -> None:
    """l1 teaches for 60 steps, then l3: in the 60 steps after it at most a third are at arms that teach nothing."""
    for seed in range(10):
        chosen = pulls(kind, lambda lv, s: 2 if lv == ("l1" if s < 60 else "l3") else 0, 120, seed, **ARMS[kind])
        assert sum(level != "l1" for level in chosen[:60]) <= 15, (seed, chosen)
        assert sum(level != "l3" for level in chosen[60:]) <= 20, (seed, chosen)


@given(st.sampled_from(KINDS), st.lists(st.tuples(st.sampled_from(LEVELS), st.integers(0, 4)), max_size=12), st.data())
def test_state_comes_back_and_draws_add_up(kind: str, steps: list[tuple[str, int]], data: st.DataObject) -> None:
    spec = curriculum(kind)
    whole, split = make_schedule(spec, 1e9, 5), data.draw(st.integers(0, len(steps)))
    other = make_schedule(spec, 1e9, 5)
    for i, (level, right) in enumerate(steps):
        if i == split:
            other = make_schedule(spec, 1e9, 5, json.loads(json.dumps(other.state())))
        for made in (whole, other):
            made.observe([of(level, right, verdict="admitted" if right % 4 else "too_easy")])
        asked = [made.choose(LEVELS, Progress(steps=i), 0.0) for made in (whole, other, whole)]
        assert len(set(asked)) == 1
    assert whole.state() == other.state() and whole.metrics() == other.metrics()
    assert sum(whole.metrics()[f"{n}/draws"] for n in LEVELS) == len(steps)
    if kind == "thompson":
        totals = [whole.metrics()[f"{n}/alpha"] + whole.metrics()[f"{n}/beta"] - 2.0 for n in LEVELS]
        assert sum(totals) == pytest.approx(sum(0.9**i for i in range(len(steps)))), "every group is counted once"
    else:
        assert sum(whole.metrics()[f"{n}/probability"] for n in LEVELS) == pytest.approx(1.0)
