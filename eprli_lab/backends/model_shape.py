"""How large a model is, from its config file alone: no weights are read, nothing is downloaded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eprli_lab.backends.local.tokenizer import ALPHABETS
from eprli_lab.config.data import ModelSpec


@dataclass(frozen=True)
class Shape:
    """A decoder of n equal layers."""

    hidden: int  # h
    layers: int  # n
    vocabulary: int  # V
    queries: int  # heads x head size
    keys: int  # key-value heads x head size
    inner: int  # of the feed-forward part
    matrices: int = 3  # of the feed-forward part: gate, up, down; without a gate 2
    tied: bool = True  # one matrix for embedding and output

    @property
    def parameters(self) -> float:
        """P; norms and biases are left out, below 1%."""
        layer = 2 * self.hidden * (self.queries + self.keys) + self.matrices * self.hidden * self.inner
        return float(self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2))

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values of one token, 2 bytes a value."""
        return 2 * 2 * self.layers * self.keys

    def adapter_parameters(self, rank: int, targets: str | tuple[str, ...]) -> float:
        """Of LoRA of this rank on the linear layers named (all-linear: all of them): rank x (in + out) each."""
        h, q, k, f = self.hidden, self.queries, self.keys, self.inner
        sides = {
            "q_proj": h + q,
            "k_proj": h + k,
            "v_proj": h + k,
            "o_proj": q + h,
            "up_proj": h + f,
            "down_proj": f + h,
        }
        if self.matrices == 3:
            sides["gate_proj"] = h + f
        chosen = sides if isinstance(targets, str) else {t: sides.get(t, h + f) for t in targets}
        return float(self.layers * rank * sum(chosen.values()))


KNOWN = {  # size in a model's name -> its shape, from the config files of MiMo (before plain sizes), Qwen2.5 and Qwen3
    "mimo-7b": Shape(4096, 36, 151_680, 4096, 1024, 11_008, tied=False),  # without its layer for multi-token prediction
    "0.5b": Shape(896, 24, 151_936, 896, 128, 4864),
    "0.6b": Shape(1024, 28, 151_936, 2048, 1024, 3072),
    "1.5b": Shape(1536, 28, 151_936, 1536, 256, 8960),
    "1.7b": Shape(2048, 28, 151_936, 2048, 1024, 6144),
    "3b": Shape(2048, 36, 151_936, 2048, 256, 11_008),
    "4b": Shape(2560, 36, 151_936, 4096, 1024, 9728),
    "7b": Shape(3584, 28, 152_064, 3584, 512, 18_944, tied=False),
    "8b": Shape(4096, 36, 151_936, 4096, 1024, 12_288, tied=False),
}


def shape_of(model: ModelSpec) -> Shape | None:
    """From the config where that is at hand (given, in the directory, in Hugging Face's cache), else by the size in its
    name; None where neither says it."""
    config = model.config or _config_file(model.path or "")
    if config:
        made = _from_config(config, ALPHABETS[model.tokenizer].size)
        if made is not None:
            return made
    named = f"{model.name} {model.path or ''}".lower()
    return next((s for size, s in KNOWN.items() if re.search(rf"(?<![\d.]){re.escape(size)}(?![a-z0-9])", named)), None)


def _from_config(c: dict[str, Any], vocabulary: int) -> Shape | None:
    c = c.get("text_config") or c
    hidden, layers = c.get("hidden_size") or c.get("n_embd"), c.get("num_hidden_layers") or c.get("n_layer")
    if not hidden or not layers:
        return None
    heads = int(c.get("num_attention_heads") or c.get("n_head") or 1)
    width = int(c.get("head_dim") or hidden // heads)
    gated = "intermediate_size" in c
    return Shape(
        hidden=int(hidden),
        layers=int(layers),
        vocabulary=int(c.get("vocab_size", vocabulary)),
        queries=heads * width,
        keys=int(c.get("num_key_value_heads") or heads) * width,
        inner=int(c.get("intermediate_size") or c.get("n_inner") or 4 * hidden),
        matrices=3 if gated else 2,
        tied=bool(c.get("tie_word_embeddings", not gated)),
    )


def _config_file(path: str) -> dict[str, Any]:
    """A model's config.json, or nothing."""
    file: Any = Path(path).expanduser() / "config.json"
    if path and not file.is_file() and re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        from huggingface_hub import try_to_load_from_cache

        file = try_to_load_from_cache(path, "config.json")
    try:
        content = json.loads(Path(file).read_text()) if path and isinstance(file, str | Path) else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
