"""The first prompts of a run, and where training and evaluation ask differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_model import chat_tokenizer, make_untrained, overrides, write_sums
from helpers import small_spec

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.sweeping.lifecycle import check_study
from eprli_lab.training.problems import read_problems
from eprli_lab.training.prompts import LOOKED_AT, PromptReport, prompt_report

pytestmark = pytest.mark.slow  # one of many


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer and a config: what is read before a start."""
    return make_untrained(tmp_path_factory.mktemp("chat"))


def composed(model: Path, directory: Path, *more: str) -> RunSpec:
    return compose_spec([*overrides(model, write_sums(directory / "sums.jsonl")), *more])


def report(spec: RunSpec) -> PromptReport:
    return prompt_report(spec, read_problems(spec))


def test_the_first_prompt_of_each_level_and_suite() -> None:
    made = report(small_spec())
    problems = read_problems(small_spec())
    assert [p.where for p in made.prompts] == [
        *("level l1", "level l2", "suite heldout_easy", "suite heldout_medium", "suite heldout_hard")
    ]  # fmt: skip
    first = made.prompts[0]
    assert first.text == problems.strata.levels["l1"][0].prompt and first.problem == problems.strata.levels["l1"][0].id
    assert first.ids[0] == 2 and first.tokens == len(first.ids) == len(first.text) + 1
    assert not made.template and made.warnings == () == made.left_out
    lines = made.lines()
    assert lines[0] == "first prompts (plain text)" and len(lines) == 6 and all(first.text in x for x in lines[1:2])


def test_prompts_are_logged_as_plain_data(model: Path, tmp_path: Path) -> None:
    made = report(composed(model, tmp_path, "prompts.system=You add."))
    back = json.loads(json.dumps(made.content()))
    assert made.template and back["prompts"][1]["text"].startswith("<|im_start|>system\nYou add.<|im_end|>\n")
    assert chat_tokenizer().decode(back["prompts"][1]["ids"]) == back["prompts"][1]["text"]
    assert back["prompts"][0]["tokens"] == len(back["prompts"][0]["ids"])
    assert "\\n" in made.lines()[1] and all("\n" not in line and len(line) < 160 for line in made.lines())


def test_a_turn_that_would_never_end_is_named(tmp_path: Path) -> None:
    """A base model's tokenizer: ChatML, and an end of sequence that ends no turn of it, unless the config names both."""
    from transformers import GenerationConfig

    path = make_untrained(tmp_path / "model")
    assert report(composed(path, tmp_path)).warnings == ()
    tokenizer = chat_tokenizer()
    end = tokenizer.eos_token_id
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(path)
    (path / "generation_config.json").unlink(missing_ok=True)
    (warning,) = report(composed(path, tmp_path)).warnings
    assert "ends a turn with <|im_end|>" in warning and "generation_config.json" in warning
    assert report(composed(path, tmp_path, "prompts.template=none")).warnings == ()
    GenerationConfig(eos_token_id=[tokenizer.eos_token_id, end]).save_pretrained(path)
    assert report(composed(path, tmp_path)).warnings == ()


def test_prompts_of_the_run_are_of_both_and_differ_in_nothing(model: Path, tmp_path: Path) -> None:
    both = ["prompts.system=You add.", "prompts.suffix=' Box it.'"]
    assert report(composed(model, tmp_path, *both)).warnings == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["curriculum.levels.l1.prompts.system=You add."],
         "prompts: level l1 and suite sums differ in the system prompt: 'You add.' against none"),
        (["prompts.system=You add.", "curriculum.levels.l1.prompts.system=''"],
         "prompts: level l1 and suite sums differ in the system prompt: none against 'You add.'"),
        (["curriculum.levels.l1.prompts.suffix=' Box it.'"],
         "prompts: level l1 and suite sums differ in the text after the problem: ' Box it.' against none"),
        (["data.source.prompt_template='Add: {prompt} Box it.'"],
         "prompts: level l1 and suite sums differ in the text before the problem: 'Add: ' against none; in the text after "
         "the problem: ' Box it.' against none"),
        (["+evaluation.suites.sums.source.prompt_template='{prompt} Box it.'", "data.source.prompt_template='{prompt}  Box it.'"],
         "prompts: level l1 and suite sums differ in the text after the problem: '  Box it.' against ' Box it.'"),
        (["+evaluation.suites.sums.source.prompt_template='{prompt} Box it.'", "curriculum.levels.l1.prompts.suffix=' Box it.'"],
         None),
    ],
)  # fmt: skip
def test_what_differs_around_the_problem_is_named(
    model: Path, tmp_path: Path, changes: list[str], said: str | None
) -> None:
    assert report(composed(model, tmp_path, *changes)).warnings == ((said,) if said else ())


