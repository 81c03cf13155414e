"""Shapes of real models with a real tokenizer: byte-level BPE trained here, templates, pads, padded vocabularies."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import rest_exhaustive
from engines import same
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from eprli_lab.backends.build import build_backend
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.config.backend import LocalSpec
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import ModelSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.records import Batch, Problem, Response, Sampling, UpdateSettings

pytestmark = pytest.mark.slow  # one of many

TEXT = [
    "Compute the sum of two numbers and put the final answer in \\boxed{}.",
    "The answer is \\boxed{42}. Let x be a real number such that x + 3 = 7; then x = 4.",
    "Ünïcödé, naïve café, 数学の問題, Ωμέγα ∑ ∫ √2 ≈ 1.4142",
] * 20
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROBLEMS = [
    Problem("chat", "What is 2 + 2?", ("4",), messages=(("system", "Be brief."), ("user", "What is 2 + 2?"))),
    Problem("plain", "Wie groß ist √2 ungefähr?", ("1.41",)),
    Problem("long", "Let x be a real number such that x + 3 = 7. " * 3, ("4",)),
]


@dataclass(frozen=True)
class Shape:
    """A model family's habits."""

    kind: str
    tied: bool
    pad_is_eos: bool
    bos: bool
    several_ends: bool  # a generation_config with more than one eos id


SHAPES = {
    "qwen2": Shape("qwen2", tied=True, pad_is_eos=False, bos=False, several_ends=True),
    "llama": Shape("llama", tied=False, pad_is_eos=True, bos=True, several_ends=True),
    "gpt2": Shape("gpt2", tied=True, pad_is_eos=True, bos=True, several_ends=False),
    "qwen3": Shape("qwen3", tied=True, pad_is_eos=False, bos=False, several_ends=True),
    "qwen3-untied": Shape("qwen3", tied=False, pad_is_eos=True, bos=True, several_ends=False),
}
SIZES: dict[str, Any] = {
    "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 192, "max_position_embeddings": 512, "initializer_range": 0.1,
}  # fmt: skip


