"""A study: run here, or read from its tracking store, as pandas frames."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eprli_lab.api.specs import words
from eprli_lab.api.tables import table_of
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import Interrupted, UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from eprli_lab.reporting.load import StudyData
    from eprli_lab.tracking.description import StudyDescription


@dataclass(frozen=True)
class Study:
    """What was logged of a study when it was read; read it again (`load_study`) while it is still running."""

    data: StudyData = field(repr=False)  # as reports read it
    tracking: TrackingSpec  # where it is logged

    @property
    def name(self) -> str:
        """The sweep's name, with its preset's unless that is `default`."""
        return self.data.name

    @property
    def arms(self) -> list[str]:
        """In the order of the study."""
        return self.data.arms

    @property
    def suites(self) -> list[str]:
        """Evaluation suites that were logged, in the order of the config."""
        return self.data.suites

    @property
    def description(self) -> StudyDescription:
        """Question, claim, baseline, arms, seeds, objectives."""
        from eprli_lab.tracking.description import StudyDescription

        known = self.data.description
        return known if isinstance(known, StudyDescription) else StudyDescription.from_tag(json.dumps(known))

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of the numbers must know."""
        return list(self.data.notes)

    @functools.cached_property
    def runs(self) -> pd.DataFrame:
        """One row a finished (arm, seed): the values that the table is a mean of.

        Columns: arm, seed, run_id; <suite>/start and <suite>/end, accuracies before and after training (0 to 1);
        <objective>/start and /end (score/start, score/end); updates, tokens, response_tokens, seconds;
        admission_rate/<level>, clip_fraction_low/<level>, clip_fraction_high/<level> (fractions).
        """
        import pandas as pd

        from eprli_lab.reporting.tables.rows import seed_values

        return pd.DataFrame([seed_values(run, self.data) for run in self.data.runs])

    @property
    def unfinished(self) -> pd.DataFrame:
        """One row an (arm, seed) without a finished run: arm, seed, status, reason."""
        import pandas as pd

        columns = ["arm", "seed", "status", "reason"]
        return pd.DataFrame([[getattr(u, c) for c in columns] for u in self.data.unfinished], columns=columns)

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """`ablation_table(study).frame()`: one row an arm. Raises UserError for a search, which compares nothing."""
        return table_of(self.data).frame()

    def history(self, *metrics: str) -> pd.DataFrame:
        """Every logged value of these metrics (docs/metrics.md): arm, seed, run_id, metric, step, value.

        Long form, by arm, seed and metric, steps ascending; a run that never logged a metric has no row of it. Raises
        UserError without a metric, for a metric that no run of the study logs, or when the store is gone.
        """
        import pandas as pd

        from eprli_lab.reporting.load import load_study as read_study

        logged: set[str] = set()

        def is_asked_for(metric: str) -> bool:
            logged.add(metric)
            return metric in metrics

        data = read_study(self.tracking.uri, self.tracking.experiment, self.name, is_asked_for)
        logged.update(name for run in data.runs for name in run.histories)
        if not metrics:
            raise UserError(f"history: name a metric or several, for instance {self.data.objective!r}")
        for metric in metrics:
            if metric not in logged:
                raise UserError(f"history: no run of {self.name} logs '{metric}'{nearest(metric, logged)}")
        columns = ["arm", "seed", "run_id", "metric", "step", "value"]
        rows = [
            [run.arm, run.seed, run.run_id, metric, step, value]
            for run in data.runs
            for metric in dict.fromkeys(metrics)
            for step, value in run.by_step(metric).items()
        ]
        return pd.DataFrame(rows, columns=columns)

    def outcomes(self) -> pd.DataFrame:
        """Every evaluated problem of every run: arm, seed, run_id, stage, step, suite, problem, difficulty, samples,
        correct. Warns of runs whose artifact is not there; raises UserError when no run has it."""
        return self._artifacts("outcomes")

    def ledger(self) -> pd.DataFrame:
        """Every generated group of every run: arm, seed, run_id, step, level, difficulty, verdict, accuracy and more.
        Warns of runs whose artifact is not there; raises UserError when no run has it."""
        return self._artifacts("ledger")

    def _artifacts(self, name: str) -> pd.DataFrame:
        import pandas as pd

        frames = list(self._frames(name))
        missing = len(self.data.runs) - len(frames)
        if not frames:
            raise UserError(f"{name}: no run of {self.name} has an artifact {name}.parquet that can be read")
        if missing:
            warnings.warn(f"{name}: {missing} runs of {self.name} have no {name}.parquet", stacklevel=3)
        return pd.concat(frames, ignore_index=True)

    def _frames(self, name: str) -> Iterator[pd.DataFrame]:
        import pandas as pd
        import pyarrow as pa

        from eprli_lab.tracking.read import fetch_artifact

        for run in self.data.runs:
            path = fetch_artifact(self.tracking, run.run_id, f"{name}.parquet")
            if path is None:
                continue
            try:
                frame = pd.read_parquet(path)
            except (OSError, ValueError, pa.ArrowException):
                continue
            for i, (column, value) in enumerate((("arm", run.arm), ("seed", run.seed), ("run_id", run.run_id))):
                frame = frame.drop(columns=column, errors="ignore")
                frame.insert(i, column, value)
            yield frame

    def __str__(self) -> str:
        runs = len(self.data.runs)
        planned = runs + len(self.data.unfinished)
        return f"study {self.name}: {', '.join(self.arms) or 'no arms'}; {runs} of {planned} runs finished"

    def _repr_html_(self) -> str:
        import html

        head = f"<p>{html.escape(str(self))}</p>"
        return head if self.description.kind == "search" or not self.arms else head + table_of(self.data).html()


