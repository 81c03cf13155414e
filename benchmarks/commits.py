"""A default run at two commits, CPU-seconds of sampling, updates and the whole: `python benchmarks/commits.py CHECKOUT`.

CHECKOUT holds the other commit (`git worktree add CHECKOUT COMMIT`). The runs take turns, each in a process of its own,
one thread; what is counted begins behind the imports. Ratios are those of a seed, their median and range.
Words of the command line behind CHECKOUT are overrides of both runs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SEEDS = range(4)
PARTS = ("sample", "update", "whole")
OVERRIDES = ["curriculum=l1", "budget.amount=30000"]
RUN = """
import json, sys, tempfile, time
from pathlib import Path
from eprli_lab.config.compose import compose_spec
from eprli_lab.training.execute import assemble

spent = {"sample": 0.0, "update": 0.0}

def timed(name, call):
    def wrapper(*args, **kwargs):
        began = time.process_time()
        answer = call(*args, **kwargs)
        spent[name] += time.process_time() - began
        return answer
    return wrapper

spec = compose_spec(sys.argv[1:])
with tempfile.TemporaryDirectory() as directory:
    trainer, *_ = assemble(spec, Path(directory), lambda: False, lambda _: None)
    for name in ("sample", "update"):
        setattr(trainer.backend, name, timed(name, getattr(trainer.backend, name)))
    began = time.process_time()
    score = trainer.run()["score"]
    spent["whole"] = time.process_time() - began
print(json.dumps(spent | {"score": score}))
"""


def spent(checkout: Path, seed: int, overrides: list[str]) -> dict[str, float]:
    """CPU-seconds of one run of a checkout, and its score."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    words = [*OVERRIDES, *overrides, f"seed={seed}"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], env=environment, capture_output=True, text=True, check=True
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    checkouts = {"other": Path(sys.argv[1]).resolve(), "this": Path(__file__).resolve().parent.parent}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    spent(checkouts["this"], 0, ["budget.amount=500", *sys.argv[2:]])  # the compiled loop is made once a machine
    for seed in SEEDS:
        for name, checkout in checkouts.items():
            rows[name].append(spent(checkout, seed, sys.argv[2:]))
    for name, of in rows.items():
        seconds = ", ".join(f"{k} {statistics.median(r[k] for r in of):.2f}" for k in PARTS)
        print(f"{name}: {seconds} CPU-s; scores", *(round(r["score"], 3) for r in of))
    for key in PARTS:
        ratios = sorted(a[key] / b[key] for a, b in zip(rows["other"], rows["this"], strict=True))
        print(f"{key}: other / this {statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]")


if __name__ == "__main__":
    main()
