"""Rewards: r_i = R_l(o_i) + K_l * length_term(o_i) (arXiv 2508.01604, section 3.1.2; docs/algorithm.md, "Reward")."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.config.curriculum import LevelSpec
from eprli_lab.config.extensions import resolve
from eprli_lab.records import Problem, Response


def outcome(problem: Problem, responses: Sequence[Response], correct: Sequence[bool], level: LevelSpec) -> list[float]:
    """R_l by whether a response is right: `reward_correct` or `reward_wrong`, one a response [G]."""
    return [level.reward_correct if ok else level.reward_wrong for ok in correct]


def rewards(
    level: LevelSpec, problem: Problem, responses: Sequence[Response], correct: Sequence[bool]
) -> tuple[float, ...]:
    """Shaped rewards of one group [G]. With K_l = 0 exactly the reward R_l, whatever the length term."""
    base = [float(r) for r in resolve("reward", level.reward)(problem, responses, correct, level)]
    if level.length_coef == 0.0:
        return tuple(base)
    term = resolve("length_term", level.length_term)(correct, [len(r.tokens) for r in responses], level)
    return tuple(r + level.length_coef * t for r, t in zip(base, term, strict=True))
