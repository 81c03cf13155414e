"""One run from its spec to its score: built, trained, tracked."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import DISK_FULL, Interrupted, UserError, nearest
from eprli_lab.files import write_whole
from eprli_lab.masking import masked
from eprli_lab.tracking import names
from eprli_lab.training.run_id import read_run_id, write_run_id

if TYPE_CHECKING:
    from eprli_lab.config.spec import RunSpec
    from eprli_lab.training.checkpoint import RunStore
    from eprli_lab.training.loop import Trainer
    from eprli_lab.training.prompts import PromptReport

FULL = (*DISK_FULL, errno.EFBIG)
DISK = (
    *FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.ENOENT, errno.EEXIST,
    errno.ENOTEMPTY, errno.ESTALE,
)  # fmt: skip


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

    spec, directory = parse_json(spec_json, "the spec of the run"), Path(run_dir)
    trainer, closing, prompts = assemble(spec, directory, stop, on_progress)
    try:
        with disk_sentences(trainer.store.last_good):
            return _tracked(trainer, spec, directory, parent_run_id, prompts)
    finally:
        for close in closing:
            close()


def _tracked(
    trainer: Trainer, spec: RunSpec, directory: Path, parent_run_id: str | None, prompts: PromptReport
) -> dict[str, Any]:
    """The run, logged; what `execute` returns."""
    from eprli_lab.backends.build import described
    from eprli_lab.tracking.run import RunTracker
    from eprli_lab.tracking.send import PRUNED
    from eprli_lab.training.inputs import data_inputs
    from eprli_lab.training.registering import register_policy

    resumed = trainer.store.find()
    owner = {"fingerprint": spec.fingerprint(), "study": spec.study, "arm": spec.arm}
    tracker = RunTracker(
        spec,
        parent_run_id=parent_run_id,
        run_id=read_run_id(directory, owner),
        run_dir=directory,
        resume_step=resumed.step if resumed else None,
        engine=described(trainer.backend),
        inputs=data_inputs(spec, trainer.strata, trainer.suites),
    )
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
            trainer.on_progress({"point": int(point + 1e-9), "value": values[spec.objective]})

    trainer.log = log
    try:
        write_run_id(directory, tracker.run_id, owner)
        write_whole(directory / "spec.json", dumped(spec))
        write_whole(directory / "prompts.json", json.dumps(prompts.content(), indent=1, ensure_ascii=False) + "\n")
        tracker.artifact(directory / "prompts.json", "")
        trainer.run()
        if spec.objective not in last:
            raise UserError(f"objective: no run logs '{spec.objective}'{nearest(spec.objective, last)}")
        _artifacts(directory, tracker, trainer.store)
        if spec.tracking.register is not None:
            register_policy(spec, directory, trainer.store.checkpoints()[-1], tracker)
        tracker.finish("FINISHED", "; ".join(trainer.starved) or None)
        trainer.store.seal()
    except Interrupted:
        tracker.finish("KILLED", PRUNED if trainer.stop() == PRUNED else "interrupted; state saved")
        raise
    except BaseException as error:
        with contextlib.suppress(OSError):  # the disk that failed may be the spool's too
            tracker.finish("FAILED", f"{type(error).__name__}: {error}")
        raise
    return {"objective": last[spec.objective], "metrics": last, "run_id": tracker.run_id, "starved": trainer.starved}


def dumped(spec: RunSpec) -> str:
    """The spec as JSON, without credentials."""
    tree = spec.model_dump(mode="json")
    shown = masked(tree)
    return spec.model_dump_json(indent=1) if shown == tree else json.dumps(shown, indent=1)


@contextlib.contextmanager
def disk_sentences(last_good: Callable[[], str]) -> Iterator[None]:
    """A disk that is full, read-only or gone, as one sentence. Raises UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        room = "free some space" if error.errno in FULL else "mend that"
        where = error.filename2 or error.filename or "the run's directory"
        raise UserError(
            f"{where} cannot be written or read ({os.strerror(error.errno)}); {last_good()}: {room}, and the same "
            "command resumes"
        ) from None


def assemble(
    spec: RunSpec, directory: Path, stop: Any, on_progress: Any
) -> tuple[Trainer, list[Callable[[], None]], PromptReport]:
    """Trainer of one run with its data, grader and backend; what must be closed after it; its first prompts."""
    from eprli_lab.backends.build import build_backend, build_rewarder
    from eprli_lab.grading.grader import Grader
    from eprli_lab.training.checkpoint import RunStore
    from eprli_lab.training.loop import Trainer
    from eprli_lab.training.policies import INITIAL
    from eprli_lab.training.problems import read_problems
    from eprli_lab.training.prompts import prompt_report
    from eprli_lab.training.start_evaluation import known_start

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
        store=RunStore(directory, spec.fingerprint(), spec.checkpoint.keep),
        log=lambda values, step: None,
        stop=stop,
        on_progress=on_progress,
        rewarder=build_rewarder(spec, backend),
        known=lambda: known_start(spec, backend, problems.suites),  # of no use to a run that goes on
    )
    trainer.store.remake = {INITIAL: trainer.begin}  # the engine holds the initial policy until a checkpoint is loaded
    return trainer, [grader.close, backend.close], prompts


def _artifacts(directory: Path, tracker: Any, store: RunStore) -> None:
    """Resolved spec, per-problem outcomes, the buffer's ledger and sampled responses (parquet) go to the run.

    Raises UserError for a table that is not what the run wrote.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eprli_lab.training.tables import TABLES

    store.tables.check()
    tracker.artifact(directory / "spec.json", "")
    for table in TABLES:
        if not (directory / f"{table}.jsonl").is_file():
            continue
        pq.write_table(pa.Table.from_pylist(store.rows(table)), directory / f"{table}.parquet")
        tracker.artifact(directory / f"{table}.parquet", "")
