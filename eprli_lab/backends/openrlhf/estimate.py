"""Memory of a GPU and GPU-hours of a run, from stated formulas: orders of magnitude, before anything is paid for.

P parameters, D GPUs, T tokens of a microbatch, V vocabulary, h hidden size, n layers, bytes a value 2 (bf16):

    weights        2 P            (ZeRO 3: 2 P / D)
    gradients      2 P / D        (ZeRO 1: 2 P)
    master, Adam   12 P / D       (adam_offload: 0; while the engines work and backend.sleep is on: 0)
    activations    T (2 h n + 34 h + 10 V)   checkpointed: a layer's input each, one layer in full, logits in float32
    engine         engine_memory x the GPU

    rollout        generated tokens x 2 P FLOP / (D x 0.08 x peak)       decoding is bound by memory, not by FLOP
    training       trained tokens x mu x 8 P FLOP / (D x 0.35 x peak)    6 P, and 2 P again for checkpointing
"""

from __future__ import annotations

from typing import Any

from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.spec import RunSpec

GPU_BYTES, PEAK = 80e9, 989e12  # an H100 SXM: HBM, dense bf16 FLOP/s (its data sheet)
ROLLOUT_SHARE, TRAIN_SHARE = 0.08, 0.35  # of the peak
SHAPES = {  # name -> (P, h, n, V), from the models' config files
    "1.5B": (1.54e9, 1536, 28, 151_936),
    "4B": (4.02e9, 2560, 36, 151_936),
    "7B": (7.62e9, 3584, 28, 152_064),
}


def shape(spec: RunSpec) -> tuple[float, int, int, int] | None:
    """(P, h, n, V) of the model: from its config where that is at hand, else by the size in its name."""
    c: dict[str, Any] = spec.model.config or {}
    if not c and spec.model.path:
        import json
        from pathlib import Path

        file = Path(spec.model.path).expanduser() / "config.json"
        c = json.loads(file.read_text()) if file.is_file() else {}
    if "hidden_size" in c and "num_hidden_layers" in c:
        h, n, v = int(c["hidden_size"]), int(c["num_hidden_layers"]), int(c.get("vocab_size", 32))
        ffn, kv = int(c.get("intermediate_size", 4 * h)), int(c.get("num_key_value_heads", 1))
        heads = int(c.get("num_attention_heads", 1))
        width = int(c.get("head_dim") or h // heads)
        layer = h * width * (2 * heads + 2 * kv) + 3 * h * ffn
        return float(n * layer + v * h * (1 if c.get("tie_word_embeddings") else 2)), h, n, v
    named = f"{spec.model.name} {spec.model.path or ''}"
    return next((s for size, s in SHAPES.items() if size.lower() in named.lower()), None)


def memory(spec: RunSpec, p: float, h: int, n: int, v: int) -> dict[str, float]:
    """Bytes of one GPU, by what they are for."""
    b = spec.backend
    assert isinstance(b, OpenRLHFSpec)
    d = b.gpus
    activations = b.microbatch_tokens * ((2 * h * n if b.gradient_checkpointing else 34 * h * n) + 34 * h + 10 * v)
    out = {
        "weights": 2 * p / (d if b.zero_stage == 3 else 1),
        "gradients": 2 * p / (1 if b.zero_stage == 1 else d),
        "master weights and Adam": 0.0 if b.adam_offload else 12 * p / d,
        "activations": float(activations),
        "rollout engine": b.engine_memory * GPU_BYTES,
    }
    if spec.algorithm.kl_coef > 0:
        out["reference"] = 0.0 if b.reference_offload else 2 * p / (d if b.zero_stage == 3 else 1)
    return out


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
    b, known = spec.backend, shape(spec)
    assert isinstance(b, OpenRLHFSpec)
    if b.rehearsal:
        return ["estimate: a rehearsal needs no GPU; about 1 GB of memory a process"]
    if known is None:
        return ["estimate: the model's size is not known here (no config.json at hand, no known size in its name)"]
    p, h, n, v = known
    parts = memory(spec, p, h, n, v)
    engine = parts.pop("rollout engine")
    train = sum(parts.values())
    most = max(train, engine + parts["weights"]) if b.sleep else train + engine
    lines = [f"estimate for {p / 1e9:.2f} G parameters on H100s of 80 GB (formulas: backends/openrlhf/estimate.py)"]
    lines += [f"  {name}: {size / 1e9:.1f} GB a GPU" for name, size in [*parts.items(), ("rollout engine", engine)]]
    fits = "fits" if most < 0.92 * GPU_BYTES else "DOES NOT FIT: lower engine_memory or microbatch_tokens"
    lines.append(f"  at once{' (engine and trainer take turns)' if b.sleep else ''}: {most / 1e9:.1f} GB: {fits}")
    if spec.budget.unit == "seconds":
        return [*lines, f"  GPU-hours: {spec.budget.amount * b.gpus / 3600:.1f}, by the budget"]
    rollout, training = hours(spec, p)
    return [*lines, f"  GPU-hours: about {rollout + training:.0f} (rollout {rollout:.0f}, training {training:.0f})"]
