"""Packing sequences of unequal length into rows: no padding is trained on, no sequence sees another.

Responses to one prompt share it within a row: it is computed once, and its gradient is the sum of theirs.
"""

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
    offsets: tuple[int, ...]  # where sequence i begins in the flattened rows; none where prompts are shared


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


def pack_shared(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], row_tokens: int, pad: int = 0
) -> tuple[Packed, Tensor]:
    """Responses [B] behind their prompts, a prompt once a row for all of its responses there; (rows, index [T]).

    index: of every response's tokens in turn, the flat position whose next-token logits are theirs. A response sees its
    prompt and itself, and goes on at the positions behind the prompt; what it computes is what it would compute alone.
    Packing is first-fit by group: a group's longest responses first, beside their prompt where that has room.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt), []).append(i)
    length = max(row_tokens, max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True)))
    rows: list[_Row] = []
    for prompt, members in groups.items():
        homes: list[_Row] = []  # rows that hold this prompt
        for i in sorted(members, key=lambda i: -len(responses[i])):
            n = len(responses[i])
            home = next((row for row in homes if row.used + n <= length), None)
            if home is None:
                home = next((row for row in rows if row.used + len(prompt) + n <= length), None)
                if home is None:
                    rows.append(home := _Row())
                homes.append(home)
                home.begin(prompt)
            home.add(i, responses[i])
    return _laid_out(rows, len(prompts), pad)


class _Row:
    """A row in the making: token ids, positions, and of each token whose it is."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.prompt: list[int] = []  # number of the prompt in this row that a token belongs to, or stands behind
        self.response: list[int] = []  # the response that it belongs to; -1: a prompt
        self.places: dict[int, list[int]] = {}  # response -> where the logits of its tokens are
        self._after = self._last = self._prompts = 0

    @property
    def used(self) -> int:
        """Tokens so far."""
        return len(self.ids)

    def begin(self, prompt: Sequence[int]) -> None:
        """Put a prompt into the row; the responses that follow are its own."""
        self._prompts += 1
        self._extend(prompt, 0, -1)
        self._last, self._after = self.used - 1, len(prompt)

    def add(self, i: int, response: Sequence[int]) -> None:
        """Put response i behind the prompt that was begun last."""
        self.places[i] = [self._last, *range(self.used, self.used + len(response) - 1)]
        self._extend(response, self._after, i)

    def _extend(self, tokens: Sequence[int], start: int, response: int) -> None:
        self.ids += tokens
        self.positions += range(start, start + len(tokens))
        self.prompt += [self._prompts] * len(tokens)
        self.response += [response] * len(tokens)


def _laid_out(rows: list[_Row], count: int, pad: int) -> tuple[Packed, Tensor]:
    """The rows as tensors, and the index of all responses in their order."""
    length = max(row.used for row in rows)

    def filled(lists: list[list[int]], value: int) -> Tensor:
        return torch.tensor([x + [value] * (length - len(x)) for x in lists], dtype=torch.long)

    prompt = filled([row.prompt for row in rows], 0)
    response = filled([row.response for row in rows], -2)
    same = (response[:, :, None] == response[:, None, :]) | (response[:, None, :] == -1)
    mask = (same & (prompt[:, :, None] == prompt[:, None, :])).tril_()[:, None]
    places = {i: [r * length + at for at in found] for r, row in enumerate(rows) for i, found in row.places.items()}
    index = torch.tensor([at for i in range(count) for at in places[i]], dtype=torch.long)
    ids, positions = filled([row.ids for row in rows], pad), filled([row.positions for row in rows], 0)
    return Packed(ids, positions, mask, ()), index


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

    T runs over the tokens of one response behind the other; both index and tokens are on the model's device. Prompts
    are shared where the model may be packed; else every response has a row and a prompt of its own.
    """
    prompts, tokens = [r.prompt_tokens for r in responses], [r.tokens for r in responses]
    if packable(model):
        rows, index = pack_shared(prompts, tokens, row_tokens)
    else:
        rows = padded([[*p, *t] for p, t in zip(prompts, tokens, strict=True)])
        starts = [o + len(p) for o, p in zip(rows.offsets, prompts, strict=True)]
        index = torch.cat([torch.arange(s - 1, s + len(t) - 1) for s, t in zip(starts, tokens, strict=True)])
    targets = torch.tensor([t for r in tokens for t in r], dtype=torch.long)
    return rows, index.to(model.device), targets.to(model.device)


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
