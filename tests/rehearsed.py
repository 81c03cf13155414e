"""Whole rehearsed runs for tests: how they are started, and which of their processes are left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
from conftest import REPO

SMALL = [
    "backend=openrlhf_cpu",
    "budget.amount=20000",
    "checkpoint.every_updates=1",
    "evaluation.samples=1",
    "evaluation.boundary_problems=8",
    "evaluation.curve_points=0",
    *[f"evaluation.suites.heldout_{d}.generated.problems=32" for d in ("easy", "medium", "hard")],
]

# Small updates, some in each level within seconds.
QUICK = (
    "budget.amount=5000",
    *(f"curriculum.levels.{lv}.{n}" for lv in ("l1", "l2") for n in ("group_size=4", "buffer_groups=3")),
)

MARK = "EPRLI_TEST_MARK"
os.environ[MARK] = uuid.uuid4().hex  # of what these tests start, whatever else runs on this machine


def ours() -> Iterator[tuple[int, str, str]]:
    """(id, name, command line or title) of the processes that these tests started, and those started."""
    for p in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if p.environ().get(MARK) == os.environ[MARK]:
                yield p.pid, p.name(), " ".join(p.cmdline())


def processes() -> set[int]:
    """Ray's processes by name, its workers and vLLM's by their titles."""
    return {
        pid
        for pid, name, words in ours()
        if name in ("raylet", "gcs_server") or any(w in words for w in ("ray::", "default_worker.py", "VLLM::"))
    }


def gone(before: set[int], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while processes() - before and time.monotonic() < end:
        time.sleep(0.5)
    return not processes() - before


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "eprli_lab.run", *SMALL, *overrides]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}


def start(where: Path, *overrides: str, process_group: int | None = None) -> subprocess.Popen[str]:
    where.mkdir(parents=True, exist_ok=True)
    log = open(where / "log", "a")
    return subprocess.Popen(
        command(*overrides),
        cwd=where,
        env=environment(),
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=process_group,
    )
