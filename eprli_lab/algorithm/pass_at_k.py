"""The advantage of pass@k training in closed form (arXiv 2508.10751, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eprli_lab.errors import UserError


def pass_at_k(rewards: Sequence[float], k: int) -> tuple[float, ...]:
    """Of N responses, N_neg of them wrong: what a response adds to the pass@k of a group of k drawn with it.

    mean = 1 - C(N_neg, k) / C(N, k); std = sqrt(mean (1 - mean)); right: (1 - mean) / std; wrong:
    (1 - mean - C(N_neg - 1, k - 1) / C(N - 1, k - 1)) / std. Where every k have a right one, or none has, all are zero.
    At k = 1 it is (r - mean) / std with the biased std. Rewards must have two values; raises UserError for more.
    """
    right = max(rewards)
    if len(set(rewards)) > 2:
        raise UserError(
            "algorithm.advantage: pass_at_k counts right and wrong responses, and these rewards have more than two "
            "values: leave out what shapes them, or take another advantage"
        )
    n, wrong = len(rewards), sum(r != right for r in rewards)
    failing = math.comb(wrong, k) / math.comb(n, k)  # 1 - mean
    std = math.sqrt((1.0 - failing) * failing)
    if std == 0.0 or wrong == 0:
        return (0.0,) * n
    loses = math.comb(wrong - 1, k - 1) / math.comb(n - 1, k - 1)
    return tuple(failing / std if r == right else (failing - loses) / std for r in rewards)
