"""Small real work for the tests of the sweep engine: what a worker runs, and a controller to start as a process.

    python -m sweeping_work '{"arms": {...}, "seeds": [...]}' [behaviour]

Runs in the working directory. `behaviour.json` there says how the run "<arm>/<seed>" behaves: `steps`, `seconds` a
step, `kill_at` (SIGKILL itself at that step, once), `fail` (always), `fail_once` (at the first start), `hold_at` (wait
after that step), `say` (print), `objective`. As soon as there is a file `calm`, nothing waits and steps take no time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import Interrupted, UserError

if TYPE_CHECKING:  # a worker imports this file anew, and needs none of it
    from eprli_lab.sweeping.controller import StudyResult
    from eprli_lab.sweeping.plan import Plan

STEPS = 5


def expected(seed: int, steps: int = STEPS) -> float:
    """What `work` must return after so many steps, however often it was interrupted."""
    total = 0
    for step in range(steps):
        total = (31 * total + seed + step) % 1009
    return total / 1009


def one_run_done(plan: Plan) -> None:
    """A study whose first run is finished, with a score of .25."""
    from eprli_lab.sweeping.study import Study

    study = Study(plan)
    task = study.claim()
    assert task is not None
    study.succeed(task, {"score": 0.25}, 1.0)
    study.close()


def pause(seconds: float) -> None:
    """Sleep, but not for longer than until there is a file `calm`."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not Path("calm").exists():
        time.sleep(min(left, 0.02))


def work(
    spec_json: str, run_dir: str, parent: str | None, stop: Callable[[], bool], on_progress: Callable[[dict], None]
) -> dict[str, Any]:
    """Deterministic arithmetic with a checkpoint after every step."""
    spec = json.loads(spec_json)
    every = json.loads(Path("behaviour.json").read_text())
    how = every.get(f"{spec['arm']}/{spec['seed']}", every.get("curve/", {}))
    directory = Path(run_dir)
    state = directory / "state.json"
    step, total = json.loads(state.read_text()) if state.is_file() else (0, 0)
    with open(directory / "starts", "a") as f:
        f.write(f"{os.getpid()} {step}\n")
    if "say" in how:
        print(how["say"], flush=True)
        os.write(1, b"below python\n")
        subprocess.run(["sh", "-c", "echo of a child >&2"], check=True)
    steps = how.get("steps", STEPS)
    while step < steps:
        if stop():
            with open(directory / "ends", "a") as f:  # the last that it writes here
                f.write(f"{os.getpid()}\n")
            raise Interrupted(f"stopped after step {step}; state saved")
        total, step = (31 * total + spec["seed"] + step) % 1009, step + 1
        state.with_suffix(".tmp").write_text(json.dumps([step, total]))
        state.with_suffix(".tmp").replace(state)
        on_progress({"fraction": step / steps, "accuracy": 0.0})
        if "curve/" in every:  # a search that prunes between evaluations: the larger the rate, the better
            on_progress({"point": step, "value": spec["optim"]["learning_rate"] * step / steps})
        if how.get("kill_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if "fail" in how:
            raise UserError(how["fail"])
        if "fail_once" in how and len((directory / "starts").read_text().splitlines()) == 1:
            raise UserError(how["fail_once"])
        while how.get("hold_at") == step and not stop() and not Path("calm").exists():
            time.sleep(0.02)
        pause(how.get("seconds", 0.0))
    metrics = {"score": total / 1009, "progress/updates": float(steps), "amount": float(spec["budget"]["amount"])}
    if "curve/" in every:
        metrics["score"] = spec["optim"]["learning_rate"]
    if "objective" in how:
        metrics["score"] = how["objective"]
    metrics["threads"] = float(os.environ["OMP_NUM_THREADS"])
    return {"objective": how.get("objective", metrics["score"]), "metrics": metrics}


def tracked(spec_json: str, run_dir: str, parent: str | None, *_: Any) -> dict[str, Any]:
    """A run in the tracking store whose score says its learning rate, weight decay and seed."""
    from eprli_lab.config.parse import parse_spec
    from eprli_lab.tracking.run import RunTracker

    spec = parse_spec(json.loads(spec_json))
    luck = spec.seed - 1  # of the seeds 0, 1, 2: none on average
    score = 0.5 + spec.optim.learning_rate + spec.optim.weight_decay * (0.1 + 0.01 * luck) + 0.001 * luck
    tracker = RunTracker(spec, parent_run_id=parent, run_id=None, run_dir=Path(run_dir))
    values = {"score": score, "progress/updates": 500.0}
    tracker.log({"score": 0.1}, 0)
    tracker.log(values, 5)
    tracker.finish("FINISHED", None)
    return {"objective": score, "metrics": values}


def crash(*_: Any) -> dict[str, Any]:
    """A programming error."""
    return {"objective": 1 / 0}


def make_plan(node: dict[str, Any], command_line: list[str] | None = None) -> Plan:
    """A plan over the package's own configuration."""
    from eprli_lab.config.compose import compose_tree
    from eprli_lab.sweeping.plan import build_plan

    full = {"name": "study", "baseline": next(iter(node["arms"]), "a"), "seeds": [0]} | node
    return build_plan(compose_tree, full, "default", command_line or [])


def arms(*names: str) -> dict[str, Any]:
    """Arms that differ in their learning rate."""
    return {name: {"overrides": [f"optim.learning_rate={1 + i}e-4"]} for i, name in enumerate(names)}


def behave(**how: Any) -> None:
    """Write behaviour.json; a key `l1_0` means arm l1, seed 0."""
    content = {"/".join(key.rsplit("_", 1)): value for key, value in how.items()}
    Path("behaviour.json").write_text(json.dumps(content))


def run(plan: Plan, executor: str = "sweeping_work:work") -> StudyResult:
    """Take the study up, run it, let go of it. The environment's ON_HOST: as a process of that machine."""
    from eprli_lab.sweeping.controller import run_study
    from eprli_lab.sweeping.study import Study

    host = os.environ.get("ON_HOST")
    study = Study(plan, process_id=f"{host}:{os.getpid()}:1" if host else None)
    try:
        return run_study(plan, study, executor=executor, parent_run_id=None)
    finally:
        study.close()


if __name__ == "__main__":
    try:
        planned = make_plan(json.loads(sys.argv[1]), sys.argv[2:])
        result = run(planned.searching() if planned.search else planned)
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(130 if result.interrupted else 1 if result.failed else 0)
