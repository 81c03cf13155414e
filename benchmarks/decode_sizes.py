"""Both decode loops by size of the policy, random weights: `python benchmarks/decode_sizes.py`.

64 responses of 16 tokens to 4 prompts of 27; the loops take turns in one process, one thread. CPU-us a token: medians.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch
from floor import alternated, ratio

from eprli_lab.backends.local.loops import DecodeLoop
from eprli_lab.backends.local.model import build_model
from eprli_lab.records import Sampling

SIZES = [  # hidden, layers, inner, heads, key-value heads, head size, vocabulary
    (64, 2, 192, 4, 2, 16, 32),
    (256, 4, 768, 8, 4, 32, 1000),
    (512, 6, 1536, 8, 4, 64, 4000),
    (1024, 8, 3072, 16, 8, 64, 8000),
]
KEYS = (
    "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim",
    "vocab_size",
)  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    prompts = [list(range(3, 30)) for _ in range(4)]
    for size in SIZES:
        config: dict[str, Any] = dict(zip(KEYS, size, strict=True))
        policy = build_model({"model_type": "qwen3", "max_position_embeddings": 512, **config}, 0).eval()
        millions = sum(p.numel() for p in policy.parameters()) / 1e6
        loops = {kind: DecodeLoop(policy, kind) for kind in ("torch", "compiled")}  # type: ignore[arg-type]
        ways = {
            kind: lambda loop=loop: loop.decode(prompts, Sampling(16, 16), stop_ids=(), seed=0)
            for kind, loop in loops.items()
        }
        times = alternated(ways, 9 if millions < 10 else 3)
        spent = ", ".join(f"{kind} {statistics.median(ms) * 1000 / 1024:.1f}" for kind, ms in times.items())
        print(f"{millions:.1f} M parameters: {spent} CPU-us a token, ratio {ratio(times['torch'], times['compiled'])}")


if __name__ == "__main__":
    main()
