"""The arms of `sweep=lengths` cut answers, and leave room for right ones, by the lengths that answers have."""

from __future__ import annotations

import random

import pytest
from plans import plan_of

from eprli_lab.backends.local.tokenizer import CharacterTokenizer
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.families import demonstration, draw

TERSE = {n: 2 * n + 4 for n in range(1, 9)}  # operations -> tokens of a worked answer, with the end of sequence
EQUATIONS = {n: 6 * n + 4 for n in range(1, 9)}
DIRECT = 4  # the answer alone, without a step


def longest_cut(spec: RunSpec) -> dict[str, bool]:
    """Level -> does its limit cut the longest worked answer of its stratum? Its longest terse one must fit."""
    out = {}
    for name, level in spec.curriculum.levels.items():
        most = round(8 * level.quality_threshold)
        assert level.max_response_tokens >= TERSE[most], name
        out[name] = level.max_response_tokens < EQUATIONS[most]
    return out


def test_worked_answers_have_two_lengths():
    tokenizer, rng = CharacterTokenizer(), random.Random(0)
    for n in range(1, 9):
        lengths = {len(tokenizer.encode(demonstration(draw("mod10", n, rng), rng, noise=0.25))) + 1 for _ in range(40)}
        assert lengths == {DIRECT, TERSE[n], EQUATIONS[n]}


def test_curricula_say_whether_their_limits_act():
    for name in ("l1", "l2", "l3", "l4"):
        assert not any(longest_cut(compose_spec([f"curriculum={name}"])).values()), name
    for name in ("l2_tight", "l3_tight"):
        assert all(longest_cut(compose_spec([f"curriculum={name}"])).values()), name


@pytest.mark.slow
def test_every_arm_of_lengths_cuts_answers_but_the_reference():
    arms = {r.arm: r for r in plan_of("sweep=lengths").runs}
    cut = {arm: longest_cut(run.spec) for arm, run in arms.items()}
    assert {arm for arm, levels in cut.items() if not any(levels.values())} == {"none_binds", "none_binds_matched"}
    assert all(cut["increasing"].values())
    limits = {a: [lv.max_response_tokens for lv in r.spec.curriculum.levels.values()] for a, r in arms.items()}
    ordered = ("increasing", "constant", "decreasing")
    assert {sum(limits[a]) for a in ordered} == {72}  # the same mean
    assert limits["increasing"] == sorted(limits["increasing"]) == limits["masked"]
    assert limits["decreasing"] == sorted(limits["decreasing"], reverse=True)
    assert len({tuple(limits[a]) for a in ordered}) == 3
