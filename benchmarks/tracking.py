"""What tracking costs a run: 40 metrics a step, 300 steps, 20 ms of work a step, into a new SQLite store.

    python benchmarks/tracking.py

The same work is timed without and with a tracker, alternating. Prints the share of the training thread's time that
logging takes (goal: under 3%), and, beside it, what the writer thread costs in processor time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402

from eprli_lab.config.parse import parse_spec  # noqa: E402
from eprli_lab.tracking.run import RunTracker  # noqa: E402
from eprli_lab.tracking.store import prepare  # noqa: E402

STEPS, METRICS, WORK = 300, 40, 0.020
SUITE = {"generated": {"family": "mod10", "operations": [1]}}


def spec(directory: Path, seed: int):
    """A run that is only logged."""
    return parse_spec({
        "seed": seed,
        "curriculum": {"levels": {"l1": {"quality_threshold": 1.0, "max_response_tokens": 76}}},
        "budget": {"unit": "updates", "amount": STEPS},
        "model": {"name": "none", "config": {"model_type": "qwen3"}, "warmstart": {"steps": 1}},
        "data": {"name": "mod10", "generated": {"family": "mod10"}},
        "evaluation": {"suites": {"heldout_easy": SUITE}},
        "tracking": {"uri": f"sqlite:///{directory / 'mlflow.db'}"},
    })  # fmt: skip


def calibrate(matrix: np.ndarray) -> int:
    """Products of this matrix that take WORK seconds. Like torch, numpy releases the interpreter meanwhile."""
    for _ in range(50):
        matrix @ matrix
    began = time.perf_counter()
    for _ in range(400):
        matrix @ matrix
    return max(1, round(WORK / ((time.perf_counter() - began) / 400)))


def train(matrix: np.ndarray, products: int, tracker: RunTracker | None) -> tuple[float, float]:
    """(wall seconds of the steps and of the logging, seconds within log) of one run."""
    began, inside = time.perf_counter(), 0.0
    for step in range(1, STEPS + 1):
        for _ in range(products):
            matrix @ matrix
        if tracker is not None:
            before = time.perf_counter()
            tracker.log({f"buffer/l1/groups/m{i}": step + i / 7 for i in range(METRICS)}, step)
            inside += time.perf_counter() - before
    return time.perf_counter() - began, inside


def main() -> None:
    matrix = np.random.default_rng(0).standard_normal((192, 192)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        os.chdir(directory)
        assert prepare(spec(directory, 0).tracking)
        products = calibrate(matrix)
        plain, tracked, inside, waiting, processor = [], [], [], [], []
        for seed in range(3):
            plain.append(train(matrix, products, None)[0])
            tracker = RunTracker(spec(directory, seed), parent_run_id=None, run_id=None, run_dir=directory / str(seed))
            cpu = time.process_time()
            wall, seconds = train(matrix, products, tracker)
            processor.append(time.process_time() - cpu)
            began = time.perf_counter()
            tracker.finish("FINISHED", None)
            waiting.append(time.perf_counter() - began)
            tracked.append(wall)
            inside.append(seconds)
        base = min(plain)
        print(f"work alone {base:.2f} s, with tracking {min(tracked):.2f} s ({STEPS} steps, {METRICS} metrics each)")
        print(f"in log():                    {100 * min(inside) / base:5.2f}% of the run's time (goal < 3%)")
        print(f"the whole training thread:   {100 * (min(tracked) / base - 1):5.2f}%")
        print(f"waiting in finish():         {100 * min(waiting) / base:5.2f}%")
        print(f"processor time, all threads: {100 * (min(processor) / base - 1):5.2f}%")


if __name__ == "__main__":
    main()
