"""Errors as sentences and exit codes, for every command.

0: done. 1: a run failed. 2: the user's to mend. 130: interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

import click

from eprli_lab.errors import NOT_WRITABLE, NonFiniteError, UserError, shortened
from eprli_lab.escaping import shown
from eprli_lab.masking import MaskedFormatter

# What an OSError says of a path that names no file and no directory.
_NO_PLACE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
LONGEST = 1200  # characters of a sentence


def exit_code(
    work: Callable[[], int | None],
    interrupted: str = "interrupted; the same command begins again",
    output: str = "the output",
    unread: str = "",
) -> int:
    """Run `work`; its exit code (None: 0), or that of its error after one sentence on standard error.

    `interrupted` is said at Ctrl-C. `output` is what a full or read-only disk could not take where the error names no
    file. `unread`: the sentence for work that ended early because whoever reads standard output has gone (130); '':
    that reader had enough (0). Raises whatever is nobody's mistake but the program's.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no arrow shows a question mark
    if logging.lastResort is not None:  # what prints warnings where nobody has set up logging
        logging.lastResort.setFormatter(MaskedFormatter())
    try:
        code = work() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _write_nowhere()
        return _refuse(unread, 130) if unread else 0
    except KeyboardInterrupt:
        return _refuse(interrupted, 130)
    except NonFiniteError as error:
        return _refuse(f"the run failed: {error}", 1)
    except Exception as error:
        sentence = _mistake(error, output)
        if sentence is None:
            sys.excepthook = _print_masked
            raise
        return _refuse(sentence, 2)


def _mistake(error: Exception, output: str) -> str | None:
    """The sentence of an error that is the user's to mend, None for any other."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, click.ClickException):
        return f"{error.format_message().rstrip('.')}; --help says more"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        from eprli_lab.config.compose import hydra_error_sentence

        return hydra_error_sentence(error)  # some of Hydra's are OSErrors as well
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return f"{error.filename or output} cannot be written ({error.strerror})"
    if isinstance(error, OSError) and error.errno in _NO_PLACE and error.filename is not None:
        return f"{shortened(str(error.filename))} cannot be used ({error.strerror}): give another path"
    return None


def _print_masked(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """What Python prints of an error that nobody caught, without credentials: libraries quote the URI."""
    print(shown("".join(traceback.format_exception(kind, error, where))), end="", file=sys.stderr)


def _refuse(sentence: str, code: int) -> int:
    print(f"eprli_lab: {shown(in_one_line(sentence))}", file=sys.stderr)
    return code


def in_one_line(sentence: str) -> str:
    """The sentence as a terminal may show it: its control characters are escaped, of a very long one the middle goes.

    A file's name may hold a line end, a value an escape sequence of terminals, or half a surrogate pair.
    """
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 300]} ... {plain[-295:]}"


def _write_nowhere() -> None:
    """What is still buffered would fail once more when the interpreter ends, and change the exit code."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: a standard output that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
