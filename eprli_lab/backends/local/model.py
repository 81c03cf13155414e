"""A policy from its config: architecture, recipe, shipped or cached weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eprli_lab.backends.manifest import check_folder
from eprli_lab.config.data import ModelSpec
from eprli_lab.config.extensions import is_path, source_digests
from eprli_lab.config.paths import ASSETS_DIR, cache_directory
from eprli_lab.errors import UserError, reason
from eprli_lab.files import digest, read_json

RECIPE_VERSION = 1  # of the warm start's code: raise it when the same recipe would give other weights


def recipe_fingerprint(model: ModelSpec, family: str) -> str:
    """12 hex digits of config, recipe, family (of the user's own its source too) and recipe version.

    `family`: that of the data, where the recipe names none.
    """
    assert model.warmstart is not None
    family = model.warmstart.family or family
    content = {
        "config": model.config,
        "warmstart": model.warmstart.model_dump(mode="json"),
        "family": family,
        "version": RECIPE_VERSION,
    }
    if model.tokenizer != "arithmetic":
        content["tokenizer"] = model.tokenizer
    if is_path(family):
        content["source"] = source_digests([family])
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def build_model(config: dict[str, Any], seed: int, tokenizer: str = "arithmetic") -> Any:
    """A randomly initialised causal LM of the given transformers config over one of our tokenizers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from eprli_lab.backends.local.tokenizer import ALPHABETS

    values = {
        "vocab_size": ALPHABETS[tokenizer].size,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        **config,
    }
    kind = values.pop("model_type")
    torch.manual_seed(seed)
    try:
        made = AutoConfig.for_model(kind, **values)
        return with_fast_attention(lambda kind: AutoModelForCausalLM.from_config(made, attn_implementation=kind))
    except Exception as error:  # a size of 0, heads that do not divide it, a kind that has no such key: anything
        raise UserError(f"model.config: transformers cannot build this model: {reason(error)}") from None


def with_fast_attention(make: Callable[[str], Any]) -> Any:
    """The model with torch's fused attention, or with its own where the architecture has no other."""
    try:
        return make("sdpa")
    except ValueError as error:
        if "attention implementation" not in str(error):
            raise
        return make("eager")


def find_asset(fingerprint: str) -> Path | None:
    """A shipped or cached warm start with this fingerprint."""
    for provenance in sorted(ASSETS_DIR.glob("*/provenance.json")):
        content = read_json(provenance, "install the package again")
        if isinstance(content, dict) and content.get("fingerprint") == fingerprint:
            return provenance.parent
    cached = cache_directory("warmstart") / fingerprint
    return cached if (cached / "provenance.json").is_file() else None


def check_asset(directory: Path) -> None:
    """Raises UserError for a shipped or cached warm start whose weights are not those that were made."""
    shipped = directory.parent == ASSETS_DIR
    remedy = "install the package again" if shipped else f"remove {directory}: it is made again at the next start"
    if not check_folder(directory, remedy):
        weights, content = directory / "model.safetensors", read_json(directory / "provenance.json", remedy)
        made = content.get("sha256") if isinstance(content, dict) else None
        if not weights.is_file() or digest(weights) != made:
            raise UserError(f"{weights} is not what was made: {remedy}")


def load_weights(model: Any, directory: Path) -> None:
    """Copy `model.safetensors` (or its shards) into the model.

    Raises UserError for a pickle, a damaged file, and where the tensors are not those of this model.
    """
    import torch

    from eprli_lab.backends.tensors import read_tensors, refuse_pickles

    own = dict(model.named_parameters()) | dict(model.named_buffers())
    files = sorted(directory.glob("model*.safetensors"))
    if not files:
        refuse_pickles(directory, str(directory))
        raise UserError(f"{directory} holds no model.safetensors: it is not a checkpoint")
    values: dict[str, torch.Tensor] = {}
    for file in files:
        tensors = read_tensors(file)
        for name, value in tensors.items():
            if name not in own:
                raise UserError(f"{file}: the tensor {name} is not part of this model: it is the checkpoint of another")
            if own[name].is_floating_point() != value.is_floating_point():
                raise UserError(f"{file}: the tensor {name} holds numbers of another kind ({value.dtype})")
            if own[name].shape != value.shape:
                raise UserError(
                    f"{file}: the tensor {name} has shape {tuple(value.shape)}, this model needs "
                    f"{tuple(own[name].shape)}: the checkpoint is of another model"
                )
        values |= tensors
    missing = set(dict(model.named_parameters())) - set(values)
    if missing:
        raise UserError(f"{directory}: the tensor {min(missing)} is missing: the checkpoint is of another model")
    with torch.no_grad():  # only now: a refused checkpoint leaves the model as it was
        for name, value in values.items():
            own[name].copy_(value)
