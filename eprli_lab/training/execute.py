"""One run from its spec to its score: built, trained, tracked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import Interrupted, UserError, nearest
from eprli_lab.tracking import names

if TYPE_CHECKING:
    from eprli_lab.config.spec import RunSpec
    from eprli_lab.training.prompts import PromptReport


def execute(
    spec_json: str,
    run_dir: str,
    parent_run_id: str | None,
    stop: Callable[[], bool | str] = lambda: False,
    on_progress: Callable[[dict[str, float]], None] = lambda _: None,
) -> dict[str, Any]:
    """Train one run in this process, from its last checkpoint where `run_dir` holds one.

    `stop`: true, or why, when the run is to save and end. `on_progress` hears {"fraction", "accuracy"} after every
    step, and {"point", "value"} (the objective) at every evaluation after the start: point i of curve_points + 1.
    Returns {"objective", "metrics" (last values), "run_id", "starved"}. Raises UserError, NonFiniteError, Interrupted.
    """
    from eprli_lab.config.parse import parse_json
    from eprli_lab.tracking.run import RunTracker
    from eprli_lab.tracking.send import PRUNED

    spec = parse_json(spec_json, "the spec of the run")
    directory = Path(run_dir)
    trainer, closing, prompts = assemble(spec, directory, stop, on_progress)
    note = directory / "run.json"
    known = json.loads(note.read_text())["run_id"] if note.is_file() else None
    resumed = trainer.store.checkpoints()
    step = int(resumed[-1].name.split("-")[1]) if resumed else None
    tracker = RunTracker(spec, parent_run_id=parent_run_id, run_id=known, run_dir=directory, resume_step=step)
    note.write_text(json.dumps({"run_id": tracker.run_id}))
    (directory / "spec.json").write_text(spec.model_dump_json(indent=1))
    (directory / "prompts.json").write_text(json.dumps(prompts.content(), indent=1, ensure_ascii=False) + "\n")
    tracker.artifact(directory / "prompts.json", "")
    last: dict[str, float] = {}

    def log(values: dict[str, float], step: int) -> None:
        counters = trainer.grader.counters
        graded = {names.verification(k): float(counters.get(k, 0)) for k in ("timeout", "error", "no_answer")}
        graded[names.seconds("verify_lost")] = trainer.grader.seconds_lost
        last.update(values | graded)
        tracker.log(values | graded, step)
        if spec.objective in values and step > 0:
            share = trainer.state.progress.spent(spec.budget.unit) / spec.budget.amount
            point = min(1.0, share) * (spec.evaluation.curve_points + 1)
            on_progress({"point": int(point + 1e-9), "value": values[spec.objective]})

    trainer.log = log
    try:
        trainer.run()
        if spec.objective not in last:
            raise UserError(f"objective: no run logs '{spec.objective}'{nearest(spec.objective, last)}")
        _artifacts(directory, tracker)
        tracker.finish("FINISHED", "; ".join(trainer.starved) or None)
    except Interrupted:
        tracker.finish("KILLED", PRUNED if stop() == PRUNED else "interrupted; state saved")
        raise
    except BaseException as error:
        tracker.finish("FAILED", f"{type(error).__name__}: {error}")
        raise
    finally:
        for close in closing:
            close()
    return {"objective": last[spec.objective], "metrics": last, "run_id": tracker.run_id, "starved": trainer.starved}


def assemble(
    spec: RunSpec, directory: Path, stop: Any, on_progress: Any
) -> tuple[Any, list[Callable[[], None]], PromptReport]:
    """Trainer of one run with its data, grader and backend; what must be closed after it; its first prompts."""
    from eprli_lab.backends.build import build_backend
    from eprli_lab.grading.grader import Grader
    from eprli_lab.training.checkpoint import RunStore
    from eprli_lab.training.loop import Trainer
    from eprli_lab.training.problems import read_problems
    from eprli_lab.training.prompts import prompt_report

    problems = read_problems(spec)
    prompts = prompt_report(spec, problems)
    backend = build_backend(spec, directory)
    grader = Grader(spec.verify)
    trainer = Trainer(
        spec=spec,
        backend=backend,
        grader=grader,
        strata=problems.strata,
        suites=problems.suites,
        store=RunStore(directory, spec.fingerprint()),
        log=lambda values, step: None,
        stop=stop,
        on_progress=on_progress,
    )
    return trainer, [grader.close, backend.close], prompts


def _artifacts(directory: Path, tracker: Any) -> None:
    """Resolved spec, per-problem outcomes, the buffer's ledger and sampled responses (parquet) go to the run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eprli_lab.training.checkpoint import TABLES

    tracker.artifact(directory / "spec.json", "")
    for table in TABLES:
        if not (directory / f"{table}.jsonl").is_file():
            continue
        rows = [json.loads(line) for line in (directory / f"{table}.jsonl").read_text().splitlines()]
        pq.write_table(pa.Table.from_pylist(rows), directory / f"{table}.parquet")
        tracker.artifact(directory / f"{table}.parquet", "")
