"""Prompts and responses against the model's context, before anything starts; long training prompts left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from chat_model import CONTEXT, make_untrained, overrides, write_sums
from helpers import small_spec

from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.load import read_training
from eprli_lab.errors import UserError
from eprli_lab.training.preflight import preflight
from eprli_lab.training.problems import encoder_of, keep_short, read_problems

pytestmark = pytest.mark.slow  # one of many

WORD = " plus"  # one token of the chat tokenizer, twice of the plain one's characters
LEVELLED = ((5, 0.25), (19, 0.25), (6, 0.75))  # tokens of the question, difficulty
OTHER = " is"  # another, for suites: nothing that is evaluated is trained on


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_untrained(tmp_path_factory.mktemp("chat"))


def write(path: Path, lengths: list[int], word: str = WORD) -> Path:
    """Problem i has a question of lengths[i] tokens; all in one level."""
    rows = [{"id": f"q{i}", "problem": word * n, "answer": "1", "difficulty": 0.5} for i, n in enumerate(lengths)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def spec_of(model: Path, directory: Path, training: list[int], suite: list[int], *more: str) -> RunSpec:
    made = overrides(model, write(directory / "suite.jsonl", suite, OTHER))
    return compose_spec([*made, f"data.source.path={write(directory / 'training.jsonl', training)}", *more])


def refusal(spec: RunSpec) -> str:
    with pytest.raises(UserError) as caught:
        preflight(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def around(spec: RunSpec) -> int:
    """Tokens of the template around a question."""
    problem = read_problems(spec).strata.levels["l1"][0]
    return len(encoder_of(spec).encode(problem)) - problem.prompt.count(WORD)


def test_a_prompt_fits_to_the_token(model: Path, tmp_path: Path) -> None:
    frame = around(spec_of(model, tmp_path, [1], [1]))
    most = CONTEXT - 12 - frame  # 12: the responses' limit
    preflight(spec_of(model, tmp_path, [1, most], [most]))
    assert refusal(spec_of(model, tmp_path, [1, most + 1, most + 2, 3], [1])) == (
        f"level l1: 2 of 4 prompts do not fit the model's context of {CONTEXT} tokens with a response of 12 (the longest has "
        f"{CONTEXT - 12 + 2} tokens: problem q2): leave them out with data.max_prompt_tokens={CONTEXT - 12}, or shorten the "
        "responses"
    )  # fmt: skip
    assert refusal(spec_of(model, tmp_path, [1], [1, most + 1])) == (
        f"suite sums: 1 of 2 prompts do not fit the model's context of {CONTEXT} tokens with a response of 12 (the longest has "
        f"{CONTEXT - 12 + 1} tokens: problem q1): shorten the responses, or take problems with shorter prompts"
    )  # fmt: skip


def test_the_prompts_of_a_level_are_what_counts(model: Path, tmp_path: Path) -> None:
    frame = around(spec_of(model, tmp_path, [1], [1]))
    most = CONTEXT - 12 - frame
    longer = ["curriculum.levels.l1.prompts.suffix=' plus'"]
    assert refusal(spec_of(model, tmp_path, [most], [most], *longer)).startswith("level l1: the prompt does not fit")
    shorter = ["prompts.suffix=' plus'", "curriculum.levels.l1.prompts.suffix=''"]
    assert refusal(spec_of(model, tmp_path, [most], [most], *shorter)).startswith("suite sums: the prompt does not fit")
    preflight(spec_of(model, tmp_path, [most], [most - 1], *shorter))


def test_responses_alone_may_be_too_long_for_the_context(model: Path, tmp_path: Path) -> None:
    said = refusal(spec_of(model, tmp_path, [1], [1], f"curriculum.levels.l1.max_response_tokens={CONTEXT}"))
    assert said.startswith("level l1: the prompt does not fit") and said.endswith(
        "): shorten the responses, or take problems with shorter prompts"
    )
    generated = small_spec("curriculum.levels.l2.max_response_tokens=250")
    assert "level l2: " in refusal(generated) and "the model's context of 256 tokens with a response of 250" in refusal(
        generated
    )


def test_long_training_prompts_are_left_out_and_counted(model: Path, tmp_path: Path) -> None:
    frame = around(spec_of(model, tmp_path, [1], [1]))
    limit = frame + 20
    spec = spec_of(model, tmp_path, [5, 21, 20, 500], [30], f"data.max_prompt_tokens={limit}")
    problems = read_problems(spec)
    assert [p.id for p in problems.strata.levels["l1"]] == ["q0", "q2"]
    sentence = f"data.max_prompt_tokens={limit}: 2 of 4 training problems are left out (longest prompt: {frame + 500} tokens, problem q3)"
    assert problems.left_out == (sentence,)
    report = preflight(spec)
    assert report.lines()[-1] == f"warning: {sentence}" and report.content()["left_out"] == (sentence,)
    assert [p.id for p in problems.suites["sums"]] == ["q0"], "of a suite nothing is ever left out"
    kept, sentences = keep_short(spec, read_training(spec.data))  # as `eprli-lab difficulty` asks
    assert [p.id for p in kept] == ["q0", "q2"] and sentences == [sentence]


def test_of_a_level_with_a_longer_suffix_more_is_left_out(model: Path, tmp_path: Path) -> None:
    frame = around(spec_of(model, tmp_path, [1], [1]))
    more = [f"data.max_prompt_tokens={frame + 20}", "curriculum.levels.l1.prompts.suffix=' plus plus'"]
    problems = read_problems(spec_of(model, tmp_path, [5, 21, 20, 19, 18], [30], *more))
    assert [p.id for p in problems.strata.levels["l1"]] == ["q0", "q4"]
    assert all(p.suffix is None for p in problems.strata.levels["l1"]), "the strata hold the problems as they are"
    assert [s.partition(" are left out")[0].partition(": ")[2] for s in problems.left_out] == [
        "1 of 5 training problems", "2 of 4 problems of level l1",
    ]  # fmt: skip


def test_where_problems_may_change_their_level_each_must_fit_everywhere(model: Path, tmp_path: Path) -> None:
    """The longer suffix of l2 leaves q1, of l1, out: once measured anew it could come to l2."""
    frame = around(spec_of(model, tmp_path, [1], [1]))
    rows = [{"id": f"q{i}", "problem": WORD * n, "answer": "1", "difficulty": d} for i, (n, d) in enumerate(LEVELLED)]
    data = tmp_path / "levelled.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    made = [
        o if o != "curriculum=l1" else "curriculum=l2"
        for o in overrides(model, write(tmp_path / "s.jsonl", [3], OTHER))
    ]
    made += [
        f"data.source.path={data}",
        f"data.max_prompt_tokens={frame + 20}",
        "curriculum.levels.l2.max_response_tokens=12",
    ]
    made += ["curriculum.levels.l2.prompts.suffix=' plus plus'"]
    stays = read_problems(compose_spec(made)).strata.levels
    assert {name: [p.id for p in problems] for name, problems in stays.items()} == {"l1": ["q0", "q1"], "l2": ["q2"]}
    moves = read_problems(compose_spec([*made, "curriculum.remeasure.every=2"])).strata.levels
    assert {name: [p.id for p in problems] for name, problems in moves.items()} == {"l1": ["q0"], "l2": ["q2"]}


def test_left_out_problems_need_no_measured_difficulty(model: Path, tmp_path: Path) -> None:
    frame = around(spec_of(model, tmp_path, [1], [1]))
    (tmp_path / "rates.jsonl").write_text('{"id": "q0", "pass_rate": 0.5}\n')
    more = ["data.source.columns.difficulty=null", f"data.difficulty_file={tmp_path / 'rates.jsonl'}"]
    problems = read_problems(spec_of(model, tmp_path, [5, 50], [1], *more, f"data.max_prompt_tokens={frame + 20}"))
    assert [(p.id, p.difficulty) for p in problems.strata.levels["l1"]] == [("q0", 0.5)]
    with pytest.raises(UserError, match="1 of 2 problems have no pass rate"):
        read_problems(spec_of(model, tmp_path, [5, 50], [1], *more))


def test_a_limit_that_leaves_nothing_is_refused(model: Path, tmp_path: Path) -> None:
    said = refusal(spec_of(model, tmp_path, [5, 6], [1], "data.max_prompt_tokens=3"))
    assert said.startswith(
        "data.max_prompt_tokens: none of 2 training problems has a prompt of at most 3 tokens (the shortest has "
    )


def openrlhf(spec: RunSpec, **changes: Any) -> RunSpec:
    values = {"rehearsal": True, "sleep": False, "enforce_eager": True, "attention": "eager"} | changes
    return spec.model_copy(update={"backend": OpenRLHFSpec(kind="openrlhf", **values)})


def test_the_engines_prompt_limit_is_held_before_the_start(model: Path, tmp_path: Path) -> None:
    spec = openrlhf(spec_of(model, tmp_path, [50], [60]), prompt_tokens=40)
    frame = around(spec_of(model, tmp_path, [1], [1]))
    spec = openrlhf(spec_of(model, tmp_path, [50], [60]), prompt_tokens=frame + 50)
    assert refusal(spec) == (
        f"suite sums: the prompt does not fit backend.prompt_tokens (the longest has {frame + 60} tokens: problem q0): set "
        f"backend.prompt_tokens={frame + 60}"
    )  # fmt: skip
    spec = openrlhf(spec_of(model, tmp_path, [50, 70], [20]), prompt_tokens=frame + 50)
    assert refusal(spec).endswith(
        f"set backend.prompt_tokens={frame + 70}, or leave them out with data.max_prompt_tokens={frame + 50}"
    )
    spec = openrlhf(spec_of(model, tmp_path, [5], [5]), prompt_tokens=CONTEXT - 12 + 1)
    assert refusal(spec) == (
        f"backend.prompt_tokens: prompts of {CONTEXT - 11} and responses of 12 tokens do not fit the model's context of "
        f"{CONTEXT} tokens: set backend.prompt_tokens={CONTEXT - 12} or less, or shorten the responses"
    )  # fmt: skip


def test_a_tokenizer_is_read_once_until_it_changes(model: Path, tmp_path: Path) -> None:
    own = shutil.copytree(model, tmp_path / "own")
    spec = spec_of(own, tmp_path, [5], [5])
    assert encoder_of(spec) is encoder_of(spec.model_copy(update={"seed": 7}))
    changed = spec.model_copy(update={"prompts": spec.prompts.model_copy(update={"suffix": "?"})})
    assert encoder_of(changed) is not encoder_of(spec)
    before = preflight(spec).prompts[0].tokens
    (own / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert preflight(spec).prompts[0].tokens < before


def test_a_missing_tokenizer_is_one_sentence(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(model / "config.json", bare)
    assert refusal(spec_of(bare, tmp_path, [5], [5])).startswith(f"model.path: {bare} holds no tokenizer")


def test_write_sums_is_read(model: Path, tmp_path: Path) -> None:
    spec = compose_spec(overrides(model, write_sums(tmp_path / "sums.jsonl")))
    assert len(read_problems(spec).suites["sums"]) == 100


def test_a_suite_that_is_trained_on_is_refused_or_allowed_by_name(model: Path, tmp_path: Path) -> None:
    spec = spec_of(model, tmp_path, [1, 2, 3], [4, 5])
    write(tmp_path / "suite.jsonl", [2, 9])
    both = spec.model_copy(update={"data": spec.data.model_copy(update={"allow_overlap": False})})
    found = "1 of 2 problems of suite sums are trained on (its problem q0 is q1 of the training data: 'plus plus')"
    assert refusal(both) == (
        f"data: {found}: take them out of one of the two, or set data.allow_overlap=true, and the report says so"
    )
    assert preflight(spec).notes() == [f"data.allow_overlap=true: {found}"]
    asked = both.evaluation.suites["sums"]
    assert asked.source is not None
    other = asked.source.model_copy(update={"prompt_template": "Add. {prompt} End with \\boxed{}."})
    suites = {"sums": asked.model_copy(update={"source": other})}
    framed = both.model_copy(update={"evaluation": both.evaluation.model_copy(update={"suites": suites})})
    assert refusal(framed).startswith(f"data: {found}"), "what a template adds is no part of the problem"
    write(tmp_path / "suite.jsonl", [8, 9])
    assert preflight(both).notes() == []


def test_prompts_that_ask_for_another_answer_format_are_named_before_the_start(model: Path, tmp_path: Path) -> None:
    spec = spec_of(model, tmp_path, [1], [1])
    rows = [{"id": f"q{i}", "problem": f"{i}+1? Answer after ####", "answer": "2", "difficulty": 0.5} for i in range(2)]
    (tmp_path / "training.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert refusal(spec) == (
        "verify.format is boxed, but 2 of 2 prompts of level l1 ask for ####: set data.source.format=hash, or ask for the format "
        "in prompts.suffix"
    )
    source = f"data.source.path={tmp_path / 'training.jsonl'}"
    preflight(compose_spec([*overrides(model, tmp_path / "suite.jsonl"), source, "verify.format=hash"]))
