"""Drawing the next token: vLLM's filters in vLLM's order, then a draw by inverse CDF.

Order and boundaries are those of vLLM's `v1/sample`: temperature, min_p, top_k, top_p. Log-probabilities are of the
distribution that was drawn from (its `processed_logprobs`); greedy ones of the distribution at temperature 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eprli_lab.records import Sampling

BLOCK = 512  # tokens summed at once; where in a block a draw falls is looked up in that block alone
ELEMENTS = 2**24  # of the logits that are worked on at once (64 MB in float32)


def pick(logits: Tensor, sampling: Sampling, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """(tokens [R], log-probabilities [R] in nats) from next-token logits [R, V], float32, which are overwritten.

    `uniform` [R, 1] in [0, 1), float64: where in its distribution each row draws; None at temperature 0.
    """
    rows, size = logits.shape
    at_once = max(1, ELEMENTS // size)
    if rows <= at_once:
        return _pick(logits, sampling, uniform)
    cuts = [slice(i, i + at_once) for i in range(0, rows, at_once)]
    parts = [_pick(logits[cut], sampling, None if uniform is None else uniform[cut]) for cut in cuts]
    return torch.cat([tokens for tokens, _ in parts]), torch.cat([values for _, values in parts])


def _pick(logits: Tensor, sampling: Sampling, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    if uniform is None:
        tokens = logits.argmax(-1)
        return tokens, (logits.gather(1, tokens[:, None]) - logits.logsumexp(-1, keepdim=True))[:, 0]
    if sampling.temperature != 1.0:
        logits = logits.div_(sampling.temperature)
    logits = keep(logits, sampling)
    top = logits.amax(-1, keepdim=True)
    tokens, total = draw((logits - top).exp_(), uniform)
    return tokens[:, 0], (logits.gather(1, tokens) - top - total.log())[:, 0]


def keep(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits [R, V] (already at the temperature) with what `sampling` leaves out at -inf; may be changed in place.

    min_p: below that share of the most probable token's probability. top_k: below the k-th largest (ties stay).
    top_p: what has at least that mass above it, of the distribution that min_p and top_k left.
    """
    outside, size = float("-inf"), logits.shape[-1]
    if sampling.min_p > 0.0:
        probabilities = logits.softmax(-1)
        low = probabilities < probabilities.amax(-1, keepdim=True) * sampling.min_p
        logits = logits.masked_fill_(low, outside)
    if 0 < sampling.top_k < size:
        least = logits.topk(sampling.top_k, -1).values[:, -1:]
        logits = logits.masked_fill_(logits < least, outside)
    if sampling.top_p < 1.0:
        ordered, index = logits.sort(stable=True, dim=-1, descending=True)
        probabilities = ordered.softmax(-1, dtype=torch.float64)
        above = probabilities.cumsum(-1) - probabilities
        beyond = above >= sampling.top_p
        beyond[:, 0] = False  # at least one
        logits = logits.masked_fill_(torch.zeros_like(beyond).scatter_(1, index, beyond), outside)
    return logits


def draw(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """(indices [R, 1], sums [R, 1] in float64): an index a row with probability proportional to its weight.

    By inverse CDF from `uniform` [R, 1] in [0, 1), float64, over weights [R, V] that are not negative. Sums run in
    float64, over blocks where V is large: in float32 they drift by whole tokens at a vocabulary of 152,000. The sums on
    the two sides of the drawn index differ, so an index of weight 0 is never drawn.
    """
    size = weights.shape[1]
    if size <= BLOCK:
        sums = weights.cumsum(-1, dtype=torch.float64)
        total = sums[:, -1:]
        return torch.searchsorted(sums, uniform * total, right=True).clamp_(max=size - 1), total
    whole = size // BLOCK * BLOCK
    blocks = weights[:, :whole].view(len(weights), -1, BLOCK).sum(-1)
    if whole < size:
        blocks = torch.cat([blocks, weights[:, whole:].sum(-1, keepdim=True)], -1)
    sums = blocks.cumsum(-1, dtype=torch.float64)
    total = sums[:, -1:]
    place = uniform * total
    block = torch.searchsorted(sums, place, right=True).clamp_(max=sums.shape[1] - 1)
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    share = (place - before) / (sums.gather(1, block) - before)  # how far into the block: 0 to 1
    index = block * BLOCK + torch.arange(BLOCK, device=weights.device)
    inside = weights.gather(1, index.clamp(max=size - 1)).masked_fill_(index >= size, 0.0)
    offset, _ = draw(inside, share.clamp_(max=1.0 - 2**-53))
    return (block * BLOCK + offset).clamp_(max=size - 1), total
