"""Step-wise advantages: process supervision of GRPO (arXiv 2402.03300, section 4.1.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eprli_lab.algorithm.advantage import EPSILON
from eprli_lab.records import Step


def step_advantages(steps: Sequence[Sequence[Step]], lengths: Sequence[int]) -> list[tuple[float, ...]]:
    """A_{i,t} of one group, G x |o_i|: the sum of the normalised rewards of the steps that end at or after token t.

    A right step is worth 1, a wrong one 0; rewards are normalised over all steps of all responses of the group
    (unbiased std). A response without steps gets zeros, and so does a group whose steps are all right or all wrong.
    Simplified: the reward of a step is exact, where the paper has a learned reward model.
    """
    rewards = [float(s.correct) for one in steps for s in one]
    if len(rewards) < 2 or max(rewards) == min(rewards):
        return [(0.0,) * n for n in lengths]
    mean = math.fsum(rewards) / len(rewards)
    std = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1)) + EPSILON
    out = []
    for one, n in zip(steps, lengths, strict=True):
        values, later = [0.0] * n, 0.0
        ends = sorted(one, key=lambda s: s.end, reverse=True)
        for t in range(n - 1, -1, -1):
            while ends and ends[0].end >= t:
                later += (float(ends.pop(0).correct) - mean) / std
            values[t] = later
        out.append(tuple(values))
    return out
