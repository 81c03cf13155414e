"""Programs in a pseudo-terminal: what they wrote, and what a person sees of it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(
    command: list[str],
    columns: int,
    cwd: Path,
    environment: dict[str, str] | None = None,
    meanwhile: Callable[[str, int, int], None] = lambda written, pid, terminal: None,
    patience: float = 240.0,
) -> tuple[int, str]:
    """(exit code, everything that was written) of a command whose terminal has so many columns and 40 rows.

    `meanwhile` hears what was written so far, the process and its terminal, after every piece.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
        whole = {**kept, "TERM": "xterm-256color", **(environment or {})}
        os.execvpe(command[0], command, whole)  # readline may have set COLUMNS behind os.environ
    resize(terminal, columns)
    written = b""
    deadline = time.monotonic() + patience
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    piece = os.read(terminal, 65536)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                written += piece
            meanwhile(written.decode(errors="replace"), pid, terminal)
        else:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(terminal)
    return code, written.decode(errors="replace")


def resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))


def rows(written: str) -> list[str]:
    """Every row that was drawn, at whatever moment, without colours and movements of the cursor."""
    return [row.rstrip() for row in re.split(r"[\r\n]+", ESCAPE.sub("", written)) if row.strip()]


def cursor_is_shown(written: str) -> bool:
    """Whether the last word on the cursor was to show it."""
    hidden, shown = written.rfind("\x1b[?25l"), written.rfind("\x1b[?25h")
    return hidden <= shown
