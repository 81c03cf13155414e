"""Responses as the training ranks get them: who trains on what, and how rows become OpenRLHF's padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eprli_lab.records import Batch


@dataclass
class Row:
    """One response with its prompt."""

    tokens: Any  # int64 array: prompt and response
    prompt: int  # tokens of the prompt
    logprobs: Any  # float32 array: nats a response token, of the sampling policy
    advantages: Any  # float32 array: a response token
    current: bool  # sampled from the weights that the update starts from
    reference: Any = None  # float32 array: nats a response token, of the reference
    trainer: Any = None  # float32 array: nats a response token, of the policy before the update; with a correction


def rows_of(batch: Batch) -> list[Row]:
    """B rows, in the batch's order."""
    import numpy as np

    return [
        Row(
            tokens=np.array([*r.prompt_tokens, *r.tokens], dtype=np.int64),
            prompt=len(r.prompt_tokens),
            logprobs=np.array(r.logprobs, dtype=np.float32),
            advantages=np.array(a, dtype=np.float32),
            current=c,
        )
        for r, a, c in zip(batch.responses, batch.advantages, batch.current, strict=True)
    ]


def shard_by_tokens(lengths: Sequence[int], members: Sequence[int], ranks: int) -> list[list[int]]:
    """Members of one optimizer step to ranks: the longest first, each to the rank with the fewest tokens so far."""
    shards: list[list[int]] = [[] for _ in range(ranks)]
    used = [0] * ranks
    for i in sorted(members, key=lambda i: (-lengths[i], i)):
        rank = used.index(min(used))
        shards[rank].append(i)
        used[rank] += lengths[i]
    return [sorted(shard) for shard in shards]


def pad_microbatches(parts: list[list[list[int]]]) -> list[list[list[int]]]:
    """Equally many microbatches on every rank, as collective operations need: `-1 - i` is row i without weight."""
    most = max(len(p) for p in parts)
    anything = next(m[0] for p in parts for m in p if m)
    out = []
    for part in parts:
        spare = -1 - (part[0][0] if part and part[0] else anything)
        filled = [m or [spare] for m in part]
        out.append(filled + [[spare]] * (most - len(filled)))
    return out


def pad(members: Sequence[tuple[Row, bool]], pad_id: int) -> dict[str, Any]:
    """`fields` of an Experience, padded on the right: sequences [B, T], the rest [B, T - 1]; and `current` [B].

    `action_log_probs` is what the ratio is to: the sampler's, or with a correction the trainer's before the update.
    """
    import torch

    count, longest = len(members), max(len(r.tokens) for r, _ in members)
    sequences = torch.full((count, longest), pad_id, dtype=torch.long)
    attention = torch.zeros(count, longest, dtype=torch.long)
    shape = (count, longest - 1)
    action, old, advantages = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape), torch.zeros(shape)
    reference = torch.zeros(shape) if members[0][0].reference is not None else None
    sampler = torch.zeros(shape) if members[0][0].trainer is not None else None
    for i, (row, counts) in enumerate(members):
        length, start = len(row.tokens), row.prompt - 1  # position t - 1 predicts token t
        sequences[i, :length] = torch.tensor(row.tokens)
        attention[i, :length] = 1
        span = slice(start, length - 1)
        old[i, span] = torch.tensor(row.logprobs if sampler is None else row.trainer)
        if sampler is not None:
            sampler[i, span] = torch.tensor(row.logprobs)
        advantages[i, span] = torch.tensor(row.advantages)
        action[i, span] = counts
        if reference is not None:
            reference[i, span] = torch.tensor(row.reference)
    fields: dict[str, Any] = {
        "sequences": sequences,
        "attention_mask": attention,
        "action_mask": action,
        "action_log_probs": old,
        "advantages": advantages,
        "base_action_log_probs": reference,
        "rollout_log_probs": sampler,
        "info": {},
    }
    current = torch.tensor([row.current and counts for row, counts in members])
    return {"fields": fields, "current": current}
