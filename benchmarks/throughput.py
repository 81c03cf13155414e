"""CPU-seconds by part of a run, for the cost estimates of `eprli-lab sweeps`.

    python benchmarks/throughput.py            # prints, and writes eprli_lab/assets/throughput.json

For every shipped policy one short run: seconds a generated token (grading included), seconds a trained token and pass,
start-up of a run, and the mean response length. CPU-seconds of the process, so a busy machine changes little.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

time.perf_counter = time.process_time  # what the run's own clocks read: its CPU time

from eprli_lab.config.compose import compose_spec  # noqa: E402
from eprli_lab.config.paths import ASSETS_DIR  # noqa: E402
from eprli_lab.training.execute import assemble  # noqa: E402

MODELS = {
    "mod10_xs": "mod10",
    "mod10": "mod10",
    "mod10_m": "mod10",
    "mod10_l": "mod10",
    "int": "int",
    "program": "program",
    "ladder": "mod10",
    "ladder_half": "mod10",
    "interference": "interference",
    "rg_small": "rg_small",
}


def measure(model: str, data: str) -> tuple[str, dict[str, float]]:
    small = ["budget.amount=20000", "evaluation.samples=1", "evaluation.curve_points=0"]
    overrides = [f"model={model}", f"data={data}", *small]
    spec = compose_spec(overrides)
    logged: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        began = time.process_time()
        trainer, closing, _ = assemble(spec, Path(directory), lambda: False, lambda _: None)
        start = time.process_time() - began
        trainer.log = lambda values, step: [logged.setdefault(k, []).append(v) for k, v in values.items()]
        trainer.run()
        for close in closing:
            close()
    tokens = logged["progress/tokens"][-1]
    return spec.model.name, {
        "start": round(start, 2),
        "generate": (sum(logged["time/generate"]) + sum(logged["time/verify"])) / tokens,
        "train": sum(logged["time/update"]) / (tokens * _trained_share(logged)),
        "response_tokens": logged["response_tokens"][0],
    }


def _trained_share(logged: dict[str, list[float]]) -> float:
    """The share of the generated groups that was admitted, over all levels."""
    admitted = sum(sum(v) for k, v in logged.items() if k.endswith("/groups/admitted"))
    generated = sum(sum(v) for k, v in logged.items() if k.endswith("/groups/generated"))
    return admitted / generated


def main() -> None:
    models = dict(measure(model, data) for model, data in MODELS.items())
    cores = os.cpu_count()
    found = {"machine": f"{cores} cores, {platform.machine()}, one thread a run", "models": models}
    (ASSETS_DIR / "throughput.json").write_text(json.dumps(found, indent=1) + "\n")
    for name, rates in models.items():
        print(f"{name:<26}" + "  ".join(f"{k} {v:.3g}" for k, v in rates.items()))


if __name__ == "__main__":
    sys.exit(main())
