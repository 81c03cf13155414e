"""An entropy coefficient that follows the entropy (adaptive entropy control: Skywork-OR1, arXiv 2505.22312)."""

from __future__ import annotations


def next_coefficient(coefficient: float, entropy: float, target: float, step: float) -> float:
    """The coefficient of the next update: a step up while entropy (nats a token) is below its target, down above it.

    At the target it stays. It never falls below 0, where there is no bonus.
    """
    if entropy < target:
        return coefficient + step
    return max(0.0, coefficient - step) if entropy > target else coefficient
