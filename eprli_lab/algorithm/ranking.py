"""How well a score tells right from wrong."""

from __future__ import annotations

from collections.abc import Sequence


def auc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """The chance that something right has a higher score than something wrong, ties counting one half.

    Exactly the area under the ROC curve, by ranks: (R - n (n + 1) / 2) / (n m), where R is the sum of the n right ones'
    ranks, tied ones sharing their mean rank (Mann-Whitney's U). None where all are right or all are wrong.
    """
    positive = sum(right)
    negative = len(right) - positive
    if positive == 0 or negative == 0:
        return None
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    twice, start = 0, 0  # twice the sum of ranks is a whole number: nothing is rounded before the division
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        twice += (start + 1 + end) * sum(right[i] for i in order[start:end])
        start = end
    return (twice - positive * (positive + 1)) / (2 * positive * negative)
