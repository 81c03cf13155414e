"""Ten thousand finished runs in one store: what a table, a report, `status` and the start of a sweep cost there.

    python benchmarks/many_runs.py [--runs 10000] [--studies 1] [--steps 10] [--directory DIR]

Each study has 50 arms, planned as a sweep plans them; its runs have 40 metrics of STEPS steps and a trial in the
study's journal. MLflow and Optuna make store and journal; the runs are written by plain SQL (benchmarks/report.py) and
without waiting for the disk, since hours of `log_batch` would measure MLflow. Every command is a process of its own;
memory is its peak. The start of a sweep is measured by its parts: that of the finished study, with nothing left to do.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from report import ARMS, build, timed  # noqa: E402
from workers import make_plan  # noqa: E402

from eprli_lab.sweeping.agreement import agree  # noqa: E402
from eprli_lab.sweeping.lifecycle import start_study  # noqa: E402
from eprli_lab.sweeping.plan import Plan  # noqa: E402
from eprli_lab.sweeping.study import Study  # noqa: E402

T = TypeVar("T")


def plan_of(runs: int, study: str) -> Plan:
    """The sweep of one study."""
    plan = make_plan(runs, names=[f"a{i:02d}" for i in range(ARMS)])
    named = tuple(
        dataclasses.replace(run, spec=run.spec.model_copy(update={"study": study}), directory=Path("outputs") / study)
        for run in plan.runs
    )
    return dataclasses.replace(plan, study=study, runs=named)


def fill_journal(plan: Plan) -> None:
    """A complete trial for each run."""
    sync, os.fsync = os.fsync, lambda _: None
    try:
        study = Study(plan)
        for run in plan.runs:
            result = {"values": [0.5], "seconds": 1.0, "seed": run.seed}
            attributes: dict[str, Any] = {"arm": run.arm, "seed": run.seed, "directory": str(run.directory)}
            attributes |= {"owner": study.process_id, "epoch": study.presence.epoch, "results": json.dumps([result])}
            attributes["metrics"] = {"score": 0.5, "progress/tokens": 64000.0, "progress/updates": 60.0}
            complete = optuna.trial.TrialState.COMPLETE
            study.study.add_trial(optuna.trial.create_trial(state=complete, value=0.5, user_attrs=attributes))
        study.close()
    finally:
        os.fsync = sync


def part(name: str, action: Callable[[], T]) -> T:
    """What the action returns; prints its time."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = action()
    print(f"  {name:<24} {time.perf_counter() - wall:6.1f} s, CPU {time.process_time() - cpu:6.1f} s", flush=True)
    return out


def start(runs: int, study: str) -> None:
    """The start of a sweep whose runs are all there, by its parts."""
    plan = part("plan", lambda: plan_of(runs, study))
    part("description", lambda: plan.description)
    opened = part("open the study", lambda: Study(plan))
    parent = part("open the parent run", lambda: start_study(plan, []))
    complete = part("complete", opened.complete)
    agreed = part("agree with the store", lambda: agree(plan, complete, parent, []))
    assert not agreed.missing and not agreed.away, agreed
    assert part("claim", opened.claim) is None
    assert part("left", opened.left) == 0
    opened.close()


def make(studies: int, runs: int, steps: int) -> None:
    """Store and journals of so many studies with so many runs each."""
    for number in range(studies):
        plan = plan_of(runs, f"large{number}")
        part("the store", lambda p=plan: build(p.study, p.description, steps))
        part("the journal", lambda p=plan: fill_journal(p))
    size = Path("mlflow.db").stat().st_size / 2**20
    journal = Path("studies/large0.journal").stat().st_size / 2**20
    head = f"{studies} studies x {runs} runs x {steps} steps x 40 metrics"
    print(f"{head}: {size:.0f} MB; a journal {journal:.1f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000, help="in all")
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--directory", default=None, help="kept; a temporary one by default")
    parser.add_argument("--part", choices=("build", "start"), help="only this, in DIRECTORY")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    each = options.runs // options.studies
    script = str(Path(__file__).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        where = Path(options.directory or temporary).resolve()
        where.mkdir(exist_ok=True, parents=True)
        os.chdir(where)
        if options.part == "start":
            start(each, "large0")
            return
        if options.part == "build":
            make(options.studies, each, options.steps)
            return
        same = ("--directory", str(where), "--runs", str(options.runs), "--studies", str(options.studies))
        if not Path("mlflow.db").is_file():  # in another process: what it takes would be counted as its children's
            timed(script, "--part", "build", "--steps", str(options.steps), *same)
        for command in ("status large0", "table study=large0", "report study=large0"):
            timed("-m", "eprli_lab", *command.split())
        print("the start of a finished sweep, by its parts", flush=True)
        timed(script, "--part", "start", *same)
        os.chdir("/")


if __name__ == "__main__":
    main()
