"""Each data source with an answer format of its own: graded by it, checked against its own prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import response, small_spec

from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import RunSpec, VerifySpec
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.data.strata import stratify
from eprli_lab.errors import UserError
from eprli_lab.grading.grader import Grader
from eprli_lab.training.evaluate import graded
from eprli_lab.training.preflight import check_format
from eprli_lab.training.problems import RunProblems

HASH = 'Let\'s think step by step and output the final answer after "####".'
BOXED = "Put the final answer in \\boxed{}."


def two_sources(tmp_path: Path, training: str | None, suite: str | None, **verify: Any) -> RunSpec:
    """Training prompts that ask for `####`, beside a suite that asks for a box."""
    for name in ("train", "suite"):
        rows = [{"problem": f"{i}+{i}", "answer": str(2 * i), "id": i, "d": i / 8} for i in range(1, 9)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    source: dict[str, Any] = {"columns": {"difficulty": "d"}, "path": str(tmp_path / "train.jsonl")}
    examined = {"path": str(tmp_path / "suite.jsonl"), "prompt_template": "{prompt} " + BOXED, "format": suite}
    tree = small_spec().model_dump(mode="json")
    tree["data"] = {"name": "two", "source": source | {"prompt_template": "{prompt} " + HASH, "format": training}}
    tree["evaluation"]["suites"] = {"boxes": {"source": examined}}
    return parse_spec(tree | {"verify": verify})


def read_problems(spec: RunSpec) -> RunProblems:
    """Without a model, whose context they would have to fit."""
    strata = stratify(load_training(spec.data), spec.curriculum)
    return RunProblems(strata, {name: load_suite(name, s) for name, s in spec.evaluation.suites.items()}, ())


def test_each_source_is_graded_by_its_own_format(tmp_path: Path) -> None:
    problems = read_problems(two_sources(tmp_path, "hash", None))
    asked, examined = problems.strata.levels["l1"][0], problems.suites["boxes"][0]
    said = (response("#### 2"), response("\\boxed{2}"))
    with Grader(VerifySpec()) as grader:
        (_, trained), (_, evaluated) = graded([said, said], [asked, examined], grader)
        streamed = [grades for _, grades in graded(iter([said, said]), [asked, examined], grader)]
    assert [g.correct for g in trained] == [True, False] and [g.status for g in evaluated] == ["no_answer", "exact"]
    assert streamed == [trained, evaluated]


@pytest.mark.parametrize(
    ("training", "suite", "run", "said"),
    [
        ("hash", None, "boxed", None),
        ("hash", "boxed", "tag", None),
        (None, "boxed", "hash", None),
        (None, None, "boxed", "verify.format is boxed, but 4 of 4 prompts of level l1 ask for ####: set data.source.format=hash,"),
        ("boxed", None, "hash", "data.source.format is boxed, but 4 of 4 prompts of level l1 ask for ####"),
        ("hash", "answer_line", "boxed", "evaluation.suites.boxes.source.format is answer_line, but 8 of 8 prompts of suite boxes ask for \\boxed{}: set evaluation.suites.boxes.source.format=boxed"),
    ],
)  # fmt: skip
def test_prompts_against_the_format_of_their_source(
    tmp_path: Path, training: str | None, suite: str | None, run: str, said: str | None
) -> None:
    spec = two_sources(tmp_path, training, suite, format=run)
    if said is None:
        return check_format(spec, read_problems(spec))
    with pytest.raises(UserError) as caught:
        check_format(spec, read_problems(spec))
    assert said in str(caught.value)


def test_a_format_of_ones_own_is_an_extension_and_the_default_is_nothing(tmp_path: Path) -> None:
    plain = two_sources(tmp_path, None, None)
    assert "format" not in plain.model_dump(mode="json")["data"]["source"]
    assert plain.fingerprint() != two_sources(tmp_path, "hash", None).fingerprint()
    assert two_sources(tmp_path, "own:find", None).extensions()["data.source.format"] == ("format", "own:find")
    with pytest.raises(UserError, match=r"data.source.format: 'hsah' is no answer format \(did you mean 'hash'\?\)"):
        two_sources(tmp_path, "hsah", None)
