"""Ray's errors as one sentence."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from eprli_lab.errors import UserError


@contextlib.contextmanager
def ray_sentences(what: str) -> Iterator[None]:
    """Ray's errors as one sentence; the same command goes on from the last checkpoint."""
    try:
        yield
    except Exception as error:
        import ray

        if not isinstance(error, ray.exceptions.RayError):
            raise
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(cause, UserError):
            raise cause from None
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [type(cause).__name__]
        if isinstance(cause, ray.exceptions.ActorDiedError) and "creation task" in lines[0]:
            lines = [creation_error(lines)]
        raise UserError(
            f"backend: the run's processes on Ray {what}: {type(cause).__name__}: {lines[0]} (their output is "
            "in Ray's session directory, by default /tmp/ray/session_latest/logs; the same command resumes)"
        ) from error


def creation_error(lines: Sequence[str]) -> str:
    """What an actor could not start for: the last exception of its trace with its message, on one line."""
    raised = [i for i, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)]
    said = lines[raised[-1] if raised else -1 :]
    return " ".join(line for line in said if not line.startswith("For further information"))[:400]
