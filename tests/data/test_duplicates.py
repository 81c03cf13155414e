"""The same problem twice: in a file, and in training and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eprli_lab.config.data import ColumnsSpec, DataSpec, SourceSpec, SuiteSpec
from eprli_lab.data.duplicates import overlap, same_answers
from eprli_lab.data.files import Loaded, read_source
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

PRIMES = "How many primes are below 20?"
TAIL = " Let's think step by step and output the final answer within \\boxed{}."


def load(path: Path, rows: list[dict[str, Any]], bad: int | None = 0, **more: Any) -> Loaded:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return read_source(SourceSpec(path=str(path), columns=ColumnsSpec(**more)), "data.source", bad)


def row(name: str, problem: Any, answer: Any, **more: Any) -> dict[str, Any]:
    return {"id": name, "problem": problem, "answer": answer, **more}


def test_the_same_prompt_with_the_same_answers_is_one_problem(tmp_path: Path) -> None:
    rows = [
        row("a", "What is 1+1?", "2", d=0.1), row("b", " What  is\n1+1? ", "2", d=0.2), row("c", "What is 1+2?", "3", d=0.1),
        row("a", "What is 1+1?", "$2$", d=0.1), row("e", "What is 1+2?", ["3.0", "3"], d=0.1), row("f", "what is 1+2?", "4", d=0.1),
    ]  # fmt: skip
    loaded = load(tmp_path / "a.jsonl", rows, difficulty="d")
    assert [(p.id, p.difficulty) for p in loaded.problems] == [("a", 0.1), ("c", 0.1), ("f", 0.1)], "case is content"
    assert (loaded.rows, loaded.repeated, loaded.relabelled) == (6, 3, 1)
    assert loaded.notes("data.source") == [
        "data.source: 3 of 6 rows repeat a problem with the same answers (1 with another difficulty: the first one's is "
        "kept): each problem is there once"
    ]


def test_a_conversation_is_the_same_when_all_its_turns_are(tmp_path: Path) -> None:
    def chat(system: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": system}, {"role": "user", "content": "1+1?"}]

    rows = [
        row("a", chat("Add."), "2"),
        row("b", chat("Add  modulo 2."), "0"),
        row("c", chat("Add."), "2"),
        row("d", "1+1?", "2"),
    ]
    assert [p.id for p in load(tmp_path / "a.jsonl", rows).problems] == ["a", "b", "d"]


def test_the_same_prompt_with_different_answers_is_refused_with_both(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [row("a", "1+1?", "2"), row("b", "1+2?", "3"), row("c", "1+1?", "3"), row("d", "1+1?", "2")]
    with pytest.raises(UserError) as caught:
        load(path, rows)
    assert str(caught.value) == (
        f"{path}:1: the prompt comes again at {path}:3, with another answer: '2' and '3'; 2 of 4 rows cannot be used: 2 the "
        "same prompt with different answers (a.jsonl:1, a.jsonl:3): mend them, or leave them out with data.max_bad_rows=2"
    )
    assert [p.id for p in load(path, rows, 2).problems] == ["b"], "nobody knows which is right"


def test_all_of_a_list_is_not_any_of_it(tmp_path: Path) -> None:
    rows = [row("a", "x^2=1?", ["1", "-1"]), row("b", "x^2=1?", ["-1", "1"])]
    assert load(tmp_path / "a.jsonl", rows, answers_mean="all").repeated == 1
    assert load(tmp_path / "a.jsonl", rows).repeated == 1
    assert same_answers(["1/2"], ["0.5"]) and not same_answers(["1"], ["1", "2"])


# --- training and evaluation


def framed(*texts: str, before: str = "", after: str = TAIL) -> list[str]:
    """The texts and six others in the same frame."""
    return [f"{before}{text}{after}" for text in (*texts, *(f"{i}*7{'.?'[i % 2]}" for i in range(8 - len(texts))))]


def problems(texts: list[str], prefix: str) -> list[Problem]:
    return [Problem(f"{prefix}{i}", text, ("1",)) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("trained", "asked", "shared"),
    [
        (["1+1?", "1+2?"], ["1+2?", "1+3?"], [("t1", "s0")]),
        (["What is $x^{2}$ at 3?"], ["what is  x^2 at 3?"], [("t0", "s0")]),
        (["Find \\dfrac{1}{2} \\left(3\\right)."], ["Find $\\frac{1}{2}(3)$."], [("t0", "s0")]),
        (["\\[x=0\\,\\]has roots $r_1,$ $\\overline{r}_1$."], ["$x=0$ has roots $r_1, \\overline{r_1},$"], [("t0", "s0")]),
        (["Compute 5!"], ["Compute 5."], []),
        (["Compute 1.2+3"], ["Compute 12+3"], []),
        (["1+1?"], ["1-1?"], []),
        (["1+1?"], ["1+11?"], []),
        (framed(PRIMES), [PRIMES], [("t0", "s0")]),
        ([PRIMES], framed("1+1?", PRIMES, before="Question: solve it.\n"), [("t0", "s1")]),
        (framed("1+1?", PRIMES), framed(PRIMES, "8-1?", before="Solve for me now: ", after=""), [("t1", "s0"), ("t2", "s2"), ("t3", "s3"), ("t4", "s4"), ("t5", "s5"), ("t6", "s6"), ("t7", "s7")]),
        (framed("Compute 12", "Compute 1"), ["2"], []),
        ([f"The sum of all of a and {i}?" for i in range(8)], ["2?"], []),
        ([" plus" * i for i in range(6, 14)], [" plus"], []),
        (["Compute. 12", "Compute. 1"], ["12"], []),
    ],
)  # fmt: skip
def test_shared_problems_are_found_whatever_stands_around_them(
    trained: list[str], asked: list[str], shared: Any
) -> None:
    found = overlap(problems(trained, "t"), problems(asked, "s"))
    assert [(a.id, b.id) for a, b in found] == shared


def test_the_question_of_a_conversation_is_compared_not_its_system_prompt() -> None:
    chat = Problem("t", "1+1?", ("2",), messages=(("system", "Think."), ("user", "1+1?")))
    assert overlap([chat], problems(["1+1?"], "s"))


def test_notes_of_training_and_suites_reach_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row(n, "1+1?", "2", d=0.5)) + "\n" for n in "ab") + '{"id": "c"}\n')
    source = SourceSpec(path=str(path), columns=ColumnsSpec(difficulty="d"))
    notes: list[str] = []
    assert len(load_training(DataSpec(name="x", source=source, max_bad_rows=1), notes=notes)) == 1
    assert [n.partition(" rows")[0] for n in notes] == ["data.source: 1 of 3", "data.source: 1 of 3"]
    with pytest.raises(UserError, match="no column 'problem'.*: mend them or take them out$"):
        load_suite("x", SuiteSpec(source=source))
    path.write_text("".join(json.dumps(row(n, "1+1?", "2", d=0.5)) + "\n" for n in "ab"))
    notes.clear()
    load_suite("x", SuiteSpec(source=source), notes)
    assert notes == [
        "evaluation.suites.x.source: 1 of 2 rows repeat a problem with the same answers: each problem is there once"
    ]


def test_of_the_benchmarks_one_problem_is_in_the_training_samples(shared_data: Path) -> None:
    columns = ColumnsSpec(prompt="prompt", answer="reward_model.ground_truth", id=None)
    trained = []
    for name in ("short", "long"):
        source = SourceSpec(path=str(shared_data / f"deepscaler_sample_{name}.parquet"), columns=columns)
        trained.append(read_source(source, "data.source", 4).problems)
    suites = [
        read_source(SourceSpec(path=str(shared_data / f"{n}.jsonl")), "s").problems
        for n in ("aime24", "amc23", "math500")
    ]
    assert [[len(overlap(t, s)) for s in suites] for t in trained] == [[0, 0, 0], [0, 0, 1]]
    assert [b.id for _, b in overlap(trained[1], suites[2])] == ["math500-101"], "differently set"
    assert len(overlap(suites[2], suites[2])) == 500
    with_frame = [Problem(p.id, p.prompt + TAIL, p.answers) for p in suites[0]]
    assert len(overlap(with_frame, suites[0])) == 30
