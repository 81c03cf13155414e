"""What became of an input: accepted, or refused with one sentence. Anything else fails the test."""

from __future__ import annotations

import contextlib
import io
import signal
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, settings

from eprli_lab.cli.errors import LONGEST, exit_code

SECONDS = 60  # a hang, on the slowest machine


def examples(few: int, share: float = 1.0) -> Any:
    """`few` examples in an ordinary run of the tests, in the profile `nightly` a `share` of those that it says."""
    nightly = settings.get_profile("nightly").max_examples
    chosen = settings.default is not None and settings.default.max_examples == nightly
    return settings(
        max_examples=max(1, int(share * nightly)) if chosen else few, suppress_health_check=list(HealthCheck)
    )


def outcome(work: Callable[[], Any]) -> str:
    """'' when `work` was accepted, else its sentence. What is no UserError is raised; a hang is a TimeoutError."""
    said = io.StringIO()
    with _at_most(SECONDS), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = exit_code(lambda: _nothing(work()))
        except SystemExit as end:  # of a library that prints its help
            code = int(end.code or 0)
            assert code == 0, said.getvalue()
    assert code in (0, 1, 2)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("eprli_lab: ")]
    if code == 2:
        assert lines and len(lines) == len(set(lines)), said.getvalue()  # one of each directory of `upload`
        assert all(len(line) <= LONGEST + 40 for line in lines)
        assert "Traceback" not in said.getvalue()
    return lines[0].removeprefix("eprli_lab: ") if code == 2 else ""


def _nothing(answer: Any) -> int:
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else 0


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"no answer in {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
