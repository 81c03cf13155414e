"""Runs whose answers are programs: what a start says of the sandbox, and the doctor's row."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest
from helpers import small_spec

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import VerifySpec
from eprli_lab.data.families import generate
from eprli_lab.errors import UserError
from eprli_lab.grading import sandbox as room
from eprli_lab.training.execute import execute
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


@pytest.mark.slow
def test_a_run_samples_programs_runs_them_and_learns_from_their_verdicts(tmp_path: Path) -> None:
    levels = "curriculum.levels.l1"
    small = ("curriculum=l1", f"{levels}.buffer_groups=2", f"{levels}.group_size=8", "evaluation.curve_points=0")
    spec = small_spec(
        "data=code",
        "model=code",
        *small,
        "budget.unit=updates",
        "budget.amount=1",
        f"tracking.uri=sqlite:///{tmp_path}/m.db",
    )
    done = execute(spec.model_dump_json(), str(tmp_path), None)
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert done["metrics"]["progress/updates"] == 1.0 and done["metrics"]["verify/error"] == 0.0
    assert 0.0 < done["objective"] < 1.0 and "\\boxed{x" in json.dumps(rows).replace("\\\\", "\\")
    ledger = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert "admitted" in {row["verdict"] for row in ledger}
    assert not [p for p in psutil.Process().children(recursive=True) if "inside.server" in " ".join(p.cmdline())]