def rows(path: Path, cell: Any) -> Path:
    lines = [{"id": str(i), "problem": cell(i), "answer": i, "difficulty": 0.5} for i in range(12)]
    path.write_text("".join(json.dumps(x) + "\n" for x in lines))
    return path


def with_training(spec: RunSpec, path: Path) -> RunSpec:
    assert spec.data.source is not None
    source = spec.data.source.model_copy(update={"path": str(path)})
    return spec.model_copy(update={"data": spec.data.model_copy(update={"source": source})})


def test_an_instruction_inside_the_questions_of_a_data_set_is_seen(model: Path, tmp_path: Path) -> None:
    """As DAPO-Math has it: every question begins with the same words, and the suites' do not."""
    spec = composed(model, tmp_path)
    asked = "Solve this sum step by step. "
    chat = rows(tmp_path / "chat.jsonl", lambda i: [{"role": "user", "content": f"{asked}{i} plus {12 - i}?"}])
    (warning,) = report(with_training(spec, chat)).warnings
    assert warning == f"prompts: level l1 and suite sums differ in the text before the problem: '{asked}' against none"
    end = rows(tmp_path / "end.jsonl", lambda i: f"{i} plus {12 - i}?\nPut the answer in a box.")
    (warning,) = report(with_training(spec, end)).warnings
    assert warning.endswith(r"the text after the problem: '\nPut the answer in a box.' against none")
    short = rows(tmp_path / "short.jsonl", lambda i: f"Find it: {i} plus {12 - i}?")
    assert report(with_training(spec, short)).warnings == (), "below 16 characters it is how questions begin"


def test_turns_and_system_messages_of_the_data_count(model: Path, tmp_path: Path) -> None:
    shots = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1"}]
    own = rows(
        tmp_path / "own.jsonl",
        lambda i: [{"role": "system", "content": "Be brief."}, *shots, {"role": "user", "content": f"{i}?"}],
    )
    (warning,) = report(with_training(composed(model, tmp_path), own)).warnings
    assert warning == (
        "prompts: level l1 and suite sums differ in the system prompt: 'Be brief.' against none; in the turns before the "
        r"question: 'user: 1?\nassistant: 1' against none"
    )  # fmt: skip
    varied = rows(
        tmp_path / "varied.jsonl",
        lambda i: [{"role": "system", "content": f"Number {i}."}, {"role": "user", "content": "1?"}],
    )
    assert (
        "the system prompt: '(varies)' against none"
        in report(with_training(composed(model, tmp_path), varied)).warnings[0]
    )
    with pytest.raises(UserError, match=r"prompts\.system: problem 0 of own brings a system message of its own"):
        report(with_training(composed(model, tmp_path, "prompts.system=You add."), own))


def test_equal_levels_and_suites_are_named_together() -> None:
    made = small_spec("curriculum.levels.l1.prompts.suffix=h", "curriculum.levels.l2.prompts.suffix=h")
    assert report(made).warnings == (
        "prompts: levels l1, l2 and suites heldout_easy, heldout_medium, heldout_hard differ in the text after the problem: "
        "'h' against none",
    )  # fmt: skip
    assert LOOKED_AT >= 64


ARMS = """\
    a: {overrides: []}
    b: {overrides: [curriculum.levels.l1.prompts.suffix=h]}
    c: {overrides: [curriculum.levels.l1.prompts.suffix=h, optim.weight_decay=0.1]}
"""


def test_a_study_shows_its_first_arm_and_what_is_special_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plans import own_sweep, plan_of

    monkeypatch.chdir(tmp_path)
    own_sweep(tmp_path, ARMS)
    lines = check_study(plan_of("sweep=mine", "preset=smoke"))
    assert lines[0] == "first prompts (plain text)" and [x[:10] for x in lines[1:6]] == [
        "  level l1",
        "  level l2",
        *["  suite he"] * 3,
    ]
    (warning,) = lines[6:]
    assert warning.startswith(
        "warning: arm b: prompts: level l1 and suites heldout_easy, heldout_medium, heldout_hard differ in"
    )
