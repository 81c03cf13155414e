"""Sampled responses: which ones are kept, by hand; no number of a run depends on it; resume repeats the table."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import ScriptedBackend, small_spec

from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import VerifySpec
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.data.strata import stratify
from eprli_lab.errors import Interrupted
from eprli_lab.grading.grader import Grader
from eprli_lab.records import Grade, Group, Problem, Response
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.loop import Trainer
from eprli_lab.training.samples import distance, sample_rows

PROBLEM = Problem("p", "1a+1?", ("2",), 0.125)


def group(*made: tuple[str | None, float, bool], problem: Problem = PROBLEM) -> Group:
    """(answer, reward, truncated) of each response."""
    right = [answer in problem.answers for answer, _, _ in made]
    grades = [
        Grade(r, "exact" if r else "no_answer" if a is None else "wrong", a)
        for r, (a, _, _) in zip(right, made, strict=True)
    ]
    responses = [Response(f"text {i}", (1,), (5, 6), (-0.5, -0.5), cut) for i, (_, _, cut) in enumerate(made)]
    return Group(problem, "l1", tuple(responses), tuple(grades), tuple(r for _, r, _ in made), 0, "admitted")


def test_best_worst_truncated_and_near_by_hand():
    one = group(("9", 0.0, False), ("2", 1.0, False), (None, -0.5, True), ("3", 0.0, False))
    other = group(("2", 1.5, False), ("7", 0.0, True))
    rows = sample_rows(4, [one, other], 10)
    assert [(r["kind"], r["response"], r["reward"]) for r in rows] == [
        ("best", "text 0", 1.5),  # of the second group
        ("worst", "text 2", -0.5),  # which is the first that was cut off too: it stands once
        ("near", "text 3", 0.0),  # 3 is one away from 2
        ("other", "text 0", 0.0),
    ]
    assert rows[0] | {"prompt": ""} == {
        "step": 4, "level": "l1", "kind": "best", "problem": "p", "difficulty": 0.125, "prompt": "", "response": "text 0",
        "accepted": ["2"], "answer": "2", "correct": True, "status": "exact", "reward": 1.5, "tokens": 2,
        "truncated": False, "verdict": "admitted",
    }  # fmt: skip
    assert sample_rows(4, [one, other], 2) == rows[:2]
    assert sample_rows(4, [one, other], 0) == [] == sample_rows(4, [], 3)


def test_a_step_of_equal_rewards_has_no_worst():
    rows = sample_rows(1, [group(("2", 1.0, False), ("2", 1.0, False))], 4)
    assert [r["kind"] for r in rows] == ["best"]


def test_chat_prompts_are_written_out():
    chat = replace(PROBLEM, messages=(("system", "be brief"), ("user", "1+1?")))
    assert sample_rows(1, [group(("2", 1.0, False), problem=chat)], 1)[0]["prompt"] == "system: be brief\nuser: 1+1?"


@pytest.mark.parametrize(
    ("answer", "accepted", "apart"),
    [
        ("3", ("2",), 0.5),
        ("0.5", ("0.25",), 0.25),  # below 1 in shares of 1
        ("101", ("7", "100"), 0.01),
        ("x+1", ("x+2",), 1 - 2 * 2 / 6),  # two of three characters are the same
        (None, ("2",), math.inf),
        ("2", ("2",), math.inf),
        ("inf", ("2",), math.inf),
    ],
)
def test_distance_of_answers(answer, accepted, apart):
    grade = Grade(answer in accepted, "wrong", answer)
    assert distance(grade, replace(PROBLEM, answers=accepted)) == pytest.approx(apart)


def train(spec, directory: Path, stop_after: int | None = None) -> None:
    stops = {"n": 0}

    def stop() -> bool:
        stops["n"] += 1
        return stop_after is not None and stops["n"] > stop_after

    grader = Grader(VerifySpec())
    suites = {name: load_suite(name, suite) for name, suite in spec.evaluation.suites.items()}
    skill = lambda p, updates: 0.5
    try:
        Trainer(
            spec, ScriptedBackend(skill), grader, stratify(load_training(spec.data, 0), spec.curriculum), suites,
            RunStore(directory, spec.fingerprint()), lambda v, s: None, stop,
        ).run()  # fmt: skip
    finally:
        grader.close()


def test_resume_repeats_the_table_and_the_setting_changes_no_number(tmp_path):
    spec = small_spec("budget.amount=6000", "checkpoint.every_updates=3")
    train(spec, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(spec, tmp_path / "stopped", stop_after=4)
    with open(tmp_path / "stopped" / "samples.jsonl", "a") as f:
        f.write('{"after": "the checkpoint"}\n')
    train(spec, tmp_path / "stopped")
    none = parse_spec(spec.model_dump(mode="json") | {"tracking": {"samples_per_step": 0}})
    assert none.fingerprint() == spec.fingerprint()
    train(none, tmp_path / "none")
    for table in ("ledger", "outcomes", "samples"):
        assert (tmp_path / "whole" / f"{table}.jsonl").read_bytes() == (
            tmp_path / "stopped" / f"{table}.jsonl"
        ).read_bytes()
    for table in ("ledger", "outcomes"):
        assert (tmp_path / "whole" / f"{table}.jsonl").read_bytes() == (
            tmp_path / "none" / f"{table}.jsonl"
        ).read_bytes()
    assert not (tmp_path / "none" / "samples.jsonl").exists()
    rows = RunStore(tmp_path / "whole", "").rows("samples")
    steps = {r["step"] for r in RunStore(tmp_path / "whole", "").rows("ledger")}
    assert {r["step"] for r in rows} == steps and len(rows) <= 4 * len(steps)
    assert {r["level"] for r in rows} == {"l1", "l2"}
