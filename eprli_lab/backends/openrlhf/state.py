"""What DeepSpeed holds of a policy, to files and back without pickle.

Weights go into a Hugging Face checkpoint; each rank's part of the master weights (float32) and of AdamW's moments into
`optimizer-<rank>.safetensors`, its counters into JSON beside it: parts of one ZeRO stage and number of ranks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eprli_lab.backends.tensors import disk_errors, read_tensors, refuse_pickles
from eprli_lab.errors import UserError
from eprli_lab.files import read_json


def masters(engine: Any) -> list[Any]:
    """This rank's float32 master weights, one flat tensor a parameter group (ZeRO 1, 2) or subgroup (ZeRO 3)."""
    optimizer = engine.optimizer
    for name in ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat"):
        if hasattr(optimizer, name):
            return list(getattr(optimizer, name))
    raise UserError(f"backend: the state of DeepSpeed's {type(optimizer).__name__} is not known to be laid out so")


def save_optimizer(engine: Any, path: Path, rank: int, ranks: int) -> None:
    """`path/optimizer-<rank>.{safetensors,json}`."""
    from safetensors.torch import save_file

    tensors, numbers = {}, {}
    for i, master in enumerate(masters(engine)):
        tensors[f"{i}.master"] = master.detach().cpu().contiguous().clone()
        for key, value in engine.optimizer.optimizer.state.get(master, {}).items():
            if hasattr(value, "numel") and value.numel() > 1:
                tensors[f"{i}.{key}"] = value.detach().cpu().contiguous().clone()
            else:
                numbers[f"{i}.{key}"] = float(value)
    groups = [{k: v for k, v in g.items() if k == "step"} for g in engine.optimizer.optimizer.param_groups]
    layout = {"ranks": ranks, "zero_stage": engine.zero_optimization_stage()}
    with disk_errors(path):
        save_file(tensors, path / f"optimizer-{rank}.safetensors")
    (path / f"optimizer-{rank}.json").write_text(json.dumps({"numbers": numbers, "groups": groups, "layout": layout}))


def load_optimizer(engine: Any, path: Path, rank: int, ranks: int) -> None:
    """Restore what `save_optimizer` wrote.

    Raises UserError for another number of ranks, ZeRO stage or model, and for a damaged file.
    """
    import torch

    found = path / f"optimizer-{rank}.json"
    layout = {"ranks": ranks, "zero_stage": engine.zero_optimization_stage()}
    content: Any = read_json(found, "it is not a whole checkpoint") if found.is_file() else {"layout": None}
    saved = content.get("layout") if isinstance(content, dict) else content
    if saved != layout:
        raise UserError(f"{path}: the optimizer's state was saved as {saved}, this run is {layout}")
    if not isinstance(content.get("numbers"), dict) or not isinstance(content.get("groups"), list):
        raise UserError(f"{found} is damaged (no counters of an optimizer): it is not a whole checkpoint")
    tensors = read_tensors(path / f"optimizer-{rank}.safetensors")
    inner = engine.optimizer.optimizer
    if len(content["groups"]) != len(inner.param_groups):
        raise UserError(f"{path}: the optimizer's state is that of another model")
    with torch.no_grad():
        for i, master in enumerate(masters(engine)):
            if f"{i}.master" not in tensors or tensors[f"{i}.master"].shape != master.shape:
                raise UserError(f"{path}: the optimizer's state is that of another model")
            master.copy_(tensors[f"{i}.master"])
            state = inner.state[master]
            before = dict(state)
            state.clear()  # a state saved before the first step has no moments
            for name, value in tensors.items():
                index, _, key = name.partition(".")
                if index == str(i) and key != "master":
                    state[key] = value.to(master.device).clone()
            for name, number in content["numbers"].items():
                index, _, key = name.partition(".")
                if index == str(i):
                    old = before.get(key)
                    state[key] = torch.tensor(number) if old is None or hasattr(old, "numel") else type(old)(number)
    for group, saved in zip(inner.param_groups, content["groups"], strict=True):
        group.pop("step", None)
        group |= saved


def load_module(engine: Any, directory: Path) -> None:
    """Copy `directory/model*.safetensors` into the engine's weights, sharded or not. Raises UserError for others.

    Of a policy with adapters those alone are saved and restored (ZeRO 1 and 2).
    """
    import deepspeed

    if hasattr(engine.module, "peft_config"):
        from eprli_lab.backends.local.lora import load_adapter

        load_adapter(engine.module, directory)
        return
    values: dict[str, Any] = {}
    for file in sorted(directory.glob("model*.safetensors")):
        values |= read_tensors(file)
    if not values:
        refuse_pickles(directory, str(directory))
    sharded = engine.zero_optimization_stage() == 3
    for name, parameter in engine.module.named_parameters():
        shape = tuple(parameter.ds_shape) if sharded else tuple(parameter.shape)
        if name not in values or tuple(values[name].shape) != shape:
            raise UserError(f"{directory}: the tensor {name} is missing or has another shape: it is of another model")
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0, enabled=sharded):
            parameter.data.copy_(values[name])
