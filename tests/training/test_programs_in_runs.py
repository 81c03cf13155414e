"""Runs whose answers are programs: what a start says of the sandbox, and the doctor's row."""

from __future__ import annotations

import sys

import pytest

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import VerifySpec
from eprli_lab.data.families import generate
from eprli_lab.errors import UserError
from eprli_lab.grading import sandbox as room
from eprli_lab.training.programs import refuse_idle, sandbox, sandbox_notes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
PROBLEMS = generate(compose_spec(["data=code", "model=code", "data.generated.problems=4"]).data.generated, "train")


def test_a_start_says_when_there_are_no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_possible", ["plain"])
    (note,) = sandbox_notes(VerifySpec(), PROBLEMS)
    assert note.startswith("verify.sandbox: programs are run under seccomp") and "no namespaces" in note
    assert sandbox(VerifySpec()).verdict == "ok" and "no namespaces" in sandbox(VerifySpec()).measured


def test_a_machine_without_a_sandbox_is_refused_before_a_run_of_programs_and_only_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "platform", type("P", (), {"machine": lambda: "riscv", "system": lambda: "Linux"}))
    assert sandbox_notes(VerifySpec(), generate(compose_spec([]).data.generated, "train")[:4]) == ()
    with pytest.raises(UserError, match="this is Linux on riscv: grade there"):
        sandbox_notes(VerifySpec(), PROBLEMS)
    assert sandbox(VerifySpec()).verdict == "-"


def test_a_grader_that_no_problem_would_ask_is_refused() -> None:
    refuse_idle(VerifySpec(), PROBLEMS)
    chains = generate(compose_spec([]).data.generated, "train")[:4]
    refuse_idle(VerifySpec(grader="my:own"), [*PROBLEMS, *chains])  # it grades the others
    for given, words in (
        ({"grader": "my:own"}, "verify.grader: .* my:own"),
        ({"format": "hash"}, "verify.format: .* hash"),
    ):
        with pytest.raises(UserError, match=f"{words} would do nothing"):
            refuse_idle(VerifySpec(**given), PROBLEMS)
