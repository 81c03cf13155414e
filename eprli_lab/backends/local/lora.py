"""LoRA (arXiv 2106.09685) on the local policy, by peft: adapters in float32 on a frozen base.

The adapters are put into the transformers model itself, so whoever computes with the policy computes with them; the
base, the reference of the KL term, is the same model with its adapters switched off.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eprli_lab.config.data import LoraSpec
from eprli_lab.errors import UserError

FILE = "adapter_model.safetensors"


def attach(policy: Any, spec: LoraSpec) -> Any:
    """peft's model around the policy, which now has adapters that change nothing yet. UserError for what cannot be."""
    from peft import LoraConfig, get_peft_model

    targets = check_targets(policy, spec)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=0.0,
        target_modules=targets,
        bias="none",
        fan_in_fan_out=any(_is_conv1d(m) for name, m in policy.named_modules() if _last(name) in targets),
    )
    return get_peft_model(policy, config)


def check_targets(policy: Any, spec: LoraSpec) -> list[str]:
    """Names of the modules that get adapters. UserError for a name or a rank that the model (on any device) has not."""
    head = policy.get_output_embeddings()
    linear = {
        name: module
        for name, module in policy.named_modules()
        if module is not head and (isinstance(module, torch.nn.Linear) or _is_conv1d(module))
    }
    known = sorted({_last(name) for name in linear})
    targets = known if spec.targets == "all-linear" else list(spec.targets)
    wrong = [t for t in targets if t not in known]
    if wrong:
        raise UserError(
            f"model.lora.targets: {wrong[0]} is no linear module inside the layers of {policy.config.model_type} "
            f"(choose from: {', '.join(known)}; or all-linear)"
        )
    sides = {name: min(module.weight.shape) for name, module in linear.items() if _last(name) in targets}
    name, smallest = min(sides.items(), key=lambda pair: pair[1])
    if spec.rank > smallest:
        raise UserError(
            f"model.lora.rank: {spec.rank} is more than the rank of {name}, a matrix with a side of {smallest}"
        )
    return targets


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _is_conv1d(module: Any) -> bool:
    """GPT-2's linear layer, whose weight lies the other way round."""
    return type(module).__name__ == "Conv1D"


def adapted(model: Any) -> bool:
    """Has this transformers model adapters in it?"""
    return any(hasattr(m, "lora_A") for m in model.modules())


@torch.no_grad()
def merged_weight(module: Any) -> Tensor:
    """A linear module's weight, what its adapter adds included; the module stays as it is."""
    if not hasattr(module, "lora_A"):
        weight: Tensor = module.weight.detach()
        return weight
    base: Tensor = module.get_base_layer().weight.detach()
    deltas = [module.get_delta_weight(name).float() for name in module.lora_A]
    merged: Tensor = base.float() + torch.stack(deltas).sum(0)
    return merged.to(base.dtype)


def plain_parameters(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, parameter, its module where that has an adapter to merge, else None), as the model without adapters names.

    `model`: a transformers model with adapters, or peft's around it.
    """
    layers = {f"{name}.": m for name, m in model.named_modules() if hasattr(m, "lora_A")}
    for name, parameter in model.named_parameters():
        layer = next((x for x in layers if name.startswith(x)), None)
        if layer is not None and not name.startswith(f"{layer}base_layer."):
            continue  # lora_A, lora_B
        plain = name.replace(".base_layer.", ".").removeprefix("base_model.model.")
        yield plain, parameter, layers[layer] if layer is not None and name.endswith("base_layer.weight") else None


@contextlib.contextmanager
def without(adapters: Any) -> Iterator[None]:
    """The base alone: what peft's model computes with its adapters switched off."""
    with adapters.disable_adapter():
        yield


def save_adapter(adapters: Any, path: Path) -> None:
    """`path/adapter_config.json` and the adapter's weights beside it, as peft reads them; the base is not written."""
    adapters.save_pretrained(path, save_embedding_layers=False)
    (path / "README.md").unlink(missing_ok=True)  # a form of peft's that nobody filled in


def save_merged(adapters: Any, path: Path) -> None:
    """A Hugging Face checkpoint of the base with the adapter merged in; a copy is merged, the policy stays."""
    copy.deepcopy(adapters).merge_and_unload().save_pretrained(path)


def load_adapter(adapters: Any, path: Path) -> None:
    """Copy the weights of `save_adapter` into the adapters. Raises UserError for those of another shape or model."""
    from eprli_lab.backends.tensors import read_tensors, refuse_pickles

    file = path / FILE
    if not file.is_file():
        refuse_pickles(path, str(path))
        raise UserError(f"{path} holds no {FILE}: it is not the checkpoint of a run with model.lora")
    values = read_tensors(file)
    own = {name.replace(".default", ""): p for name, p in adapters.named_parameters() if "lora_" in name}
    for name, parameter in own.items():
        if name not in values or values[name].shape != parameter.shape:
            found = tuple(values[name].shape) if name in values else "missing"
            raise UserError(
                f"{file}: the tensor {name} is {found}, this adapter needs {tuple(parameter.shape)}: the checkpoint is "
                "of another model.lora"
            )
    if len(values) > len(own):
        raise UserError(f"{file}: the tensor {min(set(values) - set(own))} is not part of this model.lora's adapter")
    with torch.no_grad():  # only now: a refused checkpoint leaves the adapters as they were
        for name, parameter in own.items():
            parameter.copy_(values[name])
