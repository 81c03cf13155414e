"""Who owns a piece of work: host, process id and the process's start time, so that a reused id fools nobody.

And locks that the system lets go of when their process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from eprli_lab.tracking.process import start_time


def process_id() -> str:
    """`host:pid:start` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}:{start_time(os.getpid()) or ''}"


def is_alive(owner: str, elsewhere: bool = True) -> bool:
    """Is that process still there? Of another host nothing is known: `elsewhere` is the answer."""
    host, pid, began = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return elsewhere
    if not began:  # a system without /proc
        try:
            os.kill(int(pid), 0)
        except OSError:
            return False
        return True
    return start_time(int(pid)) == began


def is_local(owner: str) -> bool:
    """Is that a process of this host?"""
    return owner.rsplit(":", 2)[0] == socket.gethostname()


class LockHeldError(Exception):
    """Another process has the lock; the text is its owner (empty when it did not say)."""


def lock(path: Path) -> IO[str] | None:
    """Lock a file for as long as the result stays open; None where the file system knows no locks. Raises Held."""
    file = open(path, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            raise LockHeldError(file.read().strip()) from None
    except OSError:
        file.close()
        return None
    file.truncate(0)
    file.write(process_id())
    file.flush()
    return file
