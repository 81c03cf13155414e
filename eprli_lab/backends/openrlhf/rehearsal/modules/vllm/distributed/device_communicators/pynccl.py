"""Broadcast without NCCL: bytes through the group's store."""

from __future__ import annotations

from typing import Any


class PyNcclCommunicator:
    """As vLLM's, for CPU tensors."""

    def __init__(self, group: Any, device: Any = None) -> None:
        self.group, self.sent = group, 0

    def broadcast(self, tensor: Any, src: int, stream: Any = None) -> None:
        """The tensor of rank `src`, bit for bit, to every rank; each key goes when everybody has read it."""
        import torch

        key, self.sent = f"weights-{self.sent}", self.sent + 1
        store = self.group.store
        if self.group.rank == src:
            store.set(key, tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
            return
        raw = bytearray(store.get(key))
        tensor.copy_(torch.frombuffer(raw, dtype=tensor.dtype).view(tensor.shape))
        if store.add(f"{key}-read", 1) == self.group.world_size - 1:
            store.delete_key(key)
            store.delete_key(f"{key}-read")
