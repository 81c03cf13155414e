"""Sampling and updating against the matrix products that they cannot do without: `python benchmarks/floor.py`.

The floor is counted: while the torch loop samples, the rows and positions of every step are noted, and then exactly
their matrix products (linear layers, scores and values of attention, head) are made by torch, nothing else. The floor
of the update: the forward and the two backward products of every linear layer and of attention, once for the tokens
with a prompt for every response (unshared), once with a prompt for every row (what is computed). All ways take turns in
one process, one thread, CPU-seconds; medians, and the quartiles of the ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from trained import trained_backend

from eprli_lab.backends.local import decoders
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.loops import DecodeLoop
from eprli_lab.backends.local.packing import Packed, pack, pack_shared
from eprli_lab.data.load import load_training
from eprli_lab.records import Batch, Problem, Response, Sampling, UpdateSettings

REPEATS = 15
ROWS = [(8, 16), (32, 16)]  # prompts, responses a prompt


def alternated(ways: dict[str, Callable[[], Any]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """CPU-ms of each way in every round, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(repeats + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if i:
                times[name].append(1000 * (time.process_time() - began))
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> str:
    """Median of the ratios of the rounds, and its quartiles."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(above, below, strict=True)], n=4)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def linear_shapes(config: Any) -> list[tuple[int, int]]:
    """(inputs, outputs) of the fused linear layers of all layers."""
    heads, kv, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    layer = [(hidden, (heads + 2 * kv) * width), (heads * width, hidden), (hidden, 2 * inner), (inner, hidden)]
    return layer * config.num_hidden_layers


class Noted(decoders.Qwen3Decoder):
    """Notes rows and positions of every step."""

    steps: list[tuple[int, int]]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self.steps.append((len(tokens), self.slot + 1))
        return super().step(tokens)


def sampling_floor(backend: LocalBackend, problems: Sequence[Problem], n: int, seed: int) -> Callable[[], None]:
    """The products of one call of `sample`, by torch."""
    loop = DecodeLoop(backend.policy, "torch")
    noted = Noted(backend.policy)
    noted.steps = []
    loop._plain = noted
    prompts = [backend.adapter.prompt(p) for p in problems]
    loop.decode(prompts, Sampling(n, 76), stop_ids=backend.adapter.stops, seed=seed)
    c = backend.policy.config
    kv, group, width = c.num_key_value_heads, c.num_attention_heads // c.num_key_value_heads, c.head_dim
    weights = [torch.randn(k, m) for k, m in linear_shapes(c)]
    head, layers = torch.randn(c.hidden_size, c.vocab_size), c.num_hidden_layers
    inputs = {rows: torch.randn(rows, max(k for k, _ in linear_shapes(c))) for rows, _ in noted.steps}
    queries = {rows: torch.randn(rows, kv, group, width) for rows in inputs}
    cache = torch.randn(len(prompts) * n, kv, max(s for _, s in noted.steps), width)
    read = torch.randn(sum(map(len, prompts)), max(k for k, _ in linear_shapes(c)))

    @torch.no_grad()
    def work() -> None:
        for w in weights:
            read[:, : len(w)] @ w
        for rows, seen in noted.steps:
            x, q, past = inputs[rows], queries[rows], cache[:rows, :, :seen]
            for w in weights:
                x[:, : len(w)] @ w
            for _ in range(layers):
                (q @ past.transpose(-1, -2)) @ past
            x[:, : c.hidden_size] @ head

    return work


def update_floor(config: Any, rows: Packed, index: torch.Tensor) -> Callable[[], None]:
    """Forward and backward products of a pass over the rows, padding left out, by torch."""
    tokens = int((rows.ids != 0).sum())  # token 0 is the padding
    shapes = linear_shapes(config)
    weights = [torch.randn(k, m) for k, m in shapes]
    x = {k: torch.randn(tokens, k) for k, _ in shapes}
    g = {m: torch.randn(tokens, m) for _, m in shapes}
    count, length = rows.ids.shape
    q = torch.randn(count, config.num_attention_heads, length, config.head_dim)
    scores = torch.randn(count, config.num_attention_heads, length, length)
    head = torch.randn(config.hidden_size, config.vocab_size)
    states, logits = torch.randn(len(index), config.hidden_size), torch.randn(len(index), config.vocab_size)

    @torch.no_grad()
    def work() -> None:
        for w in weights:
            x[w.shape[0]] @ w, g[w.shape[1]] @ w.T, x[w.shape[0]].T @ g[w.shape[1]]
        for _ in range(config.num_hidden_layers):
            for _ in range(3):  # scores, forward, and of the queries' and the keys' gradients twice
                q @ q.transpose(-1, -2), scores @ q
        states @ head, logits @ head.T, states.T @ logits

    return work


def batch_of(groups: Sequence[Sequence[Response]]) -> Batch:
    """Advantages of alternating sign."""
    responses = tuple(r for g in groups for r in g)
    advantages = tuple(((-1.0) ** i,) * len(r.tokens) for i, r in enumerate(responses))
    owner = tuple(i for i, g in enumerate(groups) for _ in g)
    return Batch(responses, advantages, owner, (True,) * len(responses))


def main() -> None:
    backend, spec = trained_backend()
    problems = load_training(spec.data)
    torch_loop = DecodeLoop(backend.policy, "torch")
    compiled = DecodeLoop(backend.policy, "auto")
    print(f"the fast loop: {compiled.description}")
    for count, n in ROWS:
        asked = problems[:count]

        def sample(loop: DecodeLoop, asked: Sequence[Problem] = asked, n: int = n) -> int:
            backend.loop = loop
            return sum(len(r.tokens) for g in backend.sample(asked, Sampling(n, 76), seed=1) for r in g)

        tokens = sample(compiled)
        floor = sampling_floor(backend, asked, n, 1)
        times = alternated({"floor": floor, "torch": lambda: sample(torch_loop), "fast": lambda: sample(compiled)})
        line = ", ".join(f"{k} {1000 * statistics.median(v) / tokens:.2f}" for k, v in times.items())
        print(
            f"sample {count} x {n}: {line} CPU-us a token; torch / floor {ratio(times['torch'], times['floor'])}, ",
            end="",
        )
        print(
            f"fast / floor {ratio(times['fast'], times['floor'])}, torch / fast {ratio(times['torch'], times['fast'])}"
        )
    work = batch_of(backend.sample(problems[:8], Sampling(16, 76), seed=1))
    settings = UpdateSettings(0.2, 0.28, 1, 1, "token_mean", 76, 0.0, 1.0, 1e-5, 1.0, 0)
    prompts, answers = [r.prompt_tokens for r in work.responses], [r.tokens for r in work.responses]
    config, pack_tokens = backend.policy.config, spec.backend.pack_tokens
    shared, index = pack_shared(prompts, answers, pack_tokens)
    alone = pack([[*p, *r] for p, r in zip(prompts, answers, strict=True)], pack_tokens)
    floors = {"unshared": update_floor(config, alone, index), "shared": update_floor(config, shared, index)}
    times = alternated({"update": lambda: backend.update(work, settings), **floors})
    print(
        f"update of {len(index)} tokens: {statistics.median(times['update']):.1f} CPU-ms; / floor of unshared prompts "
        f"{ratio(times['update'], times['unshared'])}, / floor of shared ones {ratio(times['update'], times['shared'])}"
    )


if __name__ == "__main__":
    main()
