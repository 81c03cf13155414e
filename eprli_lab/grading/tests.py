r"""The verifier `tests`: a program out of a response is run in the sandbox, and right when all its tests pass.

What a problem's `checks` say, as JSON: `entry`, the function that is called; `format`, where a response holds its
program (grading/source.py); and either `calls`, [[arguments, value], ...], compared here, or `test`, Python with a
`check(candidate)`, which is run in a sandboxed process of its own (`before`: what it needs). Either way the program's
process never holds what is expected of it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Literal

from eprli_lab.config.sandbox import SandboxSpec
from eprli_lab.grading.inside.codec import decode
from eprli_lab.grading.sandbox import Ended, Sandbox, Session
from eprli_lab.grading.source import program_of
from eprli_lab.records import Grade

Verdict = Literal["exact", "wrong", "timeout"]
SHARE = 0.8  # of an answer's limit of time that its program gets, the first one's start of the sandbox included
CACHE_SIZE = 20_000
NO_NAMES: dict[str, Any] = {"dict": []}  # keyword arguments of a call


class Runner:
    """The sandboxes of one grading process, programs' and tests', and the verdicts that are known."""

    def __init__(self, limits: SandboxSpec, seconds: float) -> None:
        self.programs = Sandbox(limits, SHARE * seconds)
        self.tests = Sandbox(limits, SHARE * seconds)  # another server: no program sees a test in its memory
        self._known: OrderedDict[tuple[str, str], Verdict] = OrderedDict()

    def verdict(self, source: str, checks: str) -> Verdict:
        """Of a whole program. Raises SandboxError where the sandbox fails, KeyError and such for broken checks."""
        key = (source, checks)
        if key not in self._known:
            self._known[key] = self._verdict(source, json.loads(checks))
            if len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)
        return self._known[key]

    def _verdict(self, source: str, checks: dict[str, Any]) -> Verdict:
        session = self.programs.run()
        why = ""
        right = False
        try:
            if session.ask({"source": source, "entry": checks["entry"]}) == {"ready": True}:
                right = self._by_tests(session, checks) if "test" in checks else by_calls(session, checks["calls"])
        except Ended as ended:
            why = ended.why
        finally:
            usage = session.close()
        if right:
            return "exact"
        return "timeout" if session.out_of_time(why, usage) else "wrong"

    def _by_tests(self, program: Session, checks: dict[str, Any]) -> bool:
        """Do the tests pass, their calls answered by the program? Raises Ended."""
        with self.tests.run() as session:
            message = session.ask({"test": checks["test"], "before": checks["before"], "entry": checks["entry"]})
            while "call" in message:
                message = session.ask(program.ask(message))
            return message == {"passed": True}

    def close(self) -> None:
        """End the sandboxes."""
        self.programs.close()
        self.tests.close()


def by_calls(program: Session, calls: list[Any]) -> bool:
    """Does every call give its value, as Python's == says? What is compared is plain. Raises Ended."""
    for arguments, expected in calls:
        reply = program.ask({"call": [arguments, NO_NAMES]})
        try:
            if "value" not in reply or decode(reply["value"]) != decode(expected):
                return False
        except (ValueError, RecursionError):
            return False
    return True


_limits = (SandboxSpec(), 5.0)
_runner: Runner | None = None


def configure(limits: SandboxSpec, seconds: float) -> None:
    """Limits of this process's programs from now on; `seconds` for one answer in all."""
    global _limits, _runner
    _limits = (limits, seconds)
    if _runner is not None:
        _runner.close()
    _runner = None


def passed(response: str, answers: tuple[str, ...]) -> Grade:
    """The grade of a response by the checks that stand in `answers[0]`. Raises SandboxError."""
    global _runner
    checks = json.loads(answers[0])
    program = program_of(response, checks)
    if program is None:
        return Grade(False, "no_answer")
    if _runner is None:
        _runner = Runner(*_limits)
    verdict = _runner.verdict(program.source, answers[0])
    return Grade(verdict == "exact", verdict, program.answer)
