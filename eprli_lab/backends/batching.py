"""How an update's batch is cut: minibatches of whole groups, microbatches of a bounded number of tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence

from eprli_lab.records import Batch, Response


def minibatches(batch: Batch, count: int, rng: random.Random) -> list[list[int]]:
    """Responses split into `count` parts of whole groups, shuffled; one part keeps its order."""
    groups = sorted(set(batch.groups))
    if count == 1:
        return [list(range(len(batch.responses)))]
    rng.shuffle(groups)
    parts = [set(groups[i::count]) for i in range(min(count, len(groups)))]
    return [[i for i, g in enumerate(batch.groups) if g in part] for part in parts]


def microbatches(batch: Batch, members: list[int], tokens: int) -> list[list[int]]:
    """Members of the batch in order, cut so that a part has at most `tokens` tokens (but at least one response)."""
    return token_cuts(batch.responses, members, tokens)


def token_cuts(responses: Sequence[Response], members: list[int], tokens: int) -> list[list[int]]:
    """Indices of responses in order, cut so that a part has at most `tokens` tokens (but at least one response)."""
    parts: list[list[int]] = [[]]
    used = 0
    for i in members:
        size = len(responses[i].prompt_tokens) + len(responses[i].tokens)
        if parts[-1] and used + size > tokens:
            parts.append([])
            used = 0
        parts[-1].append(i)
        used += size
    return parts
