"""Forward and backward of an update: rows padded, packed, sharing prompts: `python benchmarks/packing.py`.

The same 128 responses of the trained default policy (8 training problems x 16), alternated in one process, one thread;
CPU-ms are medians, ratios the medians of the rounds with their quartiles.
"""

from __future__ import annotations

import statistics
import time

import torch
from trained import trained_backend

from eprli_lab.backends.local.packing import Packed, pack, pack_shared, padded, token_logits
from eprli_lab.data.load import load_training
from eprli_lab.records import Sampling

REPEATS = 20


def main() -> None:
    backend, spec = trained_backend()
    groups = backend.sample(load_training(spec.data)[:8], Sampling(16, 76), seed=3)
    responses = [r for g in groups for r in g]
    prompts, answers = [r.prompt_tokens for r in responses], [r.tokens for r in responses]
    sequences = [[*p, *a] for p, a in zip(prompts, answers, strict=True)]
    targets, length = torch.tensor([t for a in answers for t in a]), spec.backend.pack_tokens

    def alone(rows: Packed) -> tuple[Packed, torch.Tensor]:
        starts = [o + len(p) for o, p in zip(rows.offsets, prompts, strict=True)]
        return rows, torch.cat([torch.arange(s - 1, s + len(a) - 1) for s, a in zip(starts, answers, strict=True)])

    def work(rows: Packed, index: torch.Tensor) -> None:
        torch.nn.functional.cross_entropy(token_logits(backend.policy, rows, index), targets).backward()
        backend.policy.zero_grad()

    ways = {
        "padded": lambda: alone(padded(sequences)),
        "packed": lambda: alone(pack(sequences, length)),
        "shared": lambda: pack_shared(prompts, answers, length),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(REPEATS + 1):
        for name, way in ways.items():
            began = time.process_time()
            work(*way())  # making the rows is part of the cost
            if i:
                times[name].append(1000 * (time.process_time() - began))
    print(f"{len(targets)} response tokens")
    for name, way in ways.items():
        rows = way()[0].ids
        print(f"{name}: {statistics.median(times[name]):6.1f} CPU-ms, {rows.shape[0]} rows x {rows.shape[1]} tokens")
    for above, below in (("padded", "packed"), ("packed", "shared")):
        ratios = [a / b for a, b in zip(times[above], times[below], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{above} : {below} {middle:.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
