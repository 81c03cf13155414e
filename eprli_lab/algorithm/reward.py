"""Rewards: r_i = R_l(o_i) + K_l * length_term(o_i) (arXiv 2508.01604, section 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.config.curriculum import LevelSpec


def linear(correct: Sequence[bool], tokens: Sequence[int], max_tokens: int) -> list[float]:
    """-|o| / Len_l for correct responses, 0 for wrong ones. In [-1, 0]."""
    return [-n / max_tokens if ok else 0.0 for ok, n in zip(correct, tokens, strict=True)]


def soft_overlong(tokens: Sequence[int], max_tokens: int, overlong_tokens: int) -> list[float]:
    """DAPO (arXiv 2503.14476) eq. 13: 0 up to Len - cache, then a straight line down to -1 at Len, -1 beyond."""
    start = max_tokens - overlong_tokens
    out = []
    for n in tokens:
        if n <= start:
            out.append(0.0)
        elif n <= max_tokens:
            out.append((start - n) / overlong_tokens)
        else:
            out.append(-1.0)
    return out


def group_relative(correct: Sequence[bool], tokens: Sequence[int]) -> list[float]:
    """Kimi k1.5 (arXiv 2501.12599), section 2.3.3: lambda = 0.5 - (|o| - min) / (max - min) within the group.

    Correct responses get lambda, wrong ones min(0, lambda); a group of one length gets 0.
    """
    shortest, longest = min(tokens), max(tokens)
    if shortest == longest:
        return [0.0] * len(tokens)
    out = []
    for ok, n in zip(correct, tokens, strict=True):
        value = 0.5 - (n - shortest) / (longest - shortest)
        out.append(value if ok else min(0.0, value))
    return out


def length_term(level: LevelSpec, correct: Sequence[bool], tokens: Sequence[int]) -> list[float]:
    """The level's length term for each of G responses, before the coefficient."""
    if level.length_term == "linear":
        return linear(correct, tokens, level.max_response_tokens)
    if level.length_term == "soft_overlong":
        return soft_overlong(tokens, level.max_response_tokens, level.overlong_tokens)
    if level.length_term == "group_relative":
        return group_relative(correct, tokens)
    return [0.0] * len(tokens)


def rewards(level: LevelSpec, correct: Sequence[bool], tokens: Sequence[int]) -> tuple[float, ...]:
    """Shaped rewards of one group, shape G. With K_l = 0 exactly the outcome reward, whatever the term."""
    outcome = [level.reward_correct if ok else level.reward_wrong for ok in correct]
    if level.length_coef == 0.0:
        return tuple(outcome)
    term = length_term(level, correct, tokens)
    return tuple(r + level.length_coef * t for r, t in zip(outcome, term, strict=True))