def tokenizer_of(shape: Shape) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text comes back; the specials are those of the chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<|begin|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=420, special_tokens=specials, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>" if shape.pad_is_eos else "<|pad|>",
        bos_token="<|begin|>" if shape.bos else None,
        additional_special_tokens=specials,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def checkpoint(shape: Shape, directory: Path) -> Path:
    """As a hub would have it: a vocabulary padded to a multiple of 64, above the tokenizer's own size."""
    tokenizer = tokenizer_of(shape)
    size = -(-len(tokenizer) // 64) * 64
    assert size > len(tokenizer)
    more: dict[str, Any] = {**SIZES, "head_dim": 32}
    if shape.kind == "gpt2":
        more = {"n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.1}
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        shape.kind, vocab_size=size, tie_word_embeddings=shape.tied, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, **more,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    if shape.several_ends:
        ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|endoftext|>")]
        model.generation_config.eos_token_id = ends
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def engine(path: Path, **words: Any) -> LocalBackend:
    model = ModelSpec(name="real", path=str(path), **words)
    return LocalBackend(model, OptimSpec(), LocalSpec(device="cpu"), family=None, kl_reference=False, seed=0)


def batch_of(groups: list[tuple[Response, ...]]) -> Batch:
    responses = tuple(r for g in groups for r in g)
    advantages = tuple(((-1.0) ** i,) * len(r.tokens) for i, r in enumerate(responses))
    index = tuple(i for i, g in enumerate(groups) for _ in g)
    return Batch(responses, advantages, index, (True,) * len(responses))


SETTINGS = UpdateSettings(0.2, 0.28, 1, 1, "token_mean", 1, 0.0, 1.0, 1e-3, 1.0, 0)


# The shipped policies, tried everywhere, are Qwen3: those shapes come last.
@pytest.fixture(scope="module", params=rest_exhaustive(list(SHAPES), 3))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shape, Path]]:
    shape = SHAPES[request.param]
    yield shape, checkpoint(shape, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("name", list(SHAPES))
def test_any_text_comes_back_from_the_tokenizer(name: str):
    tokenizer = tokenizer_of(SHAPES[name])
    for text in ("\\boxed{4}", " two  spaces", "数学 ∑ 🙂", "\n\ttab"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_prompts_have_the_template_or_a_start_token_and_never_two(made: tuple[Shape, Path]):
    _, path = made
    adapter = engine(path).adapter
    chat = adapter.tokenizer.decode(adapter.prompt(PROBLEMS[0]))
    assert "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n" in chat
    for problem in PROBLEMS:
        ids = adapter.prompt(problem)
        begin = adapter.tokenizer.bos_token_id
        assert begin is None or ids.count(begin) <= 1
        assert max(ids) < len(adapter.tokenizer)


def test_sampler_and_trainer_agree_and_a_resume_is_exact(made: tuple[Shape, Path], tmp_path: Path):
    shape, path = made
    first = engine(path)
    groups = first.sample(PROBLEMS, Sampling(8, 24), seed=1)
    drawn = [t for g in groups for r in g for t in r.tokens]
    size = len(first.tokenizer)
    assert max(drawn) >= size, "ids above the tokenizer's own are drawn from a random model, and are no error"
    terms = first.update(batch_of(groups), SETTINGS)
    assert terms.mismatch_kl is not None and 0 <= terms.mismatch_kl < 1e-8
    assert terms.mismatch_max is not None and terms.mismatch_max < 2e-5
    first.save(tmp_path)
    work = batch_of(first.sample(PROBLEMS, Sampling(8, 24), seed=2))
    expected = first.update(work, SETTINGS)
    second = engine(path)
    second.load(tmp_path)
    assert batch_of(second.sample(PROBLEMS, Sampling(8, 24), seed=2)) == work
    assert second.update(work, SETTINGS) == expected
    assert same(first.policy.parameters(), second.policy.parameters())
    third = engine(tmp_path / "policy")  # and opens as a model to start from
    assert third.adapter.stops == first.adapter.stops
    assert third.tokenizer.chat_template == first.tokenizer.chat_template
    tied = third.policy.get_input_embeddings().weight is third.policy.get_output_embeddings().weight
    assert tied is shape.tied


def test_every_end_of_the_generation_config_ends_a_response(made: tuple[Shape, Path]):
    shape, path = made
    backend = engine(path)
    end, other = (backend.tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>"))
    assert backend.adapter.stops == (sorted([end, other]) if shape.several_ends else [end])
    with torch.no_grad():  # make both likely, so that either is drawn
        head = backend.policy.get_output_embeddings()
        head.weight[end], head.weight[other] = 0.02, -0.02
    responses = [r for g in backend.sample(PROBLEMS, Sampling(48, 200), seed=3) for r in g]
    last = {r.tokens[-1] for r in responses if not r.truncated}
    assert last == set(backend.adapter.stops)
    for r in responses:
        assert not set(r.tokens[:-1]) & set(backend.adapter.stops)
        assert r.truncated is (r.tokens[-1] not in backend.adapter.stops)
        assert "<|im_end|>" not in r.text and "<|endoftext|>" not in r.text
    inside = [r for r in responses if backend.tokenizer.convert_tokens_to_ids("<|im_start|>") in r.tokens]
    assert inside and not any("<|im_start|>" in r.text for r in inside), "specials in the middle are no text"
    if not shape.several_ends:
        assert any(other in r.tokens for r in responses), "another model's end is an ordinary token here"


def test_stop_strings_cut_the_text_and_end_the_tokens(made: tuple[Shape, Path]):
    _, path = made
    backend = engine(path)
    open_ended = [r for g in backend.sample(PROBLEMS, Sampling(16, 40), seed=5) for r in g]
    common = Counter(c for r in open_ended for c in r.text if c.isalnum()).most_common(1)[0][0]
    for r in (r for g in backend.sample(PROBLEMS, Sampling(16, 40, stop=(common, "∑∑∑")), seed=5) for r in g):
        whole = backend.tokenizer.decode(list(r.tokens), skip_special_tokens=True)
        before = backend.tokenizer.decode(list(r.tokens[:-1]), skip_special_tokens=True)
        assert common not in before and common not in r.text
        assert r.text == whole.split(common)[0]
        assert r.truncated is (common not in whole and r.tokens[-1] not in backend.adapter.stops)


def test_in_bfloat16_a_real_shape_trains_and_resumes(made: tuple[Shape, Path], tmp_path: Path):
    _, path = made
    first = engine(path, dtype="bfloat16")
    terms = first.update(batch_of(first.sample(PROBLEMS, Sampling(4, 16), seed=1)), SETTINGS)
    assert terms.mismatch_kl is not None and 0 <= terms.mismatch_kl < 1e-2
    first.save(tmp_path)
    second = engine(path, dtype="bfloat16")
    second.load(tmp_path)
    assert same(first.optimizer.masters, second.optimizer.masters)
    assert same(first.policy.parameters(), second.policy.parameters())


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3-untied"])
def test_through_the_rehearsal(name: str, tmp_path: Path):
    if importlib.util.find_spec("openrlhf") is None:
        pytest.skip("OpenRLHF is not installed in this environment")
    path = checkpoint(SHAPES[name], tmp_path / "model")
    spec = compose_spec(
        ["backend=openrlhf_cpu", "model=path", f"model.path={path}", "backend.prompt_tokens=200", "curriculum=l1"]
        + ["backend.start_seconds=900", "curriculum.levels.l1.max_response_tokens=64"]
        + ["evaluation.max_response_tokens=64"]  # with the prompt it must fit into the model's context
    )
    backend: Any = build_backend(spec, tmp_path)
    try:
        groups = list(backend.sample(PROBLEMS, Sampling(8, 24), seed=1))
        assert [len(g) for g in groups] == [8, 8, 8]
        terms = backend.update(batch_of(groups), SETTINGS)
        assert terms.mismatch_kl is not None and terms.mismatch_kl < 1e-2
        (tmp_path / "saved").mkdir()
        backend.save(tmp_path / "saved")
        work = batch_of(list(backend.sample(PROBLEMS, Sampling(8, 24), seed=2)))
        backend.update(work, SETTINGS)
        backend.load(tmp_path / "saved")
        assert batch_of(list(backend.sample(PROBLEMS, Sampling(8, 24), seed=2))) == work
        stops = engine(path).adapter.stops
        assert backend.adapter.stops == stops
        for r in (r for g in groups for r in g):
            assert r.truncated is (r.tokens[-1] not in stops)
    finally:
        backend.close()
