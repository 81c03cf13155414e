"""Two commits of this repository side by side: the same training run in both, CPU time and instructions as ratios.

    python benchmarks/compare.py BEFORE [AFTER] [--repeats 5] [--limit 1.1] [-- OVERRIDE...]

BEFORE and AFTER (default: HEAD) are checked out beside this tree, for the time of the comparison; OVERRIDES are those
of `python -m eprli_lab.run`, by default a run of 16,000 tokens. The commits take turns, every run in a directory of its
own, with one thread, start-up included. CPU-seconds are those of the process and its children; instructions are counted
where `perf` is installed and may. Says whether the runs' numbers are the same, and ends with exit code 1 when the
median ratio AFTER : BEFORE is above the limit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN = ("curriculum=l2", "budget.amount=16000", "evaluation.curve_points=1")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
NUMBERS = ("ledger.jsonl", "outcomes.jsonl")  # of a run's directory: what it drew, and how it scored


@dataclass(frozen=True)
class Cost:
    """Of one run."""

    cpu: float  # s
    instructions: float | None  # in user space
    numbers: str  # digest of what the run drew and scored


def git(*arguments: str) -> str:
    """What git says. Ends with its sentence when it refuses."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return done.stdout.strip()


def perf_works() -> bool:
    """May `perf` count instructions here?"""
    if shutil.which("perf") is None:
        return False
    done = subprocess.run(["perf", "stat", "-x,", "-e", "instructions:u", "true"], capture_output=True, text=True)
    return done.returncode == 0 and done.stderr.split(",")[0].strip().isdigit()  # not where it is <not supported>


def run(tree: Path, overrides: list[str], count: bool) -> Cost:
    """One run of a checked out commit in a new directory. Ends with the run's last words when it fails."""
    with tempfile.TemporaryDirectory() as name:
        counted = Path(name) / "perf.txt"
        perf = ["perf", "stat", "-x,", "-e", "instructions:u", "-o", str(counted), "--"] if count else []
        environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(tree)}
        with open(Path(name) / "log", "w") as log:
            command = [*perf, sys.executable, "-m", "eprli_lab.run", *overrides]
            process = subprocess.Popen(command, cwd=name, env=environment, stdout=log, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{(Path(name) / 'log').read_text()[-2000:]}")
        total = hashlib.sha256()
        for file in sorted(f for pattern in NUMBERS for f in Path(name).rglob(pattern)):
            total.update(file.read_bytes())
        lines = counted.read_text().splitlines() if count else []
        instructions = next((float(line.split(",")[0]) for line in lines if "instructions" in line), None)
        return Cost(usage.ru_utime + usage.ru_stime, instructions, total.hexdigest()[:12])


def ratios(before: list[float], after: list[float]) -> str:
    """Median (range) of AFTER : BEFORE, pair by pair."""
    values = [a / b for a, b in zip(after, before, strict=True)]
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def report(names: tuple[str, str], costs: tuple[list[Cost], list[Cost]]) -> tuple[str, float]:
    """(lines, the median ratio of CPU-seconds)."""
    before, after = ([c.cpu for c in side] for side in costs)
    lines = [
        f"{name}: {statistics.median(cpu):.2f} CPU-s a run ({min(cpu):.2f} to {max(cpu):.2f}, {len(cpu)} runs)"
        for name, cpu in zip(names, (before, after), strict=True)
    ]
    lines.append(f"CPU-seconds, {names[1]} : {names[0]}: {ratios(before, after)}")
    counts = [[c.instructions for c in side if c.instructions is not None] for side in costs]
    if all(len(c) == len(before) for c in counts):
        lines.append(f"instructions, {names[1]} : {names[0]}: {ratios(counts[0], counts[1])}")
    else:
        lines.append("instructions: not counted (perf is not installed, or may not count here)")
    digests = [{c.numbers for c in side} for side in costs]
    if any(len(d) > 1 for d in digests):
        lines.append("numbers: they differ between repeats of one commit")
    else:
        lines.append(f"numbers: {'the same' if digests[0] == digests[1] else 'others'} in both")
    return "\n".join(lines), statistics.median([a / b for a, b in zip(after, before, strict=True)])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.1, help="of the median ratio; above it the exit code is 1")
    words = sys.argv[1:]
    overrides = words[words.index("--") + 1 :] if "--" in words else list(RUN)
    options = parser.parse_args(words[: words.index("--")] if "--" in words else words)
    commits = [git("rev-parse", "--short", f"{name}^{{commit}}") for name in (options.before, options.after)]
    count = perf_works()
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    with tempfile.TemporaryDirectory() as directory:
        trees = [Path(directory) / side for side in ("before", "after")]
        try:
            for tree, commit in zip(trees, commits, strict=True):
                git("worktree", "add", "--detach", str(tree), commit)
            for repeat in range(options.repeats):
                for side in (0, 1) if repeat % 2 == 0 else (1, 0):
                    costs[side].append(run(trees[side], overrides, count))
        finally:
            for tree in trees:
                subprocess.run(
                    ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], capture_output=True
                )
    names = (f"{options.before} ({commits[0]})", f"{options.after} ({commits[1]})")
    lines, ratio = report(names, costs)
    print(f"python -m eprli_lab.run {' '.join(overrides)}\n{lines}")
    return int(ratio > options.limit)


if __name__ == "__main__":
    sys.exit(main())
