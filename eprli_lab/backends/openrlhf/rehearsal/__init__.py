"""OpenRLHF without a GPU: pretended devices, and what cannot run without one in plain torch.

Real: OpenRLHF's actors, trainer, losses, packing, weight broadcast, DeepSpeed ZeRO, Ray, placement groups, and vLLM
itself, as its CPU build (vllm_cpu.py says what that needs). Stood in for: flash-attn's padding helpers (plain torch
there too), NCCL (a broadcast over the process group's TCP store). `install` must run in every process before OpenRLHF
is imported: Ray's `worker_process_setup_hook` does that in its workers, the engine's worker module in vLLM's.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from eprli_lab.backends.openrlhf.rehearsal import vllm_cpu

MODULES = Path(__file__).parent / "modules"
ENVIRONMENT = {
    "DS_ACCELERATOR": "cpu",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",  # one small function is compiled, which would need a C++ compiler and a minute
    "WANDB_MODE": "disabled",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": vllm_cpu.KV_CACHE_GIB,
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the worker in the engine's process, as on one GPU (platforms/cpu.py)
    "EPRLI_REHEARSAL": "1",  # vLLM's own processes know by it
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class _Device(str):
    """The device `cpu` that also reads as index 0 where OpenRLHF writes f"cuda:{device}"."""

    def __format__(self, _: str) -> str:
        return "0"


def install() -> None:
    """Idempotent. What OpenRLHF asks of CUDA is answered by the CPU."""
    os.environ.update(ENVIRONMENT)
    if str(MODULES) not in sys.path:
        sys.path.insert(0, str(MODULES))
    vllm_cpu.without_nccl()
    import torch
    import torch.distributed.device_mesh as mesh

    if getattr(torch.cuda, "eprli_rehearsal", False):
        return
    cuda: Any = torch.cuda
    cuda.eprli_rehearsal = True
    cuda.set_device = lambda device: None
    cuda.current_device = lambda: _Device("cpu")
    cuda.synchronize = lambda device=None: None
    cuda.current_stream = lambda device=None: None
    cuda.empty_cache = lambda: None
    make_mesh, empty = mesh.init_device_mesh, torch.empty
    mesh.init_device_mesh = lambda _, *args, **kwargs: make_mesh("cpu", *args, **kwargs)

    def on_cpu(*args: Any, **kwargs: Any) -> Any:  # the engine's worker asks for device="cuda"
        if str(kwargs.get("device", "")).startswith("cuda"):
            kwargs["device"] = "cpu"
        return empty(*args, **kwargs)

    torch.empty = on_cpu
    torch.set_num_threads(1)


def install_in_actor() -> None:
    """In Ray's workers: also without DeepSpeed's collectives over shared memory, which it would compile for a minute.

    A GPU has none of them, and training asks for none.
    """
    install()
    backend: Any = import_module("deepspeed.comm.torch")  # by attribute it would be PyTorch itself
    backend.build_shm_op = lambda: None


def plain_adam(strategy: Any) -> None:
    """torch's AdamW in place of DeepSpeed's fused one, which a CPU would have to compile first."""
    original = strategy.get_ds_train_config

    def with_torch_adam(optim_dict: Any = None, max_norm: Any = None) -> Any:
        if optim_dict is not None:
            optim_dict["params"]["torch_adam"] = True
        return original(optim_dict=optim_dict, max_norm=max_norm)

    strategy.get_ds_train_config = with_torch_adam
