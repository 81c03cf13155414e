"""What must hold before a run is paid for: the engines hold the trainer's weights and answer what was asked.

Made at every start; `eprli-lab doctor` prints them. Each check has a name, under which its fault is reported.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from eprli_lab.backends.completions import check_group
from eprli_lab.backends.openrlhf import launch
from eprli_lab.backends.openrlhf.rows import Row
from eprli_lab.errors import EngineError
from eprli_lab.records import Completion, Sampling

OpenRLHFBackend = Any  # of engine.py, which makes these checks: an import would be a circle
# Nats: the mean |difference| of a token's log-probability, trainer against sampler; rehearsed .002, on an H200 .015.
MISMATCH = 0.05
PROMPT, RESPONSES, TOKENS = 12, 4, 16  # tokens of a prompt, responses to it, tokens of a response


@dataclass(frozen=True)
class Check:
    """One check that held, and what was measured."""

    name: str
    found: str


def check_engines(backend: OpenRLHFBackend) -> list[Check]:
    """All checks of a started backend, in order. Raises EngineError with the name of the first that does not hold."""
    return [check_broadcast(backend), *check_sampling(backend)]


def check_broadcast(backend: OpenRLHFBackend) -> Check:
    """`broadcast`: weights that were spoilt in every engine are the trainer's again, bit for bit, after a broadcast.

    Engines fuse, pad and turn tensors: like is compared with like, and what a layout does not let us compare is counted
    (tensor-parallel engines hold parts: there `mismatch` alone speaks).
    """
    assert backend.engines is not None
    shapes = _shapes(backend)
    backend.wake("weights")
    launch.wait([e.forget.remote(shapes) for e in backend.engines.rollout])
    backend.broadcast()
    trainer, engines = weight_digests(backend)
    compared = 0
    for number, held in enumerate(engines):
        wrong = [name for name, value in held.items() if trainer[name] != value]
        if wrong:
            raise EngineError(
                f"broadcast: {len(wrong)} of {len(held)} weights of rollout engine {number} are not the trainer's "
                f"after a broadcast, {wrong[0]} for one: it would not sample from the policy that is trained"
            )
        compared += len(held)
    every = len(trainer) * len(engines)
    left = f"; {every - compared} in another layout, not compared" if every > compared else ""
    return Check("broadcast", f"{compared} of {every} weights equal bit for bit{left}")


def _shapes(backend: OpenRLHFBackend) -> Any:
    """Of the trainer's parameters, by name."""
    return launch.wait([backend.engines.ranks[0].shapes.remote()])[0]


def weight_digests(backend: OpenRLHFBackend) -> tuple[dict[str, str], list[dict[str, str]]]:
    """(parameter -> digest in the trainer, the same in each engine, by the trainer's names)."""
    assert backend.engines is not None
    shapes = _shapes(backend)
    backend.wake("weights")
    ranks = launch.wait([a.digests.remote() for a in backend.engines.ranks])
    return ranks[0], launch.wait([e.digests.remote(shapes) for e in backend.engines.rollout])


def check_sampling(backend: OpenRLHFBackend) -> list[Check]:
    """`whole_groups` (completions.py), `stop_token`, `seeds`, `mismatch`, on prompts drawn from the vocabulary."""
    assert backend.engines is not None
    rng = random.Random(0)
    special = set(backend.tokenizer.all_special_ids)
    words = [i for i in range(len(backend.tokenizer)) if i not in special]
    count = 2 * len(backend.engines.ranks)  # equally many for every rank, and at least two to be swapped
    prompts = [[rng.choice(words) for _ in range(PROMPT)] for _ in range(count)]
    sampling = Sampling(RESPONSES, TOKENS, backend.temperature)
    groups = list(backend.draw(prompts, sampling, seed=0))
    for i, group in enumerate(groups):
        check_group(f"prompt {i} of the start check", group, sampling, backend.adapter.stops)
    return [
        Check("whole_groups", f"{count} groups of {RESPONSES}: lengths, log-probabilities, stop reasons as asked for"),
        check_stops(backend, prompts, groups),
        check_seeds(backend, prompts, groups),
        check_mismatch(backend, prompts, groups),
    ]


def check_stops(backend: OpenRLHFBackend, prompts: list[list[int]], groups: list[list[Completion]]) -> Check:
    """`stop_token`: the token that came most often in these groups, made the stop token, ends responses and is kept."""
    seen = Counter(t for group in groups for c in group for t in c.tokens)
    stop = min(t for t, count in seen.items() if count == max(seen.values()))
    sampling = Sampling(RESPONSES, TOKENS, backend.temperature)
    drawn = list(backend.draw(prompts, sampling, seed=0, stops=[stop]))
    for i, group in enumerate(drawn):
        check_group(f"prompt {i} of the start check", group, sampling, [stop])
    ended = sum(c.finish == "stop" for group in drawn for c in group)
    if not ended:
        raise EngineError(f"stop_token: token {stop} came {seen[stop]} times, and as a stop token it ended no response")
    return Check("stop_token", f"{ended} of {len(prompts) * RESPONSES} responses ended with a stop token, and keep it")


def check_seeds(backend: OpenRLHFBackend, prompts: list[list[int]], groups: list[list[Completion]]) -> Check:
    """`seeds`: does the first prompt alone give the tokens that it gave in company? Kernels of a GPU need not."""
    sampling = Sampling(RESPONSES, TOKENS, backend.temperature)
    (again,) = backend.draw(prompts[:1], sampling, seed=0)
    same = sum(a.tokens == b.tokens for a, b in zip(again, groups[0], strict=True))
    if same == RESPONSES:
        return Check("seeds", "the same seed gave the same tokens in other company")
    return Check("seeds", f"{same} of {RESPONSES} responses again in other company: resumed runs differ in rounding")


def check_mismatch(backend: OpenRLHFBackend, prompts: list[list[int]], groups: list[list[Completion]]) -> Check:
    """`mismatch`: the trainer gives the sampled tokens the log-probabilities that the sampler gave them."""
    tokens = sum(len(c.tokens) for group in groups for c in group)
    mean, worst = mismatch(backend, prompts, groups)
    if not mean <= MISMATCH:
        raise EngineError(
            f"mismatch: trainer and sampler disagree by {mean:.3g} nats a token on average over {tokens} tokens (up to "
            f"{MISMATCH} is rounding): other weights, another temperature, or responses to other prompts"
        )
    return Check("mismatch", f"mean {mean:.2g}, worst {worst:.2g} nats a token over {tokens} tokens")


def mismatch(backend: OpenRLHFBackend, prompts: list[list[int]], groups: list[list[Completion]]) -> tuple[float, float]:
    """(mean, largest) |log-probability of the trainer - that of the sampler| over all tokens, nats."""
    import numpy as np

    assert backend.engines is not None
    rows = [
        [
            Row(np.array([*prompt, *c.tokens]), len(prompt), np.array(c.logprobs), np.zeros(len(c.tokens)), True)
            for c in group
        ]
        for prompt, group in zip(prompts, groups, strict=True)
    ]
    found = backend.logprobs(backend.engines.policy, [[(row, True) for row in group] for group in rows])
    gaps = []
    for group, values in zip(rows, found, strict=True):
        for row, line in zip(group, values, strict=True):
            gaps.append(np.abs(line[row.prompt - 1 : len(row.tokens) - 1] - row.logprobs))
    every = np.concatenate(gaps)
    return float(every.mean()), float(every.max())
