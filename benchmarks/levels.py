"""The main job, timed: `python benchmarks/levels.py [smoke|default]`.

Wall time and CPU time of the whole sweep (workers included) in a new directory, CPU time a run, and the largest
resident memory of a worker.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time

GOALS = {"smoke": 90, "default": 360}
RUNS = {"smoke": 10, "default": 20}


def main() -> None:
    preset = sys.argv[1] if len(sys.argv) > 1 else "smoke"
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        command = [sys.executable, "-m", "eprli_lab.run", "-m", "sweep=levels", f"preset={preset}"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        wall = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(done.stdout[done.stdout.index("arm ") : done.stdout.index("How it reads")])
    print(f"preset={preset}: {wall:.0f} s wall (goal: under {GOALS[preset]}), {cpu:.0f} CPU-seconds in all")
    print(f"  {cpu / RUNS[preset]:.1f} CPU-seconds a run, start-up, table and figures included (goal: under 25)")
    print(f"  largest process {used.ru_maxrss / 1024:.0f} MB (goal: under 1000)")


if __name__ == "__main__":
    main()
