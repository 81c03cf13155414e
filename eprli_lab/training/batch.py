"""From admitted groups to what one update trains on: each token with its advantage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eprli_lab.algorithm.advantage import advantages
from eprli_lab.algorithm.batch_norm import over_batch
from eprli_lab.algorithm.daro import daro_step, loss_scales, own_normalisation
from eprli_lab.algorithm.implicit_rewards import process_advantages
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
    a batch may be empty: no update can be made of it. `advantage: batch_norm` normalises over the tokens that are left.

    `version` is the number of updates made so far: groups sampled at it are current, older ones were carried.
    """
    responses, values, index, current = [], [], [], []
    scales = difficulty_scales(groups, algorithm, log_weights or {})
    for i, group in enumerate(groups):
        weight = scales.get(solved(group), 1.0)
        for response, one in trained_on(group, algorithm):
            responses.append(response)
            values.append(one if weight == 1.0 else tuple(weight * a for a in one))
            index.append(i)
            current.append(group.version == version)
    if algorithm.advantage == "batch_norm":
        values = over_batch(values)
    return Batch(tuple(responses), tuple(values), tuple(index), tuple(current))


def trained_on(group: Group, algorithm: AlgorithmSpec) -> list[tuple[Response, tuple[float, ...]]]:
    """The responses of a group that get a loss, each with the advantages of its tokens [|o_i|]."""
    pairs = zip(group.responses, token_advantages(group, algorithm), strict=True)
    return [(r, a) for r, a in pairs if not (r.truncated and algorithm.truncated == "masked")]


def token_advantages(group: Group, algorithm: AlgorithmSpec) -> list[tuple[float, ...]]:
    """A_{i,t}, G x |o_i|: of the outcome (the same for every token of a response), of the steps, or their sum.

    `implicit` is the sum of the outcome's and of the learned rewards' (PRIME, arXiv 2502.01456, eq. 5).
    """
    lengths = [len(r.tokens) for r in group.responses]
    outcome = advantages(algorithm.advantage, group.rewards, algorithm.pass_k)
    if algorithm.reward_density == "outcome":
        return [(a,) * n for a, n in zip(outcome, lengths, strict=True)]
    learned = algorithm.reward_density == "implicit"
    dense = process_advantages(group.process) if learned else step_advantages(group.steps, lengths)
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
    by_tokens = algorithm.aggregation == "token_mean"
    sizes = [sum(len(r.tokens) if by_tokens else 1 for r, _ in trained_on(g, algorithm)) for g in groups]
    kept = [(solved(g), size) for g, size in zip(groups, sizes, strict=True) if size]
    own = own_normalisation([mu for mu, _ in kept], [size for _, size in kept])
    return {mu: math.exp(log_weights.get(mu, 0.0)) * factor for mu, factor in own.items()}


def difficulty_weights(groups: Sequence[Group], algorithm: AlgorithmSpec, before: dict[str, float]) -> dict[str, float]:
    """DARO's log weights after this batch; unchanged (empty) without it."""
    if algorithm.difficulty_weights == "none":
        return before
    parts = {i: trained_on(g, algorithm) for i, g in enumerate(groups)}
    kept = [i for i, part in parts.items() if part]
    magnitudes = [math.fsum(abs(a) for _, one in parts[i] for a in one) for i in kept]
    tokens = [sum(len(r.tokens) for r, _ in parts[i]) for i in kept]
    losses = loss_scales([solved(groups[i]) for i in kept], magnitudes, tokens)
    return daro_step(before, losses, algorithm.daro_rate)
