"""Packing sequences of unequal length into rows: no padding is trained on, no sequence sees another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eprli_lab.algorithm.loss import entropy
from eprli_lab.backends.local.heads import Head, accepted, token_scores
from eprli_lab.records import Response

# Architectures whose attention takes a block-diagonal mask and whose head is plain: hidden states -> lm_head.
PACKABLE = {"qwen3", "qwen2", "llama", "mistral"}


@dataclass(frozen=True)
class Packed:
    """Rows of one or several sequences each."""

    ids: Tensor  # [rows, length]
    positions: Tensor  # [rows, length]; restart at 0 with every sequence
    mask: Tensor | None  # [rows, 1, length, length] bool, True: may attend; None: plain causal
    offsets: tuple[int, ...]  # where sequence i begins in the flattened rows


def pack(sequences: Sequence[Sequence[int]], row_tokens: int, pad: int = 0) -> Packed:
    """First-fit-decreasing packing into rows of `row_tokens` (or the longest sequence, where that is longer).

    The mask is block-diagonal and causal: a token sees the earlier tokens of its own sequence only.
    """
    length = max(row_tokens, max(len(s) for s in sequences))
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    free: list[int] = []
    place = [(0, 0)] * len(sequences)
    for i in order:
        n = len(sequences[i])
        row = next((r for r, space in enumerate(free) if space >= n), len(free))
        if row == len(free):
            free.append(length)
        place[i] = (row, length - free[row])
        free[row] -= n
    length -= min(free)
    ids = torch.full((len(free), length), pad, dtype=torch.long)
    positions = torch.zeros_like(ids)
    owner = torch.full_like(ids, -1)
    for i, (row, start) in enumerate(place):
        n = len(sequences[i])
        ids[row, start : start + n] = torch.tensor(sequences[i], dtype=torch.long)
        positions[row, start : start + n] = torch.arange(n)
        owner[row, start : start + n] = i
    mask = (owner[:, :, None] == owner[:, None, :]).tril_()[:, None]
    return Packed(ids, positions, mask, tuple(row * length + start for row, start in place))


def padded(sequences: Sequence[Sequence[int]], pad: int = 0) -> Packed:
    """One sequence a row, padded on the right (a causal mask then hides the padding): the alternative to packing."""
    length = max(len(s) for s in sequences)
    ids = torch.full((len(sequences), length), pad, dtype=torch.long)
    for i, s in enumerate(sequences):
        ids[i, : len(s)] = torch.tensor(s, dtype=torch.long)
    positions = torch.arange(length).expand(len(sequences), length).contiguous()
    return Packed(ids, positions, None, tuple(i * length for i in range(len(sequences))))


def packable(model: Any) -> bool:
    """May its sequences be packed? Not with a sliding window: our mask would take the window's place."""
    return model.config.model_type in PACKABLE and not getattr(model.config, "sliding_window", None)


def rows_for(model: Any, sequences: Sequence[Sequence[int]], row_tokens: int) -> Packed:
    """Packed where the model allows it, else padded."""
    return pack(sequences, row_tokens) if packable(model) else padded(sequences)


def response_rows(model: Any, responses: Sequence[Response], row_tokens: int) -> tuple[Packed, Tensor, Tensor]:
    """(rows of prompts with their responses; flat positions [T] that predict the responses' tokens; those tokens [T]).

    T runs over the tokens of one response behind the other; both index and tokens are on the model's device.
    """
    packed = rows_for(model, [[*r.prompt_tokens, *r.tokens] for r in responses], row_tokens)
    index = torch.cat(
        [
            torch.arange(o + len(r.prompt_tokens) - 1, o + len(r.prompt_tokens) + len(r.tokens) - 1)
            for o, r in zip(packed.offsets, responses, strict=True)
        ]
    ).to(model.device)
    return packed, index, packed.ids.flatten().to(model.device)[index + 1]


def token_states(body: Any, rows: Packed, index: Tensor) -> Tensor:
    """Last hidden states [T, H] of the model's body at the flat positions `index` of the rows only."""
    hidden: Tensor = body(**accepted(body, _arguments(rows, index.device))).last_hidden_state
    return hidden.reshape(-1, hidden.shape[-1])[index]


def token_logits(model: Any, rows: Packed, index: Tensor) -> Tensor:
    """Float32 logits [T, V] of the model at the flat positions `index` of the rows only."""
    index = index.to(model.device)
    if packable(model):
        logits: Tensor = model.lm_head(token_states(model.model, rows, index))
        return logits.float()
    logits = model(**accepted(model, _arguments(rows, model.device))).logits
    return logits.reshape(-1, logits.shape[-1])[index].float()


def target_scores(
    model: Any,
    head: Head | None,
    rows: Packed,
    index: Tensor,
    targets: Tensor,
    temperature: float,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """(log-probabilities of the targets [T], entropies [T]) at `index` of the rows, nats.

    `head`: the model's (heads.head_of); where it has no plain one all logits [T, V] are made at once. A gradient comes
    through the entropies where it is asked for.
    """
    if head is not None:
        return token_scores(head, token_states(head.body, rows, index), targets, temperature, entropy_gradient)
    scores = (token_logits(model, rows, index) / temperature).log_softmax(-1)
    return scores.gather(1, targets[:, None])[:, 0], entropy(scores if entropy_gradient else scores.detach())


def _arguments(rows: Packed, device: Any) -> dict[str, Any]:
    return {
        "input_ids": rows.ids.to(device),
        "position_ids": rows.positions.to(device),
        "attention_mask": None if rows.mask is None else rows.mask.to(device),
        "use_cache": False,
    }
