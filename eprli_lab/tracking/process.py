"""What tells a process from a later one with the same id."""

from __future__ import annotations

from pathlib import Path


def start_time(pid: int) -> str | None:
    """Boot id and start tick of a process; None for one that is gone or has ended, and where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id")
        # fields 3 (state; a zombie has ended) and 22 (start time) of proc(5)
        return None if fields[0] == "Z" else f"{boot.read_text().strip() if boot.exists() else ''}/{fields[19]}"
    except (OSError, IndexError):
        return None
