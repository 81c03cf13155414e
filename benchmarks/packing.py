"""Training on packed rows against padded rows: forward and backward of one update, `python benchmarks/packing.py`.

The same 128 responses of the trained default policy (8 training problems x 16), alternated in one process, one thread.
"""

from __future__ import annotations

import time

import torch
from trained import trained_backend

from eprli_lab.backends.local.packing import Packed, pack, padded, token_logits
from eprli_lab.data.load import load_training
from eprli_lab.records import Sampling

REPEATS = 20


def main() -> None:
    backend, spec = trained_backend()
    groups = backend.sample(load_training(spec.data)[:8], Sampling(16, 76), seed=3)
    responses = [r for g in groups for r in g]
    sequences = [[*r.prompt_tokens, *r.tokens] for r in responses]

    def work(rows: Packed) -> None:
        starts = [o + len(r.prompt_tokens) for o, r in zip(rows.offsets, responses, strict=True)]
        index = torch.cat([torch.arange(s - 1, s + len(r.tokens) - 1) for s, r in zip(starts, responses, strict=True)])
        logits = token_logits(backend.policy, rows, index)
        torch.nn.functional.cross_entropy(logits, rows.ids.flatten()[index + 1]).backward()
        backend.policy.zero_grad()

    ways = {"packed": lambda: pack(sequences, spec.backend.pack_tokens), "padded": lambda: padded(sequences)}
    seconds = dict.fromkeys(ways, 0.0)
    for way in ways.values():
        work(way())
    for _ in range(REPEATS):
        for name, way in ways.items():
            began = time.process_time()
            work(way())  # making the rows is part of the cost
            seconds[name] += time.process_time() - began
    for name, way in ways.items():
        print(f"{name}: {1000 * seconds[name] / REPEATS:6.1f} CPU-ms, {way().ids.numel()} token slots")
    print(f"ratio {seconds['padded'] / seconds['packed']:.2f} (goal: at least 1.6)")


if __name__ == "__main__":
    main()
