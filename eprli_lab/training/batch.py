"""From admitted groups to what one update trains on: each token with its advantage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eprli_lab.algorithm.advantage import advantages
from eprli_lab.algorithm.daro import daro_step, loss_scales, own_normalisation
from eprli_lab.algorithm.step_rewards import step_advantages
from eprli_lab.config.spec import AlgorithmSpec
from eprli_lab.records import Batch, Group


def make_batch(
    groups: Sequence[Group], algorithm: AlgorithmSpec, version: int, log_weights: Mapping[str, float] | None = None
) -> Batch:
    """B = sum of G responses, whole groups together, each token with its advantage, weighted where DARO says so.

    `version` is the number of updates made so far: groups sampled at it are current, older ones were carried.
    """
    responses, values, index, current = [], [], [], []
    scales = difficulty_scales(groups, algorithm, log_weights or {})
    for i, group in enumerate(groups):
        weight = scales.get(solved(group), 1.0)
        for response, one in zip(group.responses, token_advantages(group, algorithm), strict=True):
            responses.append(response)
            values.append(one if weight == 1.0 else tuple(weight * a for a in one))
            index.append(i)
            current.append(group.version == version)
    return Batch(tuple(responses), tuple(values), tuple(index), tuple(current))


def token_advantages(group: Group, algorithm: AlgorithmSpec) -> list[tuple[float, ...]]:
    """A_{i,t}, G x |o_i|: of the outcome (the same for every token of a response), of the steps, or their sum."""
    lengths = [len(r.tokens) for r in group.responses]
    outcome = advantages(algorithm.advantage, group.rewards)
    if algorithm.reward_density == "outcome":
        return [(a,) * n for a, n in zip(outcome, lengths, strict=True)]
    dense = step_advantages(group.steps, lengths)
    if algorithm.reward_density == "dense":
        return dense
    return [tuple(a + d for d in one) for a, one in zip(outcome, dense, strict=True)]


def solved(group: Group) -> str:
    """The group's difficulty for DARO: its number of correct responses, of G."""
    return f"{sum(g.correct for g in group.grades)}/{len(group.grades)}"


def difficulty_scales(
    groups: Sequence[Group], algorithm: AlgorithmSpec, log_weights: Mapping[str, float]
) -> dict[str, float]:
    """Factor of the advantages by difficulty: DARO's w_mu over each difficulty's own tokens; empty without it."""
    if algorithm.difficulty_weights == "none":
        return {}
    sizes = [g.tokens if algorithm.aggregation == "token_mean" else len(g.responses) for g in groups]
    own = own_normalisation([solved(g) for g in groups], sizes)
    return {mu: math.exp(log_weights.get(mu, 0.0)) * factor for mu, factor in own.items()}


def difficulty_weights(groups: Sequence[Group], algorithm: AlgorithmSpec, before: dict[str, float]) -> dict[str, float]:
    """DARO's log weights after this batch; unchanged (empty) without it."""
    if algorithm.difficulty_weights == "none":
        return before
    magnitudes = [math.fsum(abs(a) for one in token_advantages(g, algorithm) for a in one) for g in groups]
    losses = loss_scales([solved(g) for g in groups], magnitudes, [g.tokens for g in groups])
    return daro_step(before, losses, algorithm.daro_rate)
