"""A local engine and batches for it."""

from __future__ import annotations

import torch

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.config.compose import compose_spec
from eprli_lab.data.load import load_training
from eprli_lab.records import Batch, Sampling, UpdateSettings

SPEC = compose_spec([])


PROBLEMS = load_training(SPEC.data)[:4]


def backend(kl: bool = False, **options) -> LocalBackend:
    spec = SPEC.backend.model_copy(update={"device": "cpu", **options})  # by default a GPU, where there is one
    return LocalBackend(SPEC.model, SPEC.optim, spec, family="mod10", kl_reference=kl, seed=0)


def settings(**change) -> UpdateSettings:
    values = {
        "clip_low": 0.2, "clip_high": 0.28, "inner_iterations": 1, "minibatches": 1, "aggregation": "token_mean",
        "constant_tokens": 76, "kl_coef": 0.0, "temperature": 1.0, "learning_rate": 5e-4, "max_grad_norm": 1.0, "seed": 3,
    }  # fmt: skip
    return UpdateSettings(**{**values, **change})


def batch(engine: LocalBackend, seed: int = 1, advantage=lambda i: (-1.0) ** i, max_tokens: int = 40) -> Batch:
    groups = engine.sample(PROBLEMS, Sampling(8, max_tokens), seed=seed)
    responses = tuple(r for g in groups for r in g)
    values = tuple((advantage(i),) * len(r.tokens) for i, r in enumerate(responses))
    return Batch(responses, values, tuple(i // 8 for i in range(32)), (True,) * 32)


def weights(engine: LocalBackend) -> list[torch.Tensor]:
    return [p.detach().clone() for p in engine.policy.parameters()]


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
