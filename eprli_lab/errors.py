"""Errors that are the user's to mend: one clear sentence, exit code 2, no stack trace."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from eprli_lab.escaping import shown

# What an OSError says of a place that is full, read-only or another user's.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (*DISK_FULL, errno.EACCES, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """Something outside the program is wrong (config, file, command line, environment).

    The message is one sentence that says what, where and what to do. Entry points print it to
    standard error as ``eprli_lab: <message>`` and exit with code 2. Credentials in it are masked, control characters
    are written out.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))


class EngineError(UserError):
    """An engine's answer, or its weights, are not what was asked for: nothing is counted or trained with them."""


class NonFiniteError(Exception):
    """The loss or a gradient is NaN or infinite; the run stops as failed, its last checkpoint is good."""


class Interrupted(Exception):
    """Somebody asked the run to stop (Ctrl-C, SIGTERM); its state was saved at the last safe point."""


def shortened(text: str, most: int = 120) -> str:
    """The text, or its beginning and end where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 23]}...{text[-20:]}"


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`: a count before a noun whose plural ends in s."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def reason(error: BaseException) -> str:
    """The first line of what a library raised, of bounded length; its name where it says nothing."""
    return shortened((str(error).strip().splitlines() or [type(error).__name__])[0], 200)


def nearest(word: str, choices: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` when a choice is near to ``word``, else the choices, ready to append."""
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (choose from: {', '.join(choices)})" if choices else ""
