"""Runs whose answers are programs: can this machine run them, and what shuts them in?"""

from __future__ import annotations

from eprli_lab.config.spec import VerifySpec
from eprli_lab.errors import UserError
from eprli_lab.grading.sandbox import Sandbox, SandboxError
from eprli_lab.records import Problem
from eprli_lab.training.doctor_finding import Finding

VERIFIER = "tests"


def sandbox_notes(verify: VerifySpec, problems: list[Problem]) -> tuple[str, ...]:
    """A sentence where programs are run without namespaces of their own; none where no problem's answer is a program.

    Raises UserError where they cannot be run at all.
    """
    if not any(p.verifier == VERIFIER for p in problems):
        return ()
    try:
        with Sandbox(verify.sandbox, verify.timeout_seconds) as box:
            box.run().close()
            said = box.protections()
    except SandboxError as error:
        raise UserError(f"verify.sandbox: {error}: run on a machine that allows it, or take other data") from None
    return (f"verify.sandbox: programs are run under {said}",) if box.mode == "plain" else ()


def refuse_idle(verify: VerifySpec, problems: list[Problem]) -> None:
    """Raises UserError for a grader or format of the run that no problem would be graded by."""
    if problems and all(p.verifier for p in problems) and (verify.grader, verify.format) != ("boxed", "boxed"):
        key = "grader" if verify.grader != "boxed" else "format"
        raise UserError(
            f"verify.{key}: every problem of this run says itself how it is graded ({problems[0].verifier}), so "
            f"{getattr(verify, key)} would do nothing: leave it out"
        )


def sandbox(verify: VerifySpec) -> Finding:
    """What shuts a program in on this machine; '-' where none can be run, which only data of programs needs."""
    try:
        with Sandbox(verify.sandbox, verify.timeout_seconds) as box:
            return Finding("sandbox", "ok", box.protections())
    except (SandboxError, UserError) as error:
        return Finding("sandbox", "-", str(error))
