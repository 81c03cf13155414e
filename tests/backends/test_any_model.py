"""Causal LMs of many architectures through the whole local engine: sampler and trainer compute the same function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import rest_exhaustive
from transformers import AutoConfig, AutoModelForCausalLM

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.packing import packable
from eprli_lab.backends.local.tokenizer import SIZE, build_tokenizer
from eprli_lab.config.backend import LocalSpec
from eprli_lab.config.data import ModelSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.errors import UserError
from eprli_lab.records import Batch, Problem, Response, Sampling, UpdateSettings

pytestmark = pytest.mark.slow  # one of many

COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
WINDOW = {**COMMON, "sliding_window": 5}
PLAIN = {k: v for k, v in COMMON.items() if k not in ("num_key_value_heads", "intermediate_size")}
CONFIGS: dict[str, tuple[str, dict[str, Any], bool]] = {  # name -> (model_type, arguments, may be packed)
    "qwen3": ("qwen3", {**COMMON, "head_dim": 8}, True),
    "qwen3-untied-rope": ("qwen3", {**COMMON, "head_dim": 16, "tie_word_embeddings": False, "rope_theta": 1e6}, True),
    "qwen3-window": (
        "qwen3",
        {**WINDOW, "head_dim": 8, "use_sliding_window": True, "max_window_layers": 0},
        False,
    ),
    "qwen3-bias": ("qwen3", {**COMMON, "head_dim": 8, "attention_bias": True}, True),
    "qwen2": ("qwen2", COMMON, True),
    "llama": ("llama", COMMON, True),
    "mistral": ("mistral", {**COMMON, "sliding_window": None}, True),
    "mistral-window": ("mistral", WINDOW, False),
    "gemma2": ("gemma2", {**WINDOW, "head_dim": 8}, False),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}, False),
    "gpt_neox": ("gpt_neox", COMMON, False),
    "opt": ("opt", {**PLAIN, "ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.2}, False),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.1}, False),
    "falcon": ("falcon", PLAIN, False),
}
PROBLEMS = [
    Problem("a", "6a+8b-5?", ("9",)),
    Problem("b", "1a+1?", ("2",)),
    Problem("c", "66a+8b-5c+1d-2?", ("68",)),
]


def checkpoint(name: str, directory: Path) -> Path:
    """A random model of the architecture with our tokenizer, as anybody would save it."""
    kind, arguments, _ = CONFIGS[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=SIZE, pad_token_id=0, eos_token_id=1, bos_token_id=2, **arguments)
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    build_tokenizer().save_pretrained(directory)
    return directory


def engine(path: Path, **backend: Any) -> LocalBackend:
    model = ModelSpec(name="any", path=str(path))
    spec = LocalSpec(device="cpu", **backend)
    return LocalBackend(model, OptimSpec(), spec, family=None, kl_reference=False, seed=0)


def settings(temperature: float) -> UpdateSettings:
    return UpdateSettings(0.2, 0.28, 1, 1, "token_mean", 1, 0.0, temperature, 1e-3, 1.0, 0)


def batch_of(groups: list[tuple[Response, ...]]) -> Batch:
    """Alternating advantages, so that the gradient is not zero."""
    responses = tuple(r for g in groups for r in g)
    advantages = tuple(((-1.0) ** i,) * len(r.tokens) for i, r in enumerate(responses))
    index = tuple(i for i, g in enumerate(groups) for _ in g)
    return Batch(responses, advantages, index, (True,) * len(responses))


@pytest.mark.parametrize("name", rest_exhaustive(list(CONFIGS), 4))
def test_sampler_and_trainer_agree(name: str, tmp_path: Path):
    backend = engine(checkpoint(name, tmp_path))
    assert packable(backend.policy) is CONFIGS[name][2]
    for temperature in (1.0, 0.7):
        # the second round samples from weights that the first round's update has changed
        groups = backend.sample(PROBLEMS, Sampling(8, 24, temperature), seed=1)
        assert len({len(r.tokens) for g in groups for r in g}) > 1  # ragged, so rows were compacted on the way
        before = [p.detach().clone() for p in backend.policy.parameters()]
        terms = backend.update(batch_of(groups), settings(temperature))
        assert terms.mismatch_max is not None and terms.mismatch_max < 1e-5
        assert terms.mismatch_kl is not None and 0 <= terms.mismatch_kl < 1e-7
        assert any((a != b).any() for a, b in zip(before, backend.policy.parameters(), strict=True))


@pytest.mark.parametrize("name", ["qwen3", "qwen2", "gpt2"])
def test_microbatches_give_the_gradient_of_the_whole(name: str, tmp_path: Path):
    path = checkpoint(name, tmp_path)
    results = []
    for tokens in (16384, 1):  # everything at once; one response at a time
        backend = engine(path, microbatch_tokens=tokens)
        groups = backend.sample(PROBLEMS, Sampling(4, 12), seed=1)
        results.append(backend.update(batch_of(groups), settings(1.0)))
    assert results[0].loss == pytest.approx(results[1].loss, abs=1e-6)
    assert results[0].grad_norm == pytest.approx(results[1].grad_norm, rel=1e-4)
    assert results[0].entropy == pytest.approx(results[1].entropy, rel=1e-5)


def test_a_recurrent_model_is_refused_with_a_sentence(tmp_path: Path):
    torch.manual_seed(0)
    config = AutoConfig.for_model("mamba", vocab_size=SIZE, hidden_size=32, num_hidden_layers=1, state_size=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="mamba keeps a recurrent state"):
        engine(tmp_path).sample(PROBLEMS, Sampling(2, 4), seed=0)


def test_a_damaged_checkpoint_is_refused_with_a_sentence(tmp_path: Path):
    path = checkpoint("qwen2", tmp_path)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be loaded"):
        engine(path)
