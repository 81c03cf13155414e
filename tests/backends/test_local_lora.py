"""LoRA on the local engine: sampler and trainer one function, the base as reference, adapters saved and merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import PROBLEMS, SPEC, batch, same, settings
from pydantic import ValidationError
from safetensors.torch import load_file
from test_any_model import checkpoint
from transformers import AutoModelForCausalLM

from eprli_lab.backends.local.decoders import AnyDecoder, Qwen3Decoder, decoder_for
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.lora import merged_weight, plain_parameters
from eprli_lab.config.backend import LocalSpec
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import LoraSpec, ModelSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.errors import UserError
from eprli_lab.records import Sampling

pytestmark = pytest.mark.slow  # one of many

LORA = LoraSpec(rank=4, alpha=16)


def merged_tensors(policy: Any) -> dict[str, Any]:
    """Tensors by the names of the model without adapters: what a broadcast sends."""
    named = plain_parameters(policy)
    return {name: p.detach() if layer is None else merged_weight(layer) for name, p, layer in named}


def engine(lora: LoraSpec | None = LORA, kl: bool = False, dtype: str = "float32", seed: int = 0) -> LocalBackend:
    model = SPEC.model.model_copy(update={"lora": lora, "dtype": dtype})
    return LocalBackend(model, SPEC.optim, SPEC.backend, family="mod10", kl_reference=kl, seed=seed)


def parameters(backend: LocalBackend) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in backend.policy.named_parameters()}


def trained(**words: Any) -> LocalBackend:
    backend = engine(**words)
    for seed in range(3):
        backend.update(batch(backend, seed), settings(learning_rate=1e-2, kl_coef=0.1 if words.get("kl") else 0.0))
    return backend


def test_adapters_change_nothing_at_first_and_are_all_that_is_trained():
    backend = engine()
    assert batch(backend, 9) == batch(engine(lora=None), 9)
    before = parameters(backend)
    backend.update(batch(backend, 1), settings())
    backend.update(batch(backend, 2), settings())  # A moves once B is not zero
    moved = {name for name, p in parameters(backend).items() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if "lora_" in name}
    assert len(moved) == 2 * 7 * 2  # A and B of seven matrices in two layers
    assert len(backend.optimizer.masters) == len(moved)


def test_another_seed_starts_from_other_adapters():
    a, b, again = (engine(seed=s) for s in (0, 1, 0))
    name = next(n for n in parameters(a) if "lora_A" in n)
    assert torch.equal(parameters(a)[name], parameters(again)[name])
    assert not torch.equal(parameters(a)[name], parameters(b)[name])


def test_sampler_and_trainer_are_the_same_function():
    """The sampler's weights are merged and fused, the trainer's adapters are beside the base."""
    backend = trained()
    assert isinstance(decoder_for(backend.policy), Qwen3Decoder)
    terms = backend.update(batch(backend, 7), settings())
    assert terms.mismatch_max is not None and terms.mismatch_max < 2e-5
    assert terms.mismatch_kl is not None and 0 <= terms.mismatch_kl < 1e-9


def test_what_was_sampled_follows_the_adapters():
    backend = engine()
    first = batch(backend, 5)
    backend.update(batch(backend, 1), settings(learning_rate=1e-2))
    assert batch(backend, 5) != first


def test_merging_leaves_the_policy_as_it_is():
    backend = trained()
    before = parameters(backend)
    for _ in range(3):
        batch(backend, 1)
        backend.loop.forget()
        merged_tensors(backend.policy)
    assert all(torch.equal(p, before[n]) for n, p in parameters(backend).items())


def test_the_reference_is_the_base_without_a_copy():
    backend, full = engine(kl=True), engine(lora=None, kl=True)
    assert backend.reference is backend.policy and full.reference is not full.policy
    s = settings(kl_coef=0.1, learning_rate=1e-2)
    work = batch(backend, 1)
    assert backend.update(work, s).kl_ref == pytest.approx(0.0, abs=1e-9)
    other = batch(backend, 2)
    got = backend.update(other, replace(s, learning_rate=1e-9))
    assert got.kl_ref is not None and got.kl_ref > 1e-5
    # the same by hand: a merged policy of its own against the untouched base
    base = engine(lora=None)
    k3 = []
    for r in other.responses:
        ids = torch.tensor([[*r.prompt_tokens, *r.tokens]])
        with torch.no_grad():
            a, b = (m(input_ids=ids).logits[0, len(r.prompt_tokens) - 1 : -1] for m in (backend.policy, base.policy))
        new, ref = (x.log_softmax(-1).gather(1, torch.tensor(r.tokens)[:, None])[:, 0].double() for x in (a, b))
        k3 += ((ref - new).exp() - (ref - new) - 1).tolist()
    assert got.kl_ref == pytest.approx(sum(k3) / len(k3), rel=1e-3)


def test_saved_and_loaded_goes_on_bit_for_bit_and_holds_the_adapter_alone(tmp_path: Path):
    backend, s = trained(kl=True), settings(kl_coef=0.1, inner_iterations=2, minibatches=2)
    backend.save(tmp_path)
    expected = backend.update(batch(backend, 2), s)
    other = engine(kl=True, seed=5)
    other.load(tmp_path)
    assert other.update(batch(other, 2), s) == expected
    assert same(parameters(backend).values(), parameters(other).values())
    found = {p.name for p in (tmp_path / "policy").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= found
    assert not found & {"model.safetensors", "README.md"} and not (tmp_path / "merged").exists()
    assert set(load_file(tmp_path / "policy" / "adapter_model.safetensors")) == {
        f"base_model.model.{n}".replace(".default", "") for n in parameters(backend) if "lora_" in n
    }


def test_peft_opens_the_adapter_on_the_base(tmp_path: Path):
    from peft import PeftModel

    backend = trained()
    backend.save(tmp_path)
    opened = PeftModel.from_pretrained(engine(lora=None).policy, tmp_path / "policy")
    ids = torch.tensor([backend.adapter.prompt(PROBLEMS[0])])
    with torch.no_grad():
        assert torch.equal(opened(input_ids=ids).logits, backend.policy(input_ids=ids).logits)


def test_a_merged_checkpoint_opens_anywhere_and_is_a_model_to_start_from(tmp_path: Path):
    backend = trained(lora=LORA.model_copy(update={"merged": True}))
    backend.save(tmp_path)
    merged = ModelSpec(name="merged", path=str(tmp_path / "merged"))
    again = LocalBackend(merged, SPEC.optim, SPEC.backend, family=None, kl_reference=False, seed=0)
    names = dict(again.policy.named_parameters())
    mine = merged_tensors(backend.policy)
    assert set(mine) == set(names)
    assert all(torch.allclose(p, names[n], atol=1e-7) for n, p in mine.items())
    assert [r.tokens for r in batch(again, 5).responses] == [r.tokens for r in batch(backend, 5).responses]
    with pytest.raises(UserError, match="holds a LoRA adapter alone: .* model.lora.merged=true"):
        start = ModelSpec(name="x", path=str(tmp_path / "policy"))
        LocalBackend(start, SPEC.optim, SPEC.backend, family=None, kl_reference=False, seed=0)


def test_in_bfloat16_adapters_are_float32_and_are_not_merged_for_sampling():
    backend = trained(dtype="bfloat16")
    kinds = {("lora" if "lora_" in n else "base", p.dtype) for n, p in parameters(backend).items()}
    assert kinds == {("lora", torch.float32), ("base", torch.bfloat16)}
    assert isinstance(decoder_for(backend.policy), AnyDecoder)
    terms = backend.update(batch(backend, 7), settings())
    assert terms.mismatch_kl is not None and 0 <= terms.mismatch_kl < 1e-3


@pytest.mark.parametrize("name", ["qwen2", "llama", "gpt2", "qwen3-untied-rope", "gemma2"])
def test_other_architectures(name: str, tmp_path: Path):
    """Conv1D of GPT-2 lies the other way round; gemma2 caps its logits."""
    model = ModelSpec(name="any", path=str(checkpoint(name, tmp_path)), lora=LoraSpec(rank=2, alpha=8, merged=True))
    backend = LocalBackend(model, OptimSpec(), LocalSpec(device="cpu"), family=None, kl_reference=True, seed=0)
    for seed in range(2):
        terms = backend.update(batch(backend, seed, max_tokens=20), settings(learning_rate=1e-2, kl_coef=0.1))
        assert terms.mismatch_max is not None and terms.mismatch_max < 1e-5
    (tmp_path / "save").mkdir()
    backend.save(tmp_path / "save")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "save" / "merged").eval()
    ids = torch.tensor([[2, 5, 6, 7]])
    with torch.no_grad():
        assert torch.allclose(whole(input_ids=ids).logits, backend.policy(input_ids=ids).logits, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"rank": 4, "targets": ("q_proj", "query")}, r"model\.lora\.targets: query is no linear module .* q_proj"),
        ({"rank": 4, "targets": ("lm_head",)}, r"model\.lora\.targets: lm_head is no linear module inside the layers"),
        (
            {"rank": 33},
            r"model\.lora\.rank: 33 is more than the rank of model\.layers\.0\.self_attn\.k_proj.* side of 32",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(words, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        engine(LoraSpec(**words))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{rank: 4, dropout: 0.1}", "dropout 0.1 would train another function than the one that is sampled"),
        ("{rank: 4, targets: []}", "targets is empty"),
        ("{rank: 0}", "model.lora.rank"),
    ],
)
def test_what_the_config_refuses(text, sentence):
    with pytest.raises((UserError, ValidationError), match=sentence):
        compose_spec([f"model.lora={text}"])


def test_the_config_reads_it_and_says_nothing_by_default():
    spec = compose_spec(["model.lora={rank: 8, alpha: 32, targets: [q_proj, v_proj]}"])
    assert spec.model.lora == LoraSpec(rank=8, alpha=32, targets=("q_proj", "v_proj"))
    assert "lora" not in compose_spec([]).model.model_dump(mode="json")


def test_a_checkpoint_of_another_adapter_is_refused(tmp_path: Path):
    engine(LoraSpec(rank=2)).save(tmp_path)
    with pytest.raises(UserError, match="the checkpoint is of another model.lora"):
        engine().load(tmp_path)
    (tmp_path / "full").mkdir()
    engine(lora=None).save(tmp_path / "full")
    with pytest.raises(UserError, match="holds no adapter_model.safetensors"):
        engine().load(tmp_path / "full")
    (tmp_path / "fewer").mkdir()
    engine().save(tmp_path / "fewer")
    with pytest.raises(UserError, match="is not part of this model.lora's adapter"):
        engine(LoraSpec(rank=4, targets=("q_proj",))).load(tmp_path / "fewer")


def test_a_run_reads_greedy_and_filtered_samples_of_the_adapters_too():
    backend = trained()
    greedy = backend.sample(PROBLEMS, Sampling(1, 40, temperature=0.0), seed=0)
    assert greedy == backend.sample(PROBLEMS, Sampling(1, 40, temperature=0.0), seed=1)
