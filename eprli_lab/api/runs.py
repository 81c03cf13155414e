"""One run in this process, and what came of it."""

from __future__ import annotations

import contextlib
import functools
import html
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import Interrupted, UserError
from eprli_lab.training.single import SuiteAccuracy, end_run, policy_of, start_run

if TYPE_CHECKING:
    import pandas as pd

    from eprli_lab.config.spec import RunSpec


@dataclass(frozen=True)
class RunResult:
    """A run that came to its end."""

    spec: RunSpec
    run_id: str | None  # of MLflow; None while its store cannot be reached (eprli-lab upload sends it later)
    score: float  # mean accuracy over the suites after training, 0 to 1
    metrics: Mapping[str, float] = field(repr=False)  # last value of every metric (docs/metrics.md)
    suites: Mapping[str, SuiteAccuracy]  # accuracy before (start) and after (final) training, 0 to 1
    directory: Path  # absolute: tables, checkpoint, spec.json
    checkpoint: Path  # the trained policy
    warnings: tuple[str, ...] = ()  # prompts that differ or were left out; levels with too few problems to learn from

    @functools.cached_property
    def outcomes(self) -> pd.DataFrame:
        """One row a (stage, suite, problem): stage, step, suite, problem, difficulty, samples, correct."""
        return self._table("outcomes")

    @functools.cached_property
    def ledger(self) -> pd.DataFrame:
        """One row a generated group, in the order of training: step, level, difficulty, verdict, accuracy and more."""
        return self._table("ledger")

    @property
    def accuracies(self) -> pd.DataFrame:
        """One row a suite: suite, start, final (accuracies, 0 to 1)."""
        import pandas as pd

        return pd.DataFrame([{"suite": suite, **pair._asdict()} for suite, pair in self.suites.items()])

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        from eprli_lab.training.checkpoint import RunStore

        if not self.directory.is_dir():
            raise UserError(f"the directory {self.directory} of the run is gone, and its {name} with it")
        return pd.DataFrame(RunStore(self.directory, "").rows(name))

    def __str__(self) -> str:
        lines = [f"run {self.directory.name}: score {self.score:.3f}"]
        lines += [f"  {suite:<18}{pair.start:.3f} -> {pair.final:.3f}" for suite, pair in self.suites.items()]
        return "\n".join([*lines, *(f"  warning: {sentence}" for sentence in self.warnings)])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def train(
    spec: RunSpec,
    *,
    directory: str | Path | None = None,
    on_progress: Callable[[dict[str, float]], None] | None = None,
    resume: bool = True,
) -> RunResult:
    """Train one run in this process, on the path of the command line: checked, trained, evaluated, tracked.

    `directory`: where the run keeps its state; None for outputs/run-<fingerprint> in the working directory, where a
    finished run is left alone and the next one takes a number. `resume`: go on from the last checkpoint of an
    unfinished run of the same spec; False: begin anew beside it. `on_progress` is called after every step with
    {"fraction" of the budget, "accuracy" of training} and at every evaluation with {"point", "value" of the objective}.

    Ctrl-C (in a notebook: interrupt the kernel) stops at the next safe point and saves; a second one does not wait.
    Raises Interrupted, which says how to go on; UserError for what cannot be read, trained or written; NonFiniteError
    when the loss or a gradient is not finite.
    """
    from eprli_lab.config.backend import OpenRLHFSpec
    from eprli_lab.config.spec import RunSpec
    from eprli_lab.training.execute import execute
    from eprli_lab.training.preflight import check_writable

    if not isinstance(spec, RunSpec):
        raise UserError(f"train: give a spec, as compose([...]) returns it, not {type(spec).__name__}")
    if isinstance(spec.backend, OpenRLHFSpec) and spec.backend.dry_run:
        raise UserError("backend.dry_run=true trains nothing: use the command line, which prints the launch")
    check_writable(Path.cwd())
    started = start_run(spec, None if directory is None else Path(directory), resume)
    place = started.directory.absolute()
    with stop_requests() as requests:
        try:
            result = execute(
                spec.model_dump_json(), str(place), None, lambda: bool(requests), on_progress or (lambda _: None)
            )
        except Interrupted as error:
            raise Interrupted(f"{error} in {place}; train(spec, directory={str(place)!r}) resumes") from None
    return RunResult(
        spec=spec,
        run_id=result["run_id"],
        score=result["metrics"]["score"],
        metrics=dict(result["metrics"]),
        suites=end_run(place),
        directory=place,
        checkpoint=policy_of(place),
        warnings=(*started.prompts.notes(), *result["starved"]),
    )


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Signals (SIGINT, SIGTERM) that came meanwhile; the second one raises KeyboardInterrupt. Of a main thread only."""
    requests: list[int] = []

    def note(number: int, _: Any) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)
        print("stopping at the next safe point ...", flush=True)

    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
