"""REINFORCE++ with a group's mean as its baseline (arXiv 2501.03262): advantages normalised over the whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST_VARIANCE = 1e-8  # as in OpenRLHF's reinforce_baseline


def over_batch(advantages: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """(A - mean) / std over all tokens of a batch, B x |o_i|: each token counts once, std is the biased one."""
    tokens = sum(map(len, advantages))
    if not tokens:
        return list(advantages)
    mean = math.fsum(a for one in advantages for a in one) / tokens
    variance = math.fsum((a - mean) ** 2 for one in advantages for a in one) / tokens
    std = math.sqrt(max(variance, SMALLEST_VARIANCE))
    return [tuple((a - mean) / std for a in one) for one in advantages]
