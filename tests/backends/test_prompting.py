"""Prompts as token ids: templates, system prompts, suffixes, and what a model cannot honour."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from chat_model import CHATML, chat_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.backends.local.tokenizer import CharacterTokenizer, build_tokenizer
from eprli_lab.backends.pretrained import context_of
from eprli_lab.backends.prompting import PromptEncoder, template_variables
from eprli_lab.backends.tokenization import TokenizerAdapter
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import SourceSpec
from eprli_lab.config.prompts import LevelPromptsSpec, PromptsSpec
from eprli_lab.data.conversation import at_level
from eprli_lab.data.files import read_source
from eprli_lab.data.load import load_training
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

PLAIN = Problem("a", "What is 1 plus 2?", ("3",), source="sums")
CHAT = Problem("b", "And 3?", ("6",), source="sums", messages=(("user", "What is 1 plus 2?"), ("assistant", "3"), ("user", "And 3?")))  # fmt: skip
OWN = Problem("c", "1?", ("1",), source="sums", messages=(("system", "Be brief."), ("user", "1?")))
# Like Gemma's: no system role; like Llama's: the day's date; like gpt-oss's: no variable for it.
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
DATED = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}Today: {{ date_string }}\n"
    + CHATML
)
DEAF = "{% for m in messages if m['role'] != 'system' %}[{{ m['content'] }}]{% endfor %}"


def encoder(template: str | None = CHATML, **prompts: object) -> PromptEncoder:
    return PromptEncoder(chat_tokenizer(template), PromptsSpec(**prompts))  # type: ignore[arg-type]


SMALL_CHAT, SMALL_PLAIN = encoder(), PromptEncoder(chat_tokenizer(None, bos="<s>"))


def refusal(made: PromptEncoder, problem: Problem = PLAIN) -> str:
    with pytest.raises(UserError) as caught:
        made.encode(problem)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- templates


def test_a_plain_text_problem_becomes_one_user_message() -> None:
    made = encoder()
    assert made.text(PLAIN) == "<|im_start|>user\nWhat is 1 plus 2?<|im_end|>\n<|im_start|>assistant\n"
    ids = made.encode(PLAIN)
    assert ids[0] == 1 and ids.count(1) == 2 and ids.count(2) == 1, "special tokens are one id each"
    assert made.tokenizer.decode(ids) == made.text(PLAIN)
    assert made.count(PLAIN) == len(ids)


def test_system_and_suffix_have_their_places() -> None:
    made = encoder(system="You add.", suffix="\nBox it.")
    assert made.text(PLAIN).startswith(
        "<|im_start|>system\nYou add.<|im_end|>\n<|im_start|>user\nWhat is 1 plus 2?\nBox it.<|im_end|>"
    )
    turns = made.text(CHAT).split("<|im_start|>")
    assert turns[1:] == [
        "system\nYou add.<|im_end|>\n", "user\nWhat is 1 plus 2?<|im_end|>\n", "assistant\n3<|im_end|>\n",
        "user\nAnd 3?\nBox it.<|im_end|>\n", "assistant\n",
    ]  # fmt: skip


def test_a_level_says_otherwise_and_null_is_the_runs() -> None:
    made = encoder(system="You add.", suffix="\nBox it.")
    (own,) = at_level([PLAIN], LevelPromptsSpec(system="Think first."))
    assert "system\nThink first.<|im_end|>" in made.text(own) and "2?\nBox it.<|im_end|>" in made.text(own)
    (none,) = at_level([PLAIN], LevelPromptsSpec(system="", suffix=""))
    assert made.text(none) == encoder().text(PLAIN)
    assert at_level([PLAIN], LevelPromptsSpec())[0] is PLAIN, "a level that says nothing hands on the very problems"
    assert made.count(own) == len(made.encode(own)) != made.count(none) == len(made.encode(none))


def test_template_none_is_plain_text() -> None:
    made = PromptEncoder(chat_tokenizer(), PromptsSpec(template="none", suffix=" Box it."))
    assert made.text(PLAIN) == "What is 1 plus 2? Box it."
    assert made.text(CHAT) == "What is 1 plus 2?\n3\nAnd 3? Box it."
    assert 1 not in made.encode(PLAIN) and 2 not in made.encode(PLAIN)


@pytest.mark.parametrize("pad", ["<|endoftext|>", "<|im_end|>"])
def test_a_bos_is_never_doubled_and_a_pad_that_is_the_eos_is_not_taken_away(pad: str) -> None:
    with_bos = chat_tokenizer("{{ bos_token }}" + CHATML, bos="<s>", pad=pad)
    ids = PromptEncoder(with_bos).encode(PLAIN)
    assert ids.count(with_bos.bos_token_id) == 1 and ids[0] == with_bos.bos_token_id
    assert ids.count(with_bos.convert_tokens_to_ids("<|im_end|>")) == 1
    plain = PromptEncoder(with_bos, PromptsSpec(template="none")).encode(PLAIN)
    assert plain.count(with_bos.bos_token_id) == 1 and plain[0] == with_bos.bos_token_id
    bare = PromptEncoder(chat_tokenizer(CHATML, bos="<s>", pad=pad)).encode(PLAIN)
    assert with_bos.bos_token_id not in bare, "a template without BOS means none"


def test_arguments_reach_the_template_and_unread_ones_are_named() -> None:
    assert template_variables(CHATML) == {"messages", "add_generation_prompt", "enable_thinking"}
    made = encoder(arguments={"enable_thinking": False})
    assert made.text(PLAIN).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    with pytest.raises(
        UserError, match=r"prompts\.arguments: .* never reads 'enable_thought' \(did you mean 'enable_thinking'\?\)"
    ):
        encoder(arguments={"enable_thought": False})
    with pytest.raises(UserError, match=r"prompts\.arguments: the tokenizer of this model has no chat template"):
        encoder(None, arguments={"enable_thinking": False})
    tagged = "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}{{ x }}"
    assert template_variables(tagged) == {"messages", "x"}


def test_a_template_that_refuses_or_drops_the_system_prompt_is_one_sentence() -> None:
    said = refusal(encoder(NO_SYSTEM, system="You add."))
    assert said.startswith(
        "prompts: the model's chat template refuses problem a (messages: system, user): System role not supported: leave prompts.system out"
    )
    assert encoder(NO_SYSTEM).encode(PLAIN) == encoder().encode(PLAIN)
    assert refusal(encoder(DEAF, system="You add.")).startswith(
        "prompts.system: the model's chat template leaves it out"
    )
    assert encoder(DEAF, suffix=" Now.").text(PLAIN) == "[What is 1 plus 2? Now.]"


def test_without_a_template_there_is_no_place_for_a_system_prompt() -> None:
    assert refusal(encoder(None, system="You add.")).startswith(
        "prompts.system: the tokenizer of this model has no chat template"
    )
    (own,) = at_level([PLAIN], LevelPromptsSpec(system="You add."))
    assert refusal(encoder(None), own).startswith("prompts.system: the tokenizer of this model")
    assert encoder(None, suffix=" Now.").text(PLAIN) == "What is 1 plus 2? Now."


def test_two_system_messages_are_refused() -> None:
    assert "system\nBe brief.<|im_end|>" in encoder().text(OWN)
    said = refusal(encoder(system="You add."), OWN)
    assert said.startswith("prompts.system: problem c of sums brings a system message of its own")


def test_the_day_is_named_or_refused() -> None:
    """A template that writes today's date would give a resumed run other prompts."""
    assert refusal(encoder(DATED)).startswith("prompts.date: the model's chat template writes the day's date")
    assert encoder(DATED, date="2025-03-01").text(PLAIN).startswith("Today: 01 Mar 2025\n")
    assert encoder(DATED, arguments={"date_string": "May Day"}).text(PLAIN).startswith("Today: May Day\n")
    with pytest.raises(UserError, match=r"prompts\.date: the model's chat template asks for no date"):
        encoder(date="2025-03-01")


