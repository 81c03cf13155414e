"""Per-problem outcomes and buffer ledgers of a study's runs, from their artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.reporting.diagnosis.finding import Rows
from eprli_lab.reporting.load import StudyData
from eprli_lab.tracking.imported import TAG as IMPORTED
from eprli_lab.tracking.read import fetch_artifact

MOST_RUNS = 200  # whose tables are read: a report of more runs goes without what only they can say
OUTCOMES = ("suite", "problem", "difficulty", "samples", "correct", "step")
SAMPLES = (
    "step", "level", "kind", "problem", "prompt", "response", "accepted", "answer", "correct", "status", "reward",
    "tokens", "truncated", "verdict",
)  # fmt: skip
LEDGER = ("step", "level", "difficulty", "verdict", "accuracy")


class Artifacts(NamedTuple):
    """Rows by run id, and a sentence on each kind that is not there."""

    outcomes: Rows
    ledger: Rows
    notes: list[str]
    samples: Rows = {}  # of each arm's first run that kept some

    def last_outcomes(self, run_id: str) -> list[Mapping[str, Any]]:
        """Rows of a run's last evaluation; empty without any."""
        rows = self.outcomes.get(run_id, ())
        last = max((r["step"] for r in rows), default=0)
        return [r for r in rows if r["step"] == last]


def read_artifacts(tracking: TrackingSpec, study: StudyData) -> Artifacts:
    """Outcomes of the first and the last evaluation, and the whole ledger, of every run that has them."""
    if len(study.runs) > MOST_RUNS:
        note = f"{len(study.runs)} runs: outcomes and ledgers are read of up to {MOST_RUNS}, so nothing rests on them"
        return Artifacts({}, {}, [note])
    outcomes: dict[str, list[dict[str, Any]]] = {}
    ledger: dict[str, list[dict[str, Any]]] = {}
    notes = []
    for name, out, columns in (("outcomes", outcomes, OUTCOMES), ("ledger", ledger, LEDGER)):
        missing = []
        for run in study.runs:
            if IMPORTED in run.tags:  # whose notes say that their logs have no such thing
                continue
            path = fetch_artifact(tracking, run.run_id, f"{name}.parquet")
            rows = _rows(path, columns) if path is not None else None
            if rows is None:
                missing.append(f"{run.arm} seed {run.seed}")
            else:
                out[run.run_id] = rows
        if missing:
            who = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
            notes.append(f"the artifact {name}.parquet is not there, or cannot be read, of {who}")
    return Artifacts(outcomes, ledger, notes, _samples(tracking, study))


def _samples(tracking: TrackingSpec, study: StudyData) -> dict[str, list[dict[str, Any]]]:
    """Sampled responses of each arm's first run; runs that kept none (tracking.samples_per_step=0) are no lack."""
    out = {}
    for run in (next(iter(study.of(arm)), None) for arm in study.arms):
        path = fetch_artifact(tracking, run.run_id, "samples.parquet") if run is not None else None
        rows = _read(path, SAMPLES) if path is not None else None
        if run is not None and rows:
            out[run.run_id] = rows
    return out


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, Any]] | None:
    """All rows of these columns; None for a file that is no such table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns)).to_pylist()
    except (OSError, pa.ArrowException, KeyError):
        return None
    return rows


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]] | None:
    """None for a file that is no such table, has no rows, or rows that cannot be."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=list(columns))
        if "samples" in columns and table.num_rows:  # of outcomes the first and the last evaluation
            ends = pc.min_max(table["step"])
            table = table.filter(pc.is_in(table["step"], pa.array([ends["min"].as_py(), ends["max"].as_py()])))
        rows: list[dict[str, Any]] = table.to_pylist()
    except (OSError, pa.ArrowException, KeyError):
        return None
    return rows if rows and all(map(_is_sound, rows)) else None


def _is_sound(row: Mapping[str, Any]) -> bool:
    """Counts that can be, and a difficulty that is a number or not known."""
    known = row["difficulty"] is None or isinstance(row["difficulty"], int | float)
    if "samples" not in row:
        placed = isinstance(row["step"], int) and isinstance(row["level"], str)
        return known and placed and isinstance(row["accuracy"], int | float)
    samples = row["samples"]
    correct = row["correct"]
    counts = isinstance(samples, int) and isinstance(correct, int) and isinstance(row["step"], int)
    return known and counts and samples > 0 and 0 <= correct <= samples
