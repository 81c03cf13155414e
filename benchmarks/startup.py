"""How fast the command line answers when nothing is to be computed: `python benchmarks/startup.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

CASES = {
    "(alone)": [],
    "--help": ["--help"],
    "report --help": ["report", "--help"],
    "run --help": ["run", "--help"],
    "--cfg job": ["--cfg", "job"],
    "refused config": ["budget.amount=-1"],
    "unknown sweep": ["-m", "sweep=levls"],
}


def seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "eprli_lab", *arguments], capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    for name, arguments in CASES.items():
        times = [seconds(arguments) for _ in range(5)]
        print(f"{name:<16} median {statistics.median(times):.2f} s of 5 (goal: under 1 s)")


if __name__ == "__main__":
    main()
