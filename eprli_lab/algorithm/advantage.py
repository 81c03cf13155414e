"""Group advantages (docs/algorithm.md, Advantage). Pure Python on G floats: G is small and the values must be exact."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eprli_lab.config.extensions import resolve
from eprli_lab.errors import UserError

EPSILON = 1e-9  # of the denominator, as in OpenRLHF's group_norm


def group_norm(rewards: Sequence[float]) -> tuple[float, ...]:
    """GRPO (arXiv 2402.03300, section 4.1.2): (r - mean) / (std + 1e-9), unbiased std, as OpenRLHF."""
    mean = math.fsum(rewards) / len(rewards)
    std = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
    return tuple((r - mean) / (std + EPSILON) for r in rewards)


def mean_only(rewards: Sequence[float]) -> tuple[float, ...]:
    """Dr. GRPO (arXiv 2503.20783), section 3.2: r - mean."""
    mean = math.fsum(rewards) / len(rewards)
    return tuple(r - mean for r in rewards)


def rloo(rewards: Sequence[float]) -> tuple[float, ...]:
    """Leave-one-out baseline (arXiv 2402.14740): r_i minus the mean of the others."""
    total, n = math.fsum(rewards), len(rewards)
    return tuple(r - (total - r) / (n - 1) for r in rewards)


def max_rl(rewards: Sequence[float]) -> tuple[float, ...]:
    """MaxRL (arXiv 2602.02710): (r - mean) / mean, 0 where the mean is 0. Raises UserError for a negative reward.

    A right answer of a group with pass rate p counts 1 / p - 1: problems weigh as in the gradient of log p, hard ones
    the more.
    """
    if min(rewards) < 0:
        raise UserError(
            f"algorithm.advantage: max_rl divides by a group's mean reward, and there is a reward of {min(rewards):g}: "
            "give rewards of 0 and more, or take another advantage"
        )
    mean = math.fsum(rewards) / len(rewards)
    return tuple((r - mean) / mean if mean else 0.0 for r in rewards)


def advantages(name: str, rewards: Sequence[float], pass_k: int = 4) -> tuple[float, ...]:
    """A_i of one group, shape G. Permuting the rewards permutes them; equal rewards give exact zeros.

    `pass_k`: k of pass_at_k. Of batch_norm this is the group's part; the batch's is batch_norm.over_batch.
    """
    if max(rewards) == min(rewards):
        return (0.0,) * len(rewards)
    more = (pass_k,) if name == "pass_at_k" else ()
    return tuple(float(a) for a in resolve("advantage", name)(rewards, *more))
