"""Implicit process rewards (PRIME, arXiv 2502.01456): the advantages of their tokens, the scores of their steps.

A token's reward is r(y_t) = beta log(pi_phi(y_t) / pi_ref(y_t)) (eq. 3), of a model that was trained on outcomes alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from eprli_lab.records import Step


def process_advantages(rewards: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """The process part of A_{i,t} of one group, G x |o_i|, from the token rewards, G x |o_i| (eq. 5, gamma = 1).

    sum_{s >= t} (r_i(y_s) - b_i), where the baseline b_i is the mean over the other responses j of their mean token
    reward. A response without tokens has a mean of 0.
    """
    means = [math.fsum(one) / len(one) if one else 0.0 for one in rewards]
    out = []
    for i, one in enumerate(rewards):
        others = means[:i] + means[i + 1 :]
        baseline = math.fsum(others) / len(others)
        values, later = [0.0] * len(one), 0.0
        for t in range(len(one) - 1, -1, -1):
            later += one[t] - baseline
            values[t] = later
        out.append(tuple(values))
    return out


def step_scores(rewards: Sequence[float], steps: Sequence[Step]) -> list[float]:
    """The score of each step of a response, in order: the sum of its token rewards [|o_i|].

    A step has the tokens after the end of the one before up to its own end; where two end in one token, that token.
    """
    out, start = [], 0
    for step in steps:
        out.append(math.fsum(rewards[min(start, step.end) : step.end + 1]))
        start = step.end + 1
    return out
