"""The GPUs that torch sees on this machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One of them."""

    name: str
    memory: int  # bytes


def gpus() -> list[Gpu]:
    """By number; empty without CUDA."""
    import torch

    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [Gpu(p.name, p.total_memory) for p in found]


def has_bfloat16() -> bool:
    """Do they compute in bfloat16?"""
    import torch

    return bool(torch.cuda.is_bf16_supported())
