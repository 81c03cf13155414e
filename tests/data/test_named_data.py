"""The data sets and suites that come with a configuration: each reads two rows of its exact schema (problems invented).

The columns and their types are those of the data sets' cards and of the scripts that write them; the files are parquet,
as `datasets` keeps them, but for the one that is JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO, rest_exhaustive

from eprli_lab.config.compose import compose_spec
from eprli_lab.data.load import load_suite, read_training
from eprli_lab.grading.formats import asked_for

pytestmark = pytest.mark.slow  # one of many

NUMBERS = ((3, 4), (5, 6))  # what is multiplied in the two problems
DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\nRemember to put your answer on its "
    'own line after "Answer:".'
)


def question(i: int) -> str:
    a, b = NUMBERS[i]
    return f"A box holds {a} rows of {b} nuts. How many nuts does it hold?"


def product(i: int) -> str:
    return str(NUMBERS[i][0] * NUMBERS[i][1])


def worked(i: int) -> str:
    a, b = NUMBERS[i]
    return f"Each of {a} rows holds {b} nuts.\nThat makes {a} * {b} = <<{a}*{b}={a * b}>>{a * b} nuts.\n#### {a * b}"


def boxed(i: int) -> str:
    return f"There are {NUMBERS[i][0]} rows.\nSo the box holds $\\boxed{{{product(i)}}}$ nuts."


def turns(text: str) -> list[dict[str, str]]:
    return [{"content": text, "role": "user"}]


def verl(i: int, source: str, asked: str, **extra: Any) -> dict[str, Any]:
    """A row as verl's scripts write it."""
    return {
        "data_source": source,
        "prompt": turns(f"{question(i)} {asked}"),
        "ability": "math",
        "reward_model": {"ground_truth": product(i), "style": "rule"},
        "extra_info": {"index": i, "split": "train", **extra},
    }


def numina(i: int) -> dict[str, Any]:
    kinds = {"problem_type": "Algebra", "question_type": "math-word-problem", "source": "olympiads"}
    return {"problem": question(i), "solution": boxed(i), "answer": product(i), **kinds}


ROWS: dict[str, Any] = {
    "gsm8k": lambda i: {"question": question(i), "answer": worked(i)},
    "verl_gsm8k": lambda i: verl(
        i,
        "openai/gsm8k",
        'Let\'s think step by step and output the final answer after "####".',
        answer=worked(i),
        question=question(i),
    ),
    "verl_math": lambda i: verl(
        i,
        "DigitalLearningGmbH/MATH-lighteval",
        "Let's think step by step and output the final answer within \\boxed{}.",
    ),
    "dapo_17k": lambda i: {
        "data_source": "math_dapo",
        "prompt": turns(DAPO.format(question(i))),
        "ability": "MATH",
        "reward_model": {"ground_truth": product(i), "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": f"0b8e4c4e-0000-4000-8000-00000000000{i}"},
    },
    "deepscaler": lambda i: {"problem": question(i), "answer": product(i), "difficulty": 12.5 + 50 * i},
    "big_math": lambda i: {
        "problem": question(i),
        "answer": product(i),
        "source": "orca_math",
        "domain": ["Mathematics -> Arithmetic"],
        "llama8b_solve_rate": 0.875 - 0.5 * i,
    },
    "numina_math": lambda i: numina(i) | {"problem_is_valid": "Yes", "solution_is_valid": "Yes", "synthetic": False},
    "openr1_math": lambda i: (
        numina(i)
        | {
            "uuid": f"00000000-0000-5000-8000-00000000000{i}",
            "is_reasoning_complete": [True, True],
            "generations": [f"<think>\nhm\n</think>\n\n{boxed(i)}"] * 2,
            "correctness_math_verify": [True, False],
            "correctness_llama": None,
            "finish_reasons": None,
            "correctness_count": 1,
            "messages": [*turns(question(i)), {"content": boxed(i), "role": "assistant"}],
        }
    ),
    "open_reasoner_zero": lambda i: [
        {"from": "human", "value": question(i)},
        {"from": "assistant", "ground_truth": {"value": product(i)}},
    ],
}
FORMATS = {"gsm8k": "hash", "verl_gsm8k": "hash", "dapo_17k": "answer_line", "deepscaler": None}  # the others: boxed
DIFFICULTY = {"deepscaler": [0.125, 0.625], "big_math": [0.125, 0.625]}
STEPS = {
    **dict.fromkeys(("gsm8k", "verl_gsm8k"), tuple(worked(0).splitlines(keepends=True)[:2])),
    **dict.fromkeys(("numina_math", "openr1_math"), ("There are 3 rows.",)),
}
SUITES: dict[str, Any] = {
    "aime24": lambda i: {
        "id": 60 + i, "problem": question(i), "solution": boxed(i), "answer": product(i).zfill(3), "url": "", "year": "2024",
    },
    "aime25": lambda i: {"problem": question(i), "answer": product(i), "id": str(i)},
    "amc23": lambda i: {"id": i, "question": question(i), "answer": product(i), "url": ""},
    "math500": lambda i: {
        "problem": question(i), "solution": boxed(i), "answer": product(i), "subject": "Algebra", "level": 1 + i,
        "unique_id": f"test/algebra/{i}.json",
    },
    "minerva": lambda i: {"question": question(i), "answer": product(i)},
    "olympiadbench": lambda i: {
        "id": 1600 + i, "question": question(i), "solution": [boxed(i)], "final_answer": [product(i)], "context": None,
        "image_1": None, "modality": "Text-only", "difficulty": "Competition", "is_multiple_answer": False, "unit": None,
        "answer_type": "Numerical", "error": None, "question_type": "Open-ended", "subfield": "Algebra",
        "subject": "Math", "language": "English",
    },
    "gsm8k": lambda i: {"question": question(i), "answer": worked(i)},
    "file": lambda i: {"id": i, "problem": question(i), "answer": product(i)},
}  # fmt: skip