# ---------------------------------------------------------------------------------------------- shipped policies


@pytest.mark.parametrize("family", ["mod10", "int", "program"])
def test_the_shipped_policies_get_the_ids_that_they_always_got(family: str) -> None:
    """BOS, then a token a character: as `tokenizer.encode` of transformers gives them, by both tokenizers."""
    problems = load_training(compose_spec([f"data={family}", f"model={family}"]).data)[:200]
    whole = build_tokenizer()
    adapter, light = TokenizerAdapter(whole), PromptEncoder(CharacterTokenizer())
    for p in problems:
        assert adapter.prompt(p) == [2, *whole.encode(p.prompt)] == light.encode(p)


@given(st.text(max_size=40), st.integers(1, 60))
def test_a_prompt_fits_exactly_where_its_tokens_do(text: str, limit: int) -> None:
    """The bound by characters never says otherwise than counting does."""
    problem = Problem("p", text + "?", ("1",))
    for made in (SMALL_CHAT, SMALL_PLAIN):
        assert made.fits(problem, limit) == (len(made.encode(problem)) <= limit)


# ---------------------------------------------------------------------------------------------- the configs for real models


@pytest.mark.parametrize(
    ("overrides", "instruction"),
    [
        (["experiment=eprli_1p5b"], "step by step"),
        (["experiment=eprli_4b"], "step by step"),
        (["experiment=eprli_7b"], "step by step"),
        (["experiment=eprli_mimo_7b"], "step by step"),
        (["data=deepscaler", "model=path", "model.path=x", "evaluation=paper"], "step by step"),
        (
            [
                "data=jsonl",
                "data.source.path=x.jsonl",
                "data.difficulty_file=d",
                "model=path",
                "model.path=x",
                "evaluation=paper",
            ],
            "",
        ),
    ],
)
def test_the_configs_for_real_models_send_templated_prompts(
    tmp_path: Path, overrides: list[str], instruction: str
) -> None:
    spec = compose_spec(overrides)
    made = PromptEncoder(chat_tokenizer(), spec.prompts)
    sources = [spec.data.source, *(s.source for s in spec.evaluation.suites.values())]
    for i, source in enumerate(sources):
        assert isinstance(source, SourceSpec)
        row = {
            source.columns.prompt: "How many?",
            source.columns.answer: "7",
            "difficulty": 50,
            "id": "q",
            "unique_id": "q",
        }
        path = tmp_path / f"{i}.jsonl"
        path.write_text(json.dumps(row) + "\n")
        (problem,) = read_source(source.model_copy(update={"path": str(path)}), "source").problems
        text = made.text(problem)
        assert text.startswith("<|im_start|>user\nHow many?") and text.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert (instruction if i == 0 else "step by step") in text.partition("<|im_end|>")[0]
        assert made.tokenizer.decode(made.encode(problem)) == text


# ---------------------------------------------------------------------------------------------- context


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({}, None),
        (
            {
                "max_position_embeddings": 32768,
                "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        ({"max_position_embeddings": 131072, "rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 2048, "rope_scaling": {"type": "linear", "factor": 2.0}}, 4096),
    ],
)
def test_the_context_of_a_config(values: dict[str, object], expected: int | None) -> None:
    text = SimpleNamespace(**values)
    assert context_of(SimpleNamespace(get_text_config=lambda: text)) == expected
