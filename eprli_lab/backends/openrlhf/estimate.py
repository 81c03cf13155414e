"""Memory of a GPU and GPU-hours of a run, from stated formulas: orders of magnitude, before anything is paid for.

P parameters, of which P_t are trained (LoRA: the adapters), D GPUs, T tokens of a microbatch (at least a prompt and its
response), V vocabulary, h hidden size, n layers, k keys and values of a layer, bytes a value 2 (bf16):

    weights        2 P            (ZeRO 3: 2 P / D)
    gradients      2 P_t / D      (ZeRO 1: 2 P_t)
    master, Adam   12 P_t / D     (adam_offload: 0; while the engines work and backend.sleep is on: 0)
    activations    T (2 h n + 34 h)   checkpointed: a layer's input each, one layer in full; else 34 h n
    logits         14 T V         bf16 and float32, probabilities for the entropy, their gradient (2 + 4 + 4 + 4)
    reference      2 P            (only with kl_coef; ZeRO 3: / D)
    engine         engine_memory x the GPU, of which: weights 2 P / engine_gpus, 2 GB to work with, the rest KV cache
    KV cache       4 n k / engine_gpus a token of a response or prompt

    rollout        generated tokens x 2 P FLOP / (D x 0.08 x peak)       decoding is bound by memory, not by FLOP
    training       trained tokens x mu x 8 P FLOP / (D x 0.35 x peak)    6 P, and 2 P again for checkpointing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eprli_lab.backends.model_shape import Shape, shape_of
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.spec import RunSpec

GPUS = (80e9, 24e9)  # bytes: an H100 or A100; an RTX 4090, A10 or L4
PEAK = 989e12  # an H100 SXM: dense bf16 FLOP/s (its data sheet)
# Of the peak. Rollout: 256 responses at once of a model of 1.5 G parameters took .053 on an H200 (docs/cluster.md).
ROLLOUT_SHARE, TRAIN_SHARE = 0.05, 0.35
USABLE = 0.92  # of a GPU's memory
WORK = 2e9  # bytes that an engine needs beside weights and cache
# Bytes that stay on the GPU of who sleeps, the policy's beside its weights; measured on an H200 (docs/cluster.md).
ENGINE_ASLEEP, POLICY_ASLEEP = 1.2e9, 2.2e9


@dataclass(frozen=True)
class Fit:
    """What a launch takes of a GPU of one size, bytes."""

    gpu: float
    train: float  # all of the trainer
    rollout: float  # the engine, and what the trainer leaves on the GPU beside it
    sequences: float  # responses of full length, with their prompts, that the engine's cache holds at once

    @property
    def most(self) -> float:
        """The most at any time."""
        return max(self.train, self.rollout)

    @property
    def fits(self) -> bool:
        """Is there room, and for at least one response?"""
        return self.most < USABLE * self.gpu and self.sequences >= 1


def trained(spec: RunSpec, shape: Shape) -> float:
    """P_t."""
    lora: Any = getattr(spec.model, "lora", None)
    return shape.parameters if lora is None else shape.adapter_parameters(lora.rank, lora.targets)


def memory(spec: RunSpec, shape: Shape) -> dict[str, float]:
    """Bytes of one GPU that the trainer takes, by what they are for."""
    b = _backend(spec)
    d, p, learned = b.gpus, shape.parameters, trained(spec, shape)
    tokens = max(b.microbatch_tokens, context(spec))  # a sequence is never cut
    kept = 2 * shape.hidden * shape.layers if b.gradient_checkpointing else 34 * shape.hidden * shape.layers
    out = {
        "weights": 2 * p / (d if b.zero_stage == 3 else 1),
        "gradients": 2 * learned / (1 if b.zero_stage == 1 else d),
        "master weights and Adam": 0.0 if b.adam_offload else 12 * learned / d,
        "activations": float(tokens * (kept + 34 * shape.hidden)),
        "logits": float(tokens * 14 * shape.vocabulary),
    }
    if spec.algorithm.kl_coef > 0:
        out["reference"] = 0.0 if b.reference_offload else 2 * p / (d if b.zero_stage == 3 else 1)
    return out


def context(spec: RunSpec) -> int:
    """Tokens of the longest prompt and response together."""
    longest = max(x.max_response_tokens for x in spec.curriculum.levels.values())
    return _backend(spec).prompt_tokens + max(longest, spec.evaluation.max_response_tokens)


def fit(spec: RunSpec, shape: Shape, gpu: float) -> Fit:
    """What the launch takes of a GPU of so many bytes."""
    b = _backend(spec)
    parts = memory(spec, shape)
    train, engine = sum(parts.values()), b.engine_memory * gpu
    cache = engine - 2 * shape.parameters / b.engine_gpus - WORK
    sequences = max(0.0, cache) / (shape.cache_bytes / b.engine_gpus * context(spec))
    if b.sleep:  # engine and trainer take turns
        return Fit(gpu, train + ENGINE_ASLEEP, engine + parts["weights"] + POLICY_ASLEEP, sequences)
    return Fit(gpu, train + engine, train + engine, sequences)


def hours(spec: RunSpec, p: float) -> tuple[float, float]:
    """GPU-hours of (rollout, training); a budget in tokens is known, one in updates is taken at full length."""
    lv = list(spec.curriculum.levels.values())
    tokens = spec.budget.amount
    if spec.budget.unit == "updates":
        tokens *= max(x.buffer_groups * x.group_size * x.max_response_tokens for x in lv)
    passes = max(x.inner_iterations for x in lv)
    rollout = tokens * 2 * p / (ROLLOUT_SHARE * PEAK) / 3600
    return rollout, tokens * passes * 8 * p / (TRAIN_SHARE * PEAK) / 3600


def estimate(spec: RunSpec) -> list[str]:
    """Lines for the dry run."""
    b, shape = _backend(spec), shape_of(spec.model)
    if b.rehearsal:
        return ["estimate: a rehearsal needs no GPU; about 1 GB of memory a process"]
    if shape is None:
        return ["estimate: the model's size is not known here (no config.json at hand, no known size in its name)"]
    p, learned = shape.parameters, trained(spec, shape)
    adapters = f", of which {learned / 1e6:.0f} M are trained" if learned < p else ""
    lines = [f"estimate for {p / 1e9:.2f} G parameters{adapters} (formulas: backends/openrlhf/estimate.py)"]
    lines += [f"  {name}: {size / 1e9:.1f} GB a GPU" for name, size in memory(spec, shape).items()]
    cache = shape.cache_bytes / b.engine_gpus / 1e3
    lines.append(f"  rollout engine: {b.engine_memory:.0%} of a GPU: weights, and a KV cache of {cache:.0f} kB a token")
    fits = [fit(spec, shape, gpu) for gpu in GPUS]
    lines += [f"  {_said(spec, one)}" for one in fits]
    if not any(one.fits for one in fits):
        lines.append("  DOES NOT FIT: " + _advice(fits[0]))
    if spec.budget.unit == "seconds":
        return [*lines, f"  GPU-hours: {spec.budget.amount * b.gpus / 3600:.1f}, by the budget"]
    rollout, training = hours(spec, p)
    hundreds = f"about {rollout + training:.0f}" if rollout + training >= 1 else "below 1"
    return [*lines, f"  GPU-hours of an H100: {hundreds} (rollout {rollout:.1f}, training {training:.1f})"]


def _said(spec: RunSpec, one: Fit) -> str:
    turns = "training {:.1f} GB, then rollout {:.1f} GB" if _backend(spec).sleep else "training and rollout {:.1f} GB"
    verdict = "fits" if one.fits else "too small"
    return (
        f"on {one.gpu / 1e9:.0f} GB: {verdict} ({turns.format(one.train / 1e9, one.rollout / 1e9)}; the cache holds "
        f"{one.sequences:.0f} responses of full length, {context(spec):,} tokens with the prompt, at once)"
    )


def _advice(one: Fit) -> str:
    if one.sequences < 1:
        return "the cache holds no response of full length: raise engine_memory, or lower the response limits"
    return "lower microbatch_tokens (never below a prompt and its response) or engine_memory, or take more GPUs"


def _backend(spec: RunSpec) -> OpenRLHFSpec:
    assert isinstance(spec.backend, OpenRLHFSpec)
    return spec.backend
