"""Sampling: our own decode loop over a decoder (decoders.py), each token drawn by drawing.py."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eprli_lab.backends.local.decoders import Decoder
from eprli_lab.backends.local.drawing import pick
from eprli_lab.backends.local.stopping import StopStrings
from eprli_lab.backends.local.uniform import streams, uniform
from eprli_lab.records import Completion, Sampling

STEPS = 32  # tokens whose uniform numbers are made at once
COMPACT_BELOW = 0.75  # compact when fewer than this share of the rows is still alive


@torch.no_grad()
def decode(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_ids: Sequence[int],
    seed: int,
    first_row: int = 0,
    strings: StopStrings | None = None,
) -> list[list[Completion]]:
    """n samples a prompt, [P][n]: tokens and their log-probabilities (nats, of the distribution drawn from).

    A row ends with a stop token (kept), with the token whose text completes a stop string (`strings`; needed where
    `sampling.stop` holds one) or after `max_tokens`. `first_row`: the number of the first response here within all
    that the seed is for, so that a cut into batches draws what the whole would have drawn.
    """
    n, max_tokens = sampling.n, sampling.max_tokens
    logits = decoder.prefill(prompts, n, max_tokens)
    device, total = logits.device, len(prompts) * n
    out = torch.zeros(max_tokens, total, dtype=torch.long, device=device)
    logprobs = torch.zeros(max_tokens, total, device=device)
    lengths = torch.full((total,), max_tokens, device=device)
    stopped = torch.zeros(total, dtype=torch.bool, device=device)
    stops = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    rows = torch.arange(total, device=device)  # original index of the rows in the cache
    alive = torch.ones(total, dtype=torch.bool, device=device)  # of those; what the others draw is left out in the end
    keys = None if sampling.temperature == 0.0 else streams(seed, first_row, total, device)
    places = None
    for t in range(max_tokens):
        if keys is not None and t % STEPS == 0:
            places = uniform(keys, t, min(STEPS, max_tokens - t))
        tokens, picked = pick(logits, sampling, None if places is None else places[rows, t % STEPS, None])
        out[t, rows], logprobs[t, rows] = tokens, picked.float()
        ended = torch.isin(tokens, stops) & alive
        if strings is not None:
            ended |= _completed(strings, out[: t + 1, rows].T, alive & ~ended)
        if bool(ended.any()):
            lengths[rows[ended]], stopped[rows[ended]] = t + 1, True
            alive = alive & ~ended
            left = int(alive.sum())
            if left == 0:
                break
            if left < COMPACT_BELOW * len(rows):
                kept = alive.nonzero()[:, 0]
                decoder.keep(kept)
                rows, tokens, alive = rows[kept], tokens[kept], alive[kept]
        if t < max_tokens - 1:
            logits = decoder.step(tokens)
    found = [
        Completion(tuple(row[:end]), tuple(values[:end]), "stop" if ended else "length")
        for row, values, end, ended in zip(
            out.T.tolist(), logprobs.T.tolist(), lengths.tolist(), stopped.tolist(), strict=True
        )
    ]
    return [found[i : i + n] for i in range(0, total, n)]


def _completed(strings: StopStrings, so_far: Tensor, open_rows: Tensor) -> Tensor:
    """Which of the rows [R] that are still open hold a stop string now."""
    done = torch.zeros_like(open_rows)
    done[open_rows] = torch.tensor(strings.ended(so_far[open_rows].tolist()), dtype=torch.bool, device=done.device)
    return done
