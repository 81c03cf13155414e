"""From admitted groups to what one update trains on: each token with its advantage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eprli_lab.algorithm.advantage import advantages
from eprli_lab.algorithm.daro import daro_step, loss_scales
from eprli_lab.algorithm.step_rewards import step_advantages
from eprli_lab.config.spec import AlgorithmSpec
from eprli_lab.records import Batch, Group, Response


def make_batch(
    groups: Sequence[Group], algorithm: AlgorithmSpec, version: int, log_weights: Mapping[str, float] | None = None
) -> Batch:
    """B = sum of G responses, whole groups together, each token with its advantage, weighted where DARO says so.

    Under `truncated: masked` (DAPO, arXiv 2503.14476, section 3.4) the responses that met their limit are left out once
    the advantages were computed with their rewards: `token_mean` then divides by the tokens that are left,
    `sequence_mean` and `constant` by the responses that are. A group of which nothing is left is not in the batch, and
    a batch may be empty: no update can be made of it.

    `version` is the number of updates made so far: groups sampled at it are current, older ones were carried.
    """
    responses, values, index, current = [], [], [], []
    for i, group in enumerate(groups):
        weight = math.exp((log_weights or {}).get(solved(group), 0.0))
        for response, one in trained_on(group, algorithm):
            responses.append(response)
            values.append(one if weight == 1.0 else tuple(weight * a for a in one))
            index.append(i)
            current.append(group.version == version)
    return Batch(tuple(responses), tuple(values), tuple(index), tuple(current))


def trained_on(group: Group, algorithm: AlgorithmSpec) -> list[tuple[Response, tuple[float, ...]]]:
    """The responses of a group that get a loss, each with the advantages of its tokens [|o_i|]."""
    pairs = zip(group.responses, token_advantages(group, algorithm), strict=True)
    return [(r, a) for r, a in pairs if not (r.truncated and algorithm.truncated == "masked")]


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


def difficulty_weights(groups: Sequence[Group], algorithm: AlgorithmSpec, before: dict[str, float]) -> dict[str, float]:
    """DARO's log weights after this batch; unchanged (empty) without it."""
    if algorithm.difficulty_weights == "none":
        return before
    magnitudes = [math.fsum(abs(a) for _, one in trained_on(g, algorithm) for a in one) for g in groups]
    return daro_step(before, loss_scales([solved(g) for g in groups], magnitudes), algorithm.daro_rate)
