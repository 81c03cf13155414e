"""Which process: host, process id and the process's start, so that a reused id is not taken for the one before."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one machine. Written as `host:pid:start`, or as the tags host, pid and process_start."""

    host: str
    pid: int
    start: str = ""  # boot id and start tick; empty where there is no /proc

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), start_time(os.getpid()) or "")

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity:
        """Of `host:pid:start`. Raises ValueError for another text."""
        host, pid, start = text.rsplit(":", 2)
        return cls(host, int(pid), start)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> ProcessIdentity:
        """Of a tracked run's tags; of tags that name no process, one that is not alive."""
        pid = tags.get("pid", "")
        return cls(tags.get("host", ""), int(pid) if pid.isdecimal() else 0, tags.get("process_start", ""))

    def to_tags(self) -> dict[str, str]:
        """Tags of a tracked run."""
        tags = {"host": self.host, "pid": str(self.pid)}
        return tags | ({"process_start": self.start} if self.start else {})

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.start}"

    @property
    def is_local(self) -> bool:
        """Is it a process of this host?"""
        return self.host == socket.gethostname()

    def is_alive(self, elsewhere: bool = True) -> bool:
        """Is it still there? Of a process of another host nothing is known: `elsewhere` is the answer."""
        if not self.is_local:
            return elsewhere
        start = start_time(self.pid)
        if start is None:
            return _answers(self.pid)
        return self.start in ("", start)


def start_time(pid: int) -> str | None:
    """Boot id and start tick of a process; None for one that is gone or has ended, and where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id")
        # fields 3 (state; a zombie has ended) and 22 (start time) of proc(5)
        return None if fields[0] == "Z" else f"{boot.read_text().strip() if boot.exists() else ''}/{fields[19]}"
    except (OSError, IndexError):
        return None


def _answers(pid: int) -> bool:
    """Is there a process with this id, as far as a signal tells? For one whose start cannot be read."""
    if pid <= 0:  # these mean process groups
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's, which /proc may hide
        return True
    except (OSError, OverflowError):
        return False
    return not Path("/proc/self/stat").exists()  # where there is a /proc, it has just said that this one has ended
