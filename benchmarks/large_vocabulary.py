"""What a vocabulary costs: drawing a token, and a loss over many tokens; `python benchmarks/large_vocabulary.py`.

Drawing by inverse CDF against the exponential race (log-softmax, one exponential a token, argmax), and the
log-probabilities of tokens in chunks against all logits at once (forward, backward, entropies): CPU time and peak
memory. The two sides of a ratio are alternated in one process, one thread; memory is that of a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from eprli_lab.algorithm.loss import entropy
from eprli_lab.backends.local.drawing import pick
from eprli_lab.backends.local.heads import Head, token_scores
from eprli_lab.backends.local.uniform import streams, uniform
from eprli_lab.records import Sampling

DRAWS = [(128, 32, 400), (64, 32_000, 8), (64, 151_936, 3)]  # rows, vocabulary, repeats
LOSSES = [(2600, 64, 32, 40), (512, 384, 32_000, 3), (1536, 384, 151_936, 1)]  # tokens, width, vocabulary, repeats


def alternated(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """CPU-ms of each, after one round to warm up: the median of the rounds."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(repeats + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if i:
                found[name].append(1000 * (time.process_time() - began))
    return {name: sorted(values)[len(values) // 2] for name, values in found.items()}


def draws(rows: int, vocabulary: int, repeats: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, vocabulary, generator=generator) * 2
    sampling, keys = Sampling(1, 1), streams(0, 0, rows)

    def race() -> object:
        scores = F.log_softmax(logits.clone(), -1)
        tokens = (scores.exp() / torch.empty_like(scores).exponential_(generator=generator)).argmax(-1)
        return scores.gather(1, tokens[:, None])

    return alternated({"race": race, "inverse CDF": lambda: pick(logits.clone(), sampling, uniform(keys, 0))}, repeats)


def loss(way: str, tokens: int, width: int, vocabulary: int) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator, requires_grad=True)
    weight = torch.randn(vocabulary, width, generator=generator).mul_(0.02).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,), generator=generator)

    def once() -> None:
        if way == "chunks":
            new, _ = token_scores(Head(None, weight, None, None), hidden, targets, 1.0)
        else:
            scores = F.log_softmax(F.linear(hidden, weight), -1)
            new = scores.gather(1, targets[:, None])[:, 0]
            entropy(scores.detach())
        new.mean().backward()
        hidden.grad = weight.grad = None

    return once


def highest() -> float:
    """GB that this process has had at most (ru_maxrss would count its parent's too)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def peak(way: str, tokens: int, width: int, vocabulary: int) -> float:
    """GB above the process as it was before the loss."""
    done = subprocess.run(
        [sys.executable, __file__, way, str(tokens), str(width), str(vocabulary)], capture_output=True, text=True
    )
    value: float = json.loads(done.stdout)
    return value


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        once = loss(sys.argv[1], *map(int, sys.argv[2:]))
        before = highest()
        once()
        print(highest() - before)
        return
    for rows, vocabulary, repeats in DRAWS:
        ms = draws(rows, vocabulary, repeats)
        print(
            f"draw [{rows}, {vocabulary}]: race {ms['race']:.2f}, inverse CDF {ms['inverse CDF']:.2f} CPU-ms, "
            f"ratio {ms['race'] / ms['inverse CDF']:.1f}"
        )
    for tokens, width, vocabulary, repeats in LOSSES:
        ways = {way: loss(way, tokens, width, vocabulary) for way in ("whole", "chunks")}
        ms = alternated(ways, repeats)
        line = f"loss [{tokens}, {vocabulary}]: whole {ms['whole']:.1f}, chunks {ms['chunks']:.1f} CPU-ms"
        print(f"{line}, time of chunks {ms['chunks'] / ms['whole']:.2f}x", end="")
        if vocabulary > 1000:
            whole, chunks = (peak(way, tokens, width, vocabulary) for way in ("whole", "chunks"))
            print(f"; memory whole {whole:.2f}, chunks {chunks:.2f} GB, ratio {whole / chunks:.1f}", end="")
        print()


if __name__ == "__main__":
    main()
