"""Locks that the system lets go of when their process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from eprli_lab.tracking.process import ProcessIdentity


class LockHeldError(Exception):
    """Another process has the lock; the text is its identity, `host:pid:start` (empty when it did not say)."""


def lock(path: Path) -> IO[str] | None:
    """Lock a file for as long as the result stays open; None where the file system knows no locks.

    The file then holds this process's identity. Raises LockHeldError when another process has the lock.
    """
    while True:
        file = open(path, "a+", errors="replace")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                raise LockHeldError(file.read().strip()) from None
        except OSError:
            file.close()
            return None
        if is_there(path, file.fileno()):
            break
        file.close()  # somebody removed it meanwhile, and others lock the next one
    file.truncate(0)
    file.write(str(ProcessIdentity.current()))
    file.flush()
    return file


def is_there(path: Path, handle: int) -> bool:
    """Is the open file still the one of that name?"""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False
