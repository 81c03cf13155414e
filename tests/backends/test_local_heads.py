"""Log-probabilities in chunks against all logits at once: values, entropies, gradients, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_any_model import CONFIGS, checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from eprli_lab.algorithm.loss import entropy
from eprli_lab.backends.local import heads
from eprli_lab.backends.local.heads import Head, head_of, token_scores

TOKENS, WIDTH, VOCABULARY = 53, 24, 5003


def inputs(
    bias: bool, cap: float | None, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, Head, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).mul_(0.2).to(dtype).requires_grad_()
    b = torch.randn(VOCABULARY, generator=generator).to(dtype).requires_grad_() if bias else None
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    return hidden, Head(None, weight, b, cap), targets


def whole(head: Head, hidden: torch.Tensor, targets: torch.Tensor, temperature: float) -> tuple[Any, Any]:
    logits = F.linear(hidden, head.weight, head.bias).float()
    if head.cap is not None:
        logits = torch.tanh(logits / head.cap) * head.cap
    scores = F.log_softmax(logits / temperature, -1)
    return scores.gather(1, targets[:, None])[:, 0], entropy(scores)


@pytest.mark.parametrize("chunk", [1, 7, TOKENS, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize(("bias", "cap"), [(False, None), (True, None), (False, 5.0), (True, 30.0)])
def test_chunks_are_the_whole(monkeypatch, chunk, temperature, bias, cap):
    monkeypatch.setattr(heads, "ELEMENTS", chunk * VOCABULARY)
    coefficients = torch.linspace(-1.0, 1.0, TOKENS) / TOKENS
    found = []
    for way in (token_scores, whole):
        hidden, head, targets = inputs(bias, cap)
        new, entropies = way(head, hidden, targets, temperature)
        (new.exp() * coefficients + new * coefficients).sum().backward()
        gradients = [x.grad for x in (hidden, head.weight, head.bias) if x is not None]
        found.append((new.detach(), entropies.detach(), *gradients))
    for mine, theirs in zip(*found, strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        assert (mine - theirs).abs().max() < 1e-6 * scale


def test_no_gradient_where_none_is_wanted():
    hidden, head, targets = inputs(False, None)
    frozen = Head(None, head.weight.detach(), None, None)
    new, entropies = token_scores(frozen, hidden, targets, 1.0)
    assert not entropies.requires_grad
    new.sum().backward()
    assert hidden.grad is not None and hidden.grad.abs().max() > 0 and frozen.weight.grad is None


def test_in_bfloat16_the_gradient_is_summed_in_float32(monkeypatch):
    """Of 53 chunks: each sum rounded to bfloat16 would lose what is added to it."""
    reference = []
    for chunk in (1, TOKENS):
        monkeypatch.setattr(heads, "ELEMENTS", chunk * VOCABULARY)
        hidden, head, targets = inputs(False, None, torch.bfloat16)
        token_scores(head, hidden, targets, 1.0)[0].mean().backward()
        assert head.weight.grad is not None and head.weight.grad.dtype == torch.bfloat16
        reference.append(head.weight.grad.float())
    assert (reference[0] - reference[1]).abs().max() <= 2**-7 * reference[1].abs().max()


@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_plain_head_is_found(name, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(checkpoint(name, tmp_path)).eval()
    found = head_of(model)
    assert found is not None and found.weight is model.get_output_embeddings().weight
    assert (found.cap is None) == (name != "gemma2")


def test_a_head_that_scales_its_logits_is_left_to_the_model():
    """Granite divides them by a number of its config."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("granite", vocab_size=32, logits_scaling=3.0, **CONFIGS["llama"][1])
    assert head_of(AutoModelForCausalLM.from_config(config).eval()) is None


MEASURE = """
import json, resource, sys
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.config.backend import LocalSpec
from eprli_lab.config.data import ModelSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.records import Batch, Response, UpdateSettings
engine = LocalBackend(ModelSpec(name="x", path=sys.argv[1]), OptimSpec(), LocalSpec(device="cpu", threads=2),
                      family=None, kl_reference=False, seed=0)
if sys.argv[2] == "whole":
    engine.head = None
start = tuple(range(100, 116))
rows = tuple(tuple((7919 * i + 104729 * j) % 151936 for j in range(160)) for i in range(8))
responses = tuple(Response("", start, row, (-11.9,) * 160, False) for row in rows)
batch = Batch(responses, tuple(((-1.0) ** i,) * 160 for i in range(8)), (0,) * 8, (True,) * 8)
terms = engine.update(batch, UpdateSettings(0.2, 0.28, 1, 1, "token_mean", 1, 0.0, 1.0, 1e-4, 1.0, 0))
print(json.dumps({"size": engine.policy.num_parameters(), "loss": terms.loss, "entropy": terms.entropy,
                  "norm": terms.grad_norm, "mismatch": terms.mismatch_kl,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}))
"""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_vocabulary_of_152_000_trains_in_under_3_gb(tmp_path: Path, capsys):
    """75 M parameters, tied embeddings, 1,280 response tokens; all logits at once need more than that. Prints both."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen2", vocab_size=151_936, hidden_size=384, intermediate_size=1024, num_hidden_layers=10,
        num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=1,
    )  # fmt: skip
    from eprli_lab.backends.local.tokenizer import build_tokenizer

    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    found = []
    for way in ("chunked", "whole"):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path), way],
            capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    chunked, unchunked = found
    with capsys.disabled():
        print(f"\npeak memory of one step: {chunked['peak']:.2f} GB, all logits at once {unchunked['peak']:.2f} GB")
    assert 73e6 < chunked["size"] < 77e6
    assert chunked["peak"] < 3.0 < unchunked["peak"]
    for key in ("loss", "entropy", "norm", "mismatch"):
        assert chunked[key] == pytest.approx(unchunked[key], rel=1e-6, abs=1e-6), key
