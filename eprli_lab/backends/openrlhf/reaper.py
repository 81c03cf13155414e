"""No process of a run's own Ray outlives the run: `python -m eprli_lab.backends.openrlhf.reaper PID`.

Ray's servers die with a driver that is killed, but some of its agents go on for minutes. A process beside the driver
notes the driver's descendants while it lives (nothing tells them once they are orphans), and ends them after it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

LOOK, PAUSE, SWEEPS = 1.0, 0.25, 12  # s between two looks at a living driver, s between sweeps after it, sweeps


def start() -> subprocess.Popen[bytes] | None:
    """The one reaper of this process, however many runs it makes; None where there is no /proc to look into."""
    return _beside(os.getpid()) if Path("/proc/self/stat").is_file() else None


@cache
def _beside(driver: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eprli_lab.backends.openrlhf.reaper", str(driver)]
    package = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL)


def table() -> dict[int, tuple[int, str]]:
    """pid -> (parent, start time) of every process."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                found[int(directory.name)] = (int(fields[1]), fields[19])
    return found


def descendants(roots: set[int], processes: dict[int, tuple[int, str]]) -> set[int]:
    """All processes below the roots, without the roots."""
    out: set[int] = set()
    while fresh := {p for p, (parent, _) in processes.items() if parent in roots | out} - out - roots:
        out |= fresh
    return out


def watch(driver: int) -> None:
    """Until the driver is gone; then end what it left."""
    known: dict[int, str] = {}
    while os.getppid() == driver:
        processes = table()
        known |= {p: processes[p][1] for p in descendants({driver}, processes)}
        known = {p: began for p, began in known.items() if p in processes and p != os.getpid()}
        time.sleep(LOOK)
    for _ in range(SWEEPS):
        processes = table()
        left = {p for p, began in known.items() if processes.get(p, (0, ""))[1] == began}
        for p in left | descendants(left, processes):
            known[p] = processes[p][1]
            with contextlib.suppress(OSError):
                os.kill(p, signal.SIGKILL)
        time.sleep(PAUSE)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    watch(int(sys.argv[1]))
