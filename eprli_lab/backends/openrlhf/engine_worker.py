"""What a vLLM worker gets on top (worker_extension_cls): its weights by the trainer's names, to be compared.

vLLM imports this module in processes of its own, where no set-up hook of Ray ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

if os.environ.get("EPRLI_REHEARSAL"):
    from eprli_lab.backends.openrlhf import rehearsal

    rehearsal.install()
    rehearsal.vllm_cpu.install_in_worker()

from openrlhf.trainer.ray.vllm_worker_wrap import WorkerWrap

from eprli_lab.errors import EngineError

CHUNK = 1 << 24  # elements summed at once
VOCABULARY = ("embed_tokens", "lm_head", "wte")
CONV1D = ("c_attn", "c_proj", "c_fc")  # GPT-2 keeps these transposed; vLLM turns them when it loads them
Shapes = Mapping[str, tuple[int, ...]]  # of the trainer's parameters, by name


class EngineWorker(WorkerWrap):  # type: ignore[misc]
    """OpenRLHF's extension of a vLLM worker, and a look at the weights."""

    def init_process_group(self, *args: Any, **kwargs: Any) -> None:
        """As OpenRLHF's. Raises EngineError where vLLM made a communicator whose broadcasts do nothing."""
        super().init_process_group(*args, **kwargs)
        refuse_disabled(self._model_update_group)

    def digests(self, shapes: Shapes) -> dict[str, str]:
        """Trainer's name -> digest of what the engine holds of it; names that cannot be found are left out."""
        return {name: digest(held) for name, held in self._held(shapes)}

    def forget(self, shapes: Shapes) -> None:
        """NaN in the place of everything that the trainer is about to send: what does not arrive is seen."""
        for _, held in self._held(shapes):
            held.fill_(float("nan"))

    def _held(self, shapes: Shapes) -> Iterator[tuple[str, Any]]:
        """(name, view of the engine's own tensor), fused and padded layers taken apart.

        A name is left out where the engine's layout is another: another model's names, or a tensor of which this
        worker holds a part only (tensor parallel).
        """
        model = self.model_runner.model
        own = {name: p.data for name, p in model.named_parameters()}
        for name, shape in shapes.items():
            held = own[name] if name in own else _part(name, shapes, own, getattr(model, "packed_modules_mapping", {}))
            module = name.split(".")[-2] if "." in name else ""
            if held is None:
                continue
            if module in CONV1D and held.ndim == 2:
                held = held.t()
            elif module in VOCABULARY:
                held = held[: shape[0]]  # padded to a multiple of 64
            if tuple(held.shape) == tuple(shape):
                yield name, held


def _part(name: str, shapes: Shapes, own: Mapping[str, Any], packed: Mapping[str, list[str]]) -> Any:
    """Rows of a fused layer (q, k, v; gate, up) that are this parameter; None where they cannot be told."""
    before, module, last = (["", *name.split(".")])[-3:] if name.count(".") < 2 else name.rsplit(".", 2)
    for whole, parts in packed.items():
        if module not in parts:
            continue
        siblings = [f"{before}.{part}.{last}" for part in parts]
        held = own.get(f"{before}.{whole}.{last}")
        if held is None or not all(s in shapes for s in siblings):
            return None
        rows = [shapes[s][0] for s in siblings]
        start = sum(rows[: parts.index(module)])
        return held[start : start + shapes[name][0]] if held.shape[0] == sum(rows) else None
    return None


def refuse_disabled(communicator: Any) -> None:
    """Raises EngineError for a communicator whose broadcasts return and do nothing (vLLM's, without NCCL)."""
    if getattr(communicator, "disabled", False):
        raise EngineError(
            "broadcast: vLLM found no NCCL and disabled its communicator, whose broadcasts then do nothing, so that "
            "engines would sample from the initial policy for ever: install NCCL, or use backend=openrlhf_cpu"
        )


def digest(tensor: Any) -> str:
    """Of a tensor's bits and their order: 16 hex digits, the same on every device.

    A sum of the bits as whole numbers, each times its place (modulo a prime), in 64-bit arithmetic that wraps.
    """
    import torch

    flat = tensor.detach().contiguous().view(-1)
    bits = flat.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()])
    total = 0
    for start in range(0, bits.numel(), CHUNK):
        part = bits[start : start + CHUNK].to(torch.int64)
        place = torch.arange(start, start + part.numel(), device=part.device) % 1_000_003 + 1
        total += int((part * place).sum()) + 31 * int(part.sum())
    return f"{total % 2**64:016x}"
