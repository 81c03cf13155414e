"""Every sweep once, each ending in its table: `python benchmarks/all_sweeps.py [preset] [sweep ...]`.

Runs in a new directory (or in $EPRLI_OUT), one sweep a core at a time with one worker each (a sweep's start and its
report keep one core idle), prints the seconds of each, and fails when one does not end in a table whose rows are all
there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eprli_lab.sweeping.catalogue import names


def one(name: str, preset: str, where: Path) -> bool:
    """One sweep in its own process; did it end in its table?"""
    began = time.perf_counter()
    command = [sys.executable, "-m", "eprli_lab.run", "-m", f"sweep={name}", f"preset={preset}", "study.workers=1"]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
    study = name if preset == "default" else f"{name}-{preset}"
    table = where / "reports" / study / "table.csv"
    rows = len(table.read_text().splitlines()) - 1 if table.is_file() else 0
    (where / f"{study}.log").write_text(done.stdout + done.stderr)
    ended = done.returncode == 0 and "How it reads:" in done.stdout and rows >= 2
    print(f"{name:<18}{time.perf_counter() - began:6.1f} s  {rows} rows  {'ok' if ended else 'FAILED'}", flush=True)
    if not ended:
        print(done.stdout[-2000:] + done.stderr[-2000:], file=sys.stderr)
    return ended


def main() -> int:
    preset = sys.argv[1] if len(sys.argv) > 1 else "smoke"
    wanted = sys.argv[2:] or names()
    where = Path(os.environ.get("EPRLI_OUT") or tempfile.mkdtemp(prefix="sweeps-"))
    where.mkdir(parents=True, exist_ok=True)
    whole = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        ended = list(pool.map(lambda name: one(name, preset, where), wanted))
    print(f"{len(wanted)} sweeps, preset={preset}: {time.perf_counter() - whole:.0f} s")
    return 0 if all(ended) else 1


if __name__ == "__main__":
    sys.exit(main())
