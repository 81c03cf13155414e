"""Who owns a piece of work: host, process id and the process's start time, so that a reused id fools nobody."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def start_time(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot, where the system tells; None for none such."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]  # a zombie has ended


def me() -> str:
    """`host:pid:start` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}:{start_time(os.getpid()) or ''}"


def alive(owner: str) -> bool:
    """Is that process still there? Of another host nothing is known: assumed alive."""
    host, pid, began = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    if not began:  # a system without /proc
        try:
            os.kill(int(pid), 0)
        except OSError:
            return False
        return True
    return start_time(int(pid)) == began