def load_study(
    name: str, *, preset: str = "default", tracking_uri: str | None = None, experiment: str | None = None
) -> Study:
    """A study from its tracking store: of a sweep's name and preset, or by the whole name that it was given.

    `tracking_uri`: a relative SQLite file is one of the working directory; None: $MLFLOW_TRACKING_URI, else mlflow.db
    there. `experiment`: None: $MLFLOW_EXPERIMENT_NAME, else eprli_lab. Nothing is created. Raises UserError when
    the store, the experiment or the study is not there (with the nearest name), or the URI is none.
    """
    from eprli_lab.config.parse import parse_tracking
    from eprli_lab.reporting.report.write import read
    from eprli_lab.tracking.uri import absolute

    given = {"uri": tracking_uri, "experiment": experiment}
    tracking = parse_tracking("tracking_uri", **{key: value for key, value in given.items() if value is not None})
    tracking = tracking.model_copy(update={"uri": absolute(tracking.uri)})
    study = name if preset == "default" else f"{name}-{preset}"
    return Study(read(tracking.uri, tracking.experiment, study), tracking)


def run_sweep(name: str, *overrides: str, preset: str = "default", workers: int | None = None) -> Study:
    """Run a sweep as `python -m eprli_lab.run -m sweep=<name> preset=<preset> <overrides>` does; its study.

    The engine is the same: what is complete is not run again, the search (where there is one) comes first, the report
    is written to reports/<study>/, and progress and the table are printed. `workers`: processes, one run at a time
    each; None: one a core. They import no main module, so a script needs no `if __name__ == "__main__"`.

    Raises UserError for a name or an override that there is not, for a study of another configuration, code or data,
    and after the report when runs failed for good or could not be stored; Interrupted on Ctrl-C, when the runs under
    way have saved.
    """
    from eprli_lab.config.backend import OpenRLHFSpec
    from eprli_lab.sweeping.catalogue import planner
    from eprli_lab.sweeping.command import by_reason, run_plan

    arguments = [] if preset == "default" else [f"preset={preset}"]
    arguments += words("run_sweep", overrides)
    for argument in arguments:
        if argument.lstrip("+~").startswith("hydra"):
            raise UserError(f"{argument}: run_sweep starts its own worker processes; launchers are the command line's")
    if workers is not None:
        if workers < 1:
            raise UserError(f"workers={workers}: give one or more")
        arguments.append(f"study.workers={workers}")
    with planner() as plan_of:
        plan = plan_of(name, arguments)
    if any(isinstance(r.spec.backend, OpenRLHFSpec) and r.spec.backend.dry_run for r in plan.runs):
        raise UserError("backend.dry_run=true trains nothing: use the command line, which prints the launches")
    outcome = run_plan(plan)
    if outcome.interrupted:
        raise Interrupted(f"{outcome.interrupted}: the same call of run_sweep resumes")
    if outcome.failed:
        reasons = "; ".join(f"{arm} seed {seed}: {reason}" for (arm, seed), reason in outcome.failed.items())
        raise UserError(
            f"{len(outcome.failed)} of {len(plan.runs)} runs of {plan.study} failed for good ({reasons}): "
            f"load_study({plan.study!r}) has the others"
        )
    if outcome.unstored:
        reasons = "; ".join(f"{', '.join(runs)}: {reason}" for reason, runs in by_reason(outcome.unstored).items())
        raise UserError(f"{len(outcome.unstored)} finished runs of {plan.study} are not in its table ({reasons})")
    where = plan.sample.tracking
    return load_study(plan.study, tracking_uri=where.uri, experiment=where.experiment)
