"""Length terms by name: what a response's length adds to its reward, before the coefficient K_l.

Each takes the G responses of one group as (correct, tokens, level): whether each is right, its length in tokens, and
the level's values; and gives G floats (docs/algorithm.md, "Reward").
"""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.config.curriculum import LevelSpec


def none(correct: Sequence[bool], tokens: Sequence[int], level: LevelSpec) -> list[float]:
    """0 for every response."""
    return [0.0] * len(tokens)


def linear(correct: Sequence[bool], tokens: Sequence[int], level: LevelSpec) -> list[float]:
    """-|o| / Len_l for correct responses, 0 for wrong ones. In [-1, 0]."""
    return [-n / level.max_response_tokens if ok else 0.0 for ok, n in zip(correct, tokens, strict=True)]


def soft_overlong(correct: Sequence[bool], tokens: Sequence[int], level: LevelSpec) -> list[float]:
    """DAPO (arXiv 2503.14476) eq. 13: 0 up to Len - cache, then a straight line down to -1 at Len, -1 beyond."""
    start = level.max_response_tokens - level.overlong_tokens
    out = []
    for n in tokens:
        if n <= start:
            out.append(0.0)
        elif n <= level.max_response_tokens:
            out.append((start - n) / level.overlong_tokens)
        else:
            out.append(-1.0)
    return out


def group_relative(correct: Sequence[bool], tokens: Sequence[int], level: LevelSpec) -> list[float]:
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
