"""The initial policy: any causal LM of transformers by path or id, or a config with its warm start.

A warm start is found by fingerprint: shipped with the package, else cached, else made now (once, under a lock).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eprli_lab.backends.local.model import (
    build_model,
    check_asset,
    find_asset,
    load_weights,
    recipe_fingerprint,
    with_fast_attention,
)
from eprli_lab.backends.manifest import NAME as MANIFEST
from eprli_lab.backends.manifest import check_folder
from eprli_lab.backends.tensors import check_finite, refuse_pickles
from eprli_lab.config.data import ModelSpec
from eprli_lab.errors import UserError


def check_source(model: ModelSpec, family: str | None) -> str | None:
    """Where `model.path` leads (a directory, or an id); None for a config. Raises UserError, before torch is needed."""
    if model.path is None:
        if family is None:
            raise UserError(
                "model.path: data that is not generated needs a trained model: give model=path and model.path=DIR"
            )
        return None
    local = Path(model.path).expanduser()
    looks_local = model.path.startswith((".", "/", "~")) or local.exists() or model.path.count("/") > 1
    if (local / "adapter_config.json").is_file():
        raise UserError(
            f"model.path: {model.path} holds a LoRA adapter alone: give its base, or a checkpoint that was "
            "written with model.lora.merged=true"
        )
    if looks_local and local.is_dir():
        refuse_pickles(local, "model.path")
    if looks_local and not (local / "config.json").is_file():
        raise UserError(
            f"model.path: {model.path} holds no checkpoint (no config.json): give a directory or a model id"
        )
    return str(local) if looks_local else model.path


def load_policy(model: ModelSpec, family: str | None, device: str = "cpu") -> tuple[Any, Any]:
    """(model, tokenizer), ready to sample from. Raises UserError for a path that holds no checkpoint."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for every checkpoint says nothing

    where = check_source(model, family)
    if where is not None:
        return _pretrained(model, where, device)
    from eprli_lab.backends.local.tokenizer import build_tokenizer

    assert model.config is not None and model.warmstart is not None and family is not None
    fingerprint = recipe_fingerprint(model, family)
    asset = find_asset(fingerprint)
    if asset is None:
        from eprli_lab.backends.local.warmstart import make_cached

        asset = make_cached(model, family)
    check_asset(asset)
    policy = build_model(model.config, model.warmstart.seed, model.tokenizer)
    load_weights(policy, asset)
    return policy.to(device=device, dtype=getattr(torch, model.dtype)), build_tokenizer(model.tokenizer)


def _pretrained(model: ModelSpec, where: str, device: str) -> tuple[Any, Any]:
    from pickle import UnpicklingError  # torch's, of weights that are more than tensors; it unpickles nothing else

    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if Path(where).is_dir():
        check_folder(Path(where), f"copy the model once more, or remove {where}/{MANIFEST} if the change is yours")
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=model.trust_remote_code)
        policy, report = with_fast_attention(
            lambda kind: AutoModelForCausalLM.from_pretrained(
                where,
                dtype=getattr(torch, model.dtype),
                trust_remote_code=model.trust_remote_code,
                attn_implementation=kind,
                use_safetensors=True,  # a pickle can execute anything
                output_loading_info=True,
            )
        )
    except UnpicklingError:
        raise UserError(
            f"model.path: {model.path} cannot be loaded: its weights are a pickle that would run code: take its "
            "safetensors"
        ) from None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"model.path: {model.path} cannot be loaded: {str(error).strip().splitlines()[0]}") from None
    if report["missing_keys"]:  # transformers would fill it with random numbers
        raise UserError(f"model.path: {model.path} lacks the tensor {min(report['missing_keys'])}: it is not whole")
    check_finite(dict(policy.named_parameters()), f"model.path: {model.path}")
    return policy.to(device), tokenizer
