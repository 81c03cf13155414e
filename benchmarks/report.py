"""Time and memory of a table and a report over a large store: 1,000 runs x 200 steps x 40 metrics.

python benchmarks/report.py [RUNS] [DIR]     # builds the store in DIR (a temporary one by default), then reads it

The store is made by MLflow (schema, experiment, parent run) and filled by plain SQL with 50 arms x 20 seeds of
synthetic runs; nothing in it was trained. Both commands run as processes of their own; memory is their peak.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking.description import StudyDescription
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.store import prepare

STEPS, ARMS = 200, 50
LEVELS = ("l1", "l2")
SUITES = ("heldout_easy", "heldout_medium", "heldout_hard")
BY_LEVEL = (
    "groups/generated", "groups/admitted", "groups/too_hard", "groups/too_easy", "groups/no_signal", "groups/errored",
    "fill_fraction", "reward_variance/within", "reward_variance/between",
)  # fmt: skip
POLICY = ("entropy", "approx_kl", "clip_fraction/low", "clip_fraction/high", "loss")


def metrics() -> list[str]:
    """Forty names of the catalogue."""
    names = [f"buffer/{lv}/{m}" for lv in LEVELS for m in BY_LEVEL]
    names += [f"policy/{lv}/{m}" for lv in LEVELS for m in POLICY]
    names += [f"eval/{s}/{m}" for s in SUITES for m in ("avg_at_k", "response_tokens")]
    names += ["score", "progress/tokens", "progress/updates", "time/total", "optim/lr", "optim/grad_norm"]
    assert len(names) == 40
    return names


def value(name: str, step: int, rng_seed: float, rng: random.Random) -> float:
    """A number of the right size."""
    if name in ("progress/tokens", "progress/updates", "time/total"):
        return step * {"progress/tokens": 300.0}.get(name, 1.0)
    if name.endswith("generated"):
        return 12.0
    if "/groups/" in name:
        return 6.0 if name.endswith("admitted") else 1.5
    return min(1.0, 0.3 + 0.5 * step / STEPS + rng_seed) + rng.uniform(-0.02, 0.02)


def described(runs: int) -> StudyDescription:
    """A study of so many runs, whose plan was not logged."""
    arms = tuple(f"a{i:02d}" for i in range(ARMS))
    return StudyDescription(question="How fast?", baseline=arms[0], arms=arms, seeds=tuple(range(runs // ARMS)))


def build(study: str, description: StudyDescription, steps: int = STEPS) -> None:
    """A finished run for every arm and seed of the study, in the working directory's store."""
    where = TrackingSpec()
    prepare(where)
    arms = description.arms
    parent = open_parent(where, study, description)
    db = sqlite3.connect("mlflow.db")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -1000000")  # 1 GB: run ids are random, and so are the places in the indexes
    of_parent = "SELECT experiment_id, artifact_uri FROM runs WHERE run_uuid = ?"
    experiment, template = db.execute(of_parent, (parent,)).fetchone()
    names, now = metrics(), int(time.time() * 1000)
    for i in range(len(arms) * len(description.seeds)):
        run, arm, seed = uuid.uuid4().hex, arms[i % len(arms)], description.seeds[i // len(arms)]
        rng = random.Random(i)
        rng_seed = random.Random(seed).gauss(0, 0.02) + 0.002 * (i % len(arms))
        row = {"run_uuid": run, "name": f"{arm}-{seed}", "source_type": "LOCAL", "status": "FINISHED"}
        row |= {"start_time": now, "end_time": now, "lifecycle_stage": "active", "user_id": "benchmark"}
        insert(db, "runs", [row | {"artifact_uri": template.replace(parent, run), "experiment_id": experiment}])
        tags = {"kind": "run", "study": study, "arm": arm, "seed": str(seed), "mlflow.parentRunId": parent}
        if arm in description.planned:
            tags["fingerprint"] = description.planned[arm][str(seed)]
        insert(db, "tags", [{"key": k, "value": v, "run_uuid": run} for k, v in tags.items()])
        params = {
            "algorithm.advantage": "group_norm",
            "seed": str(seed),
            "optim.learning_rate": str(1e-4 * (1 + i % len(arms))),
        }
        insert(db, "params", [{"key": k, "value": v, "run_uuid": run} for k, v in params.items()])
        points = [
            {
                "key": n,
                "value": value(n, s, rng_seed, rng),
                "timestamp": now + s,
                "run_uuid": run,
                "step": s,
                "is_nan": 0,
            }
            for n in names
            for s in range(1, steps + 1)
        ]
        insert(db, "metrics", points)
        insert(db, "latest_metrics", [p for p in points if p["step"] == steps])
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else the first reader would index a log of gigabytes
    db.close()


def insert(db: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """Rows of one table."""
    columns = ", ".join(rows[0])
    marks = ", ".join(f":{c}" for c in rows[0])
    db.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)


def timed(*command: str) -> None:
    """Run it; its seconds and peak memory."""
    start = time.perf_counter()
    out = None if command[0].endswith(".py") else subprocess.DEVNULL  # our own say what they measured
    with subprocess.Popen([sys.executable, *command], stdout=out) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{' '.join(command)} ended with {process.returncode}"
    cpu = usage.ru_utime + usage.ru_stime
    wall = time.perf_counter() - start
    print(f"{' '.join(command)}: {wall:.1f} s, CPU {cpu:.1f} s, peak {usage.ru_maxrss / 1024:.0f} MB", flush=True)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    root = Path(__file__).resolve().parent.parent
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(sys.argv[2] if len(sys.argv) > 2 else temporary)
        if not Path("mlflow.db").is_file():
            start = time.perf_counter()
            build("large", described(runs))
            size = Path("mlflow.db").stat().st_size / 2**20
            head = f"{runs} runs x {STEPS} steps x {len(metrics())} metrics"
            print(f"{head}: {size:.0f} MB, {time.perf_counter() - start:.0f} s to build", flush=True)
        timed("-m", "eprli_lab", "table", "study=large")
        timed("-m", "eprli_lab", "report", "study=large")


if __name__ == "__main__":
    main()