def written(rows: list[Any], where: Path) -> Path:
    if isinstance(rows[0], list):
        where = where.with_suffix(".json")
        where.write_text(json.dumps(rows))
        return where
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), where.with_suffix(".parquet"))
    return where.with_suffix(".parquet")


def test_every_configuration_is_tested() -> None:
    named = {p.stem for p in (REPO / "conf" / "data").glob("*.yaml") if "path: ???" not in p.read_text()}
    generated = {"code", "int", "interference", "mod10", "program", "rl_parquet"}
    assert set(ROWS) == named - generated | {"open_reasoner_zero"}
    assert set(SUITES) == {p.stem for p in (REPO / "conf" / "evaluation" / "suite").glob("*.yaml")} - {
        "base",
        "humaneval",
    }  # its own tests


@pytest.mark.parametrize("name", ROWS)
def test_training_data_of_its_exact_schema(name: str, tmp_path: Path) -> None:
    path = written([ROWS[name](i) for i in range(2)], tmp_path / name)
    measured = [] if name in DIFFICULTY else ["data.difficulty_file=x"]
    spec = compose_spec([f"data={name}", f"data.source.path={path}", "evaluation=paper", *measured])
    problems = read_training(spec.data)
    assert [p.answers for p in problems] == [(product(0),), (product(1),)]
    form = FORMATS.get(name, "boxed")
    assert [p.answer_format for p in problems] == [form] * 2
    for i, problem in enumerate(problems):
        assert question(i) in problem.prompt and problem.prompt.count(product(i)) == 0
        assert list(asked_for(problem.prompt)) == [form or "boxed"], "the prompt asks for what is read"
        assert len(problem.messages) <= 1
    assert [p.difficulty for p in problems] == DIFFICULTY.get(name, [None, None])
    assert problems[0].steps == STEPS.get(name, ())


@pytest.mark.parametrize("name", rest_exhaustive(list(SUITES), 4))
def test_suites_of_their_exact_schema(name: str, tmp_path: Path) -> None:
    path = written([SUITES[name](i) for i in range(2)], tmp_path / name)
    key = f"evaluation.suites.{name}"
    more = [] if name in compose_suites() else [f"+evaluation/suite@{key}={name}"]
    spec = compose_spec(["data=deepscaler", "evaluation=paper", *more, f"{key}.source.path={path}"])
    problems = load_suite(name, spec.evaluation.suites[name])
    assert [len(p.answers) for p in problems] == [1, 1]
    for i, problem in enumerate(problems):
        assert int(problem.answers[0]) == int(product(i))
        assert question(i) in problem.prompt and list(asked_for(problem.prompt)) == ["boxed"]
    assert len({p.id for p in problems}) == 2


def compose_suites() -> list[str]:
    return list(compose_spec(["data=deepscaler", "evaluation=paper"]).evaluation.suites)
