"""The witness of a journal: a small file beside it that says how long the journal is, and a digest of it.

It is written after each append, in place: less than a sector, which is there as a whole or not at all. So the journal
may be longer than its witness says (a kill between the two), and is never shorter unless something cut it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from eprli_lab.errors import UserError
from eprli_lab.files import seal, unseal

WIDTH = 256  # bytes of the file, always


@dataclass(frozen=True)
class Known:
    """What a witness says."""

    size: int  # bytes
    lines: int
    digest: str


class Witness:
    """Beside `<journal>`: `<journal>.witness`."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.path = journal.with_name(f"{journal.name}.witness")

    def read(self) -> Known | None:
        """None where there is none: the journal of an earlier version, or a user removed it to go on.

        Raises UserError for a damaged one.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}): make it readable, or remove it") from None
        if not data:  # made on a full disk, or a power cut took it before it was ever synced
            return None
        try:
            if len(data) != WIDTH:
                raise ValueError("another width")
            entry = unseal(data.decode())
            return Known(int(entry["size"]), int(entry["lines"]), str(entry["digest"]))
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{self.path} is damaged, so nobody can tell whether {self.journal} is whole: restore both from a "
                "copy, or remove it to go on with what the journal holds"
            ) from None

    def check_missing(self) -> None:
        """There is no journal: raises UserError when there was one."""
        known = self.read()
        if known is not None and known.size:
            raise UserError(
                f"{self.journal} is gone: it held {known.lines} lines: restore it from a copy, or remove {self.path} "
                "to begin anew (finished runs are taken from outputs/ as they are)"
            )

    def write(self, size: int, lines: int, digest: str) -> None:
        """A full disk is no error: the journal may be longer than its witness says."""
        line = seal({"size": size, "lines": lines, "digest": digest})[:-1]
        with contextlib.suppress(OSError):
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.pwrite(handle, (line.ljust(WIDTH - 1) + "\n").encode(), 0)
            finally:
                os.close(handle)
