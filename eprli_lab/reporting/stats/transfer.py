"""What levels give to and take from each other: forward and backward transfer, forgetting. Pure.

After level i of the visited order, i = 1..T, the accuracy on level j is R[i, j]; b[j] is it before training.

- Forward and backward transfer: Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory" (arXiv 1706.08840), eq. 3, 4.
  Their b is of a network at random; here it is of the initial policy, which can do something already.
- Forgetting: Chaudhry et al. 2018, "Riemannian Walk" (arXiv 1801.10112), eq. 3: unlike backward transfer it is measured
  from the best that a level ever was, and a level that goes on rising has a negative one.

A matrix is T x T, rows i and columns j in the visited order; T = 1 gives nan: there is nothing to transfer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class LevelMatrix(NamedTuple):
    """Accuracy on every level of a run before training, and after each level's."""

    levels: tuple[str, ...]  # T, in the order of training
    before: Array  # b, T
    after: Array  # R, T x T: [i, j] on level j when level i has been trained


def forward_transfer(matrix: LevelMatrix) -> float:
    """Mean over j = 2..T of R[j - 1, j] - b[j]: what the levels before one have done for it."""
    later = range(1, len(matrix.levels))
    return _mean([matrix.after[j - 1, j] - matrix.before[j] for j in later])


def backward_transfer(matrix: LevelMatrix) -> float:
    """Mean over j = 1..T-1 of R[T, j] - R[j, j]: what the levels after one have done to it; below 0 it lost."""
    return _mean([matrix.after[-1, j] - matrix.after[j, j] for j in range(len(matrix.levels) - 1)])


def forgetting(matrix: LevelMatrix) -> float:
    """Mean over j = 1..T-1 of max over i < T of R[i, j], less R[T, j]."""
    return _mean([matrix.after[:-1, j].max() - matrix.after[-1, j] for j in range(len(matrix.levels) - 1)])


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
