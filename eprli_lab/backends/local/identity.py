"""What decides the local engine's answers to a prompt and a seed, as one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch

from eprli_lab.config.backend import LocalSpec


def policy_identity(policy: Any, tokenizer: Any, stops: Sequence[int], spec: LocalSpec, loop: str) -> str:
    """24 hex digits: the weights, the vocabulary, the stop tokens, the arithmetic on this machine.

    `loop`: which decode loop samples (loops.py): they differ by rounding.
    """
    total = hashlib.sha256()
    for name, tensor in sorted([*policy.named_parameters(), *policy.named_buffers()]):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    device = policy.device
    arithmetic = {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "architecture": type(policy).__name__,
        "config": policy.config.to_json_string(),
        "stops": list(stops),
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "backend": spec.model_dump(mode="json", exclude={"decode", "pack_tokens", "microbatch_tokens"}),
        "loop": loop,
    }
    total.update(json.dumps(arithmetic, sort_keys=True).encode())
    return total.hexdigest()[:24]
