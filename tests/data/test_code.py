"""The domain of programs to be written: by hand, what is drawn, worked answers, and the grades of programs that are run."""

from __future__ import annotations

import json
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.config.data import GeneratedSpec
from eprli_lab.config.paths import ASSETS_DIR
from eprli_lab.config.spec import VerifySpec
from eprli_lab.data.code import KINDS, Code, CodeTasks, Operation, demonstration, draw, value_of
from eprli_lab.data.families import generate, problem
from eprli_lab.grading.grader import Grader

TASK = Code((Operation("add", "3"), Operation("multiply", "y"), Operation("from", "9")))
runs_programs = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


@pytest.mark.parametrize(
    ("kind", "words", "code", "statement", "value"),
    [
        ("add", "add 4", "+4", "x+=4", -3),
        ("subtract", "minus 4", "-4", "x-=4", -11),
        ("multiply", "times 4", "*4", "x*=4", -28),
        ("from", "from 4", "4-", "x=4-x", 11),
        ("remainder", "mod 4", "%4", "x%=4", 1),
        ("divide", "over 4", "/4", "x//=4", -2),
        ("double", "double", "*2", "x*=2", -14),
        ("square", "square", "*x", "x*=x", 49),
        ("negate", "negate", "0-", "x=0-x", 7),
        ("largest", "at least 4", ">4", "x=max(x,4)", 4),
        ("smallest", "at most 4", "<4", "x=min(x,4)", -7),
    ],
)
def test_operations_by_hand(kind: str, words: str, code: str, statement: str, value: int) -> None:
    operation = Operation(kind, "4")
    assert (operation.words, operation.code, operation.statement) == (words, code, statement)
    assert value_of((operation,), -7, 2) == value and set(KINDS) >= {kind}


def test_a_task_by_hand() -> None:
    assert TASK.prompt == "add 3,times y,from 9?" and TASK.answer == "x+=3;x*=y;x=9-x"
    assert value_of(TASK.todo, 4, 2) == -5
    assert CodeTasks().steps(TASK) == ("a+3", "b*y", "c9-")
    checks = json.loads(TASK.checks)
    assert checks["entry"] == "f" and checks["template"] == "def f(x,y):\n {}\n return x" and len(checks["calls"]) == 6
    assert all(expected == 9 - (x + 3) * y for (x, y), expected in checks["calls"])
    made = problem(TASK)
    assert (made.verifier, made.checks, made.difficulty) == ("tests", TASK.checks, 3 / 8)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_worked_answers_fit_the_shipped_limits_and_tests_tell_programs_apart(seed: int, operations: int) -> None:
    rng = random.Random(seed)
    task = draw(operations, rng)
    assert task.operations == operations and len(task.prompt) <= 90
    assert len({value_of(task.todo, *pair) for pair in task.arguments()}) > 2, "no constant passes"
    for noise in (0.0, 0.5):
        text = demonstration(task, rng, noise)
        assert text.endswith("}") and len(text) - len("\\boxed{") + 1 <= 75  # end of sequence included: 76
    assert demonstration(task, rng).endswith(f"\\boxed{{{task.answer}}}")


def test_problems_are_distinct_split_and_reproducible() -> None:
    spec = GeneratedSpec(family="code", problems=256)
    train, heldout = generate(spec, "train"), generate(spec, "heldout")
    assert len({p.prompt for p in train}) == 256 and not {p.prompt for p in train} & {p.prompt for p in heldout}
    assert train == generate(spec, "train") and all(p.source == "code" and p.checks for p in train)
    assert not [p for p in train if str(json.loads(p.checks)["calls"]) in p.prompt], "tests are hidden"


@runs_programs
@pytest.mark.slow
def test_programs_are_graded_by_what_they_do() -> None:
    texts = {
        "\\boxed{x+=3;x*=y;x=9-x}": "exact",
        "a+3b*y\\boxed{x=9-(x+3)*y}": "exact",  # another program that does the same
        "\\boxed{x=sum([3,x])\n x=9-y*x}": "exact",  # statements on two lines
        "\\boxed{x+=3;x*=y}": "wrong",
        "\\boxed{x=0}": "wrong",
        "\\boxed{x+=}": "wrong",  # no Python
        "\\boxed{x/=0}": "wrong",
        "\\boxed{x={}}": "wrong",
        "\\boxed{import os;os._exit(0)}": "wrong",
        "\\boxed{}": "no_answer",
        "x+=3;x*=y;x=9-x": "no_answer",
    }
    made = problem(TASK)
    with Grader(VerifySpec()) as grader:
        grades = grader.grade([(t, made.answers) for t in texts], [made] * len(texts))
        assert {t: g.status for t, g in zip(texts, grades, strict=True)} == texts
        assert [g.correct for g in grades] == [s == "exact" for s in texts.values()]
        assert grades[1].answer == "x=9-(x+3)*y"


@runs_programs
@pytest.mark.slow
def test_the_gold_program_of_every_kind_is_right_and_noise_is_wrong() -> None:
    rng = random.Random(5)
    tasks = [draw(1 + i % 8, rng) for i in range(40)]
    with Grader(VerifySpec()) as grader:
        for noise, low, high in ((0.0, 40, 40), (1.0, 0, 12)):
            pairs = [(demonstration(t, rng, noise), (t.answer,)) for t in tasks]
            right = sum(g.correct for g in grader.grade(pairs, [problem(t) for t in tasks]))
            assert low <= right <= high


@runs_programs
@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_shipped_policy_starts_where_its_provenance_says() -> None:
    from eprli_lab.backends.local.model import find_asset, recipe_fingerprint
    from eprli_lab.backends.local.warmstart import start_accuracy
    from eprli_lab.config.compose import compose_spec

    spec = compose_spec(["model=code", "data=code"])
    where = find_asset(recipe_fingerprint(spec.model, "code"))
    assert where == ASSETS_DIR / "code" and (where / "model.safetensors").stat().st_size < 800_000
    known = json.loads((where / "provenance.json").read_text())["start_accuracy"]
    measured = start_accuracy(spec.model, "code", where)
    assert measured == pytest.approx(known, abs=0.02)
    assert measured["easy"] > measured["medium"] > measured["hard"] > 0.05
