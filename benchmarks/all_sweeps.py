"""Every sweep once, each ending in its table: `python benchmarks/all_sweeps.py [preset] [sweep ...] [key=value ...]`.

Runs in a new directory (or in $EPRLI_OUT), one process a core, each with one worker that it keeps from sweep to sweep:
a sweep's start and its report keep one core idle, and what is imported once is paid once. Prints the seconds of each,
and fails when one does not end in a table whose rows are all there.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from eprli_lab.sweeping.catalogue import names, planner
from eprli_lab.sweeping.command import run_plan
from eprli_lab.sweeping.workers import end_all


def one(name: str, preset: str, overrides: list[str], pool: list[Any]) -> bool:
    """One sweep; did it end in its table?"""
    began = time.perf_counter()
    out = io.StringIO()
    failed: object = "it did not end"
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            with planner() as plan_of:
                plan = plan_of(name, [f"preset={preset}", "study.workers=1", *overrides])
            failed = run_plan(plan, pool=pool).failed
        except Exception:
            traceback.print_exc()
    study = name if preset == "default" else f"{name}-{preset}"
    table = Path("reports") / study / "table.csv"
    rows = len(table.read_text().splitlines()) - 1 if table.is_file() else 0
    Path(f"{study}.log").write_text(out.getvalue())
    ended = not failed and "How it reads:" in out.getvalue() and rows >= 2
    print(f"{name:<22}{time.perf_counter() - began:6.1f} s  {rows} rows  {'ok' if ended else 'FAILED'}", flush=True)
    if not ended:
        print(out.getvalue()[-4000:], file=sys.stderr)
    return ended


def work(waiting: Any, ended: Any, preset: str, overrides: list[str]) -> None:
    """Sweep after sweep, until none is waiting."""
    pool: list[Any] = []
    try:
        while (name := waiting.get()) is not None:
            ended.put(one(name, preset, overrides, pool))
    finally:
        end_all(pool)


def main() -> int:
    preset = sys.argv[1] if len(sys.argv) > 1 else "smoke"
    overrides = [word for word in sys.argv[2:] if "=" in word]
    wanted = [word for word in sys.argv[2:] if "=" not in word] or names()
    where = Path(os.environ.get("EPRLI_OUT") or tempfile.mkdtemp(prefix="sweeps-"))
    where.mkdir(parents=True, exist_ok=True)
    os.chdir(where)
    whole = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    waiting, ended = context.Queue(), context.Queue()
    cores = os.cpu_count() or 1
    for name in [*wanted, *[None] * cores]:
        waiting.put(name)
    processes = [context.Process(target=work, args=(waiting, ended, preset, overrides)) for _ in range(cores)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    done = [ended.get() for _ in range(ended.qsize())]
    print(f"{len(wanted)} sweeps, {' '.join([f'preset={preset}', *overrides])}: {time.perf_counter() - whole:.0f} s")
    return 0 if len(done) == len(wanted) and all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
