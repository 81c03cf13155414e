"""Runs, histories and artifacts out of the store."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.birth import damaged
from eprli_lab.tracking.moved import repair_locations
from eprli_lab.tracking.send import LARGEST
from eprli_lab.tracking.store import deleted_experiment, mlflow_client, quoted, search_runs
from eprli_lab.tracking.uri import check_reachable, first_line, read_only, resolve_uri, sqlite_file


@dataclass(frozen=True)
class LoggedRun:
    """One run as the store has it."""

    run_id: str
    status: str
    started: int  # ms since 1970
    tags: dict[str, str]
    params: dict[str, str]


# run id, metric, steps, values; by step, points of the same step in the order in which they were logged
Points = Iterator[tuple[str, str, Sequence[int], Sequence[float]]]


def read_runs(tracking: TrackingSpec, study: str | None = None) -> list[LoggedRun]:
    """The runs of a study, parent included, oldest first; of every study with None.

    A SQLite file is read by SQL, in a tenth of the time; any other store by MLflow's client. Raises UserError when
    there is no such store or experiment; nothing is created.
    """
    uri = resolve_uri(tracking.uri)
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise UserError(f"there is no {file}: run a sweep in this directory first, or give tracking.uri=...")
    try:
        name = tracking.experiment
        found = _client_runs(uri, name, study) if file is None else _sqlite_runs(file, name, study)
    except UserError:
        raise
    except Exception as error:
        raise _unreadable(f"the tracking store {tracking.uri}", file, error) from None
    if found is None:
        raise UserError(f"tracking.experiment: {tracking.uri} has no experiment '{tracking.experiment}'")
    return found


def _unreadable(what: str, file: Path | None, error: Exception) -> UserError:
    """The sentence for a store that gives no answer, or one that makes no sense."""
    import sqlite3

    if file is not None and "no such table" not in str(error) and not isinstance(error, sqlite3.OperationalError):
        return damaged(file, f"cannot be read: {first_line(error)}")
    none = "no such table" in str(error) and what.startswith("the tracking store")
    return UserError(f"{what} cannot be read: {'it is no MLflow store' if none else first_line(error)}")


def _client_runs(uri: str, experiment: str, study: str | None) -> list[LoggedRun] | None:
    """None: there is no such experiment."""
    check_reachable(uri)
    client = mlflow_client(uri)
    known = client.get_experiment_by_name(experiment)
    if known is None:
        return None
    if known.lifecycle_stage == "deleted":
        raise deleted_experiment(uri, experiment, known.experiment_id)
    query = f"tags.study = {quoted(study)}" if study is not None else "tags.kind = 'study'"
    return [
        LoggedRun(r.info.run_id, r.info.status, r.info.start_time, dict(r.data.tags), dict(r.data.params))
        for r in search_runs(client, known.experiment_id, query)
    ]


def _sqlite_runs(file: Path, experiment: str, study: str | None) -> list[LoggedRun] | None:
    """None: there is no such experiment."""
    connection = read_only(file)
    try:
        named = "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?"
        row = connection.execute(named, (experiment,)).fetchone()
        if row is None:
            return None
        if row[1] == "deleted":
            raise deleted_experiment(f"sqlite:///{file}", experiment, row[0])
        known = row[:1]
        tag = ("kind", "study") if study is None else ("study", study)
        chosen = "experiment_id = ? AND lifecycle_stage = 'active' AND run_uuid IN "
        chosen += "(SELECT run_uuid FROM tags WHERE key = ? AND value = ?)"
        rows = connection.execute(
            f"SELECT run_uuid, status, start_time FROM runs WHERE {chosen} ORDER BY start_time, run_uuid",
            (*known, *tag),
        )
        runs = {run_id: LoggedRun(run_id, status, started, {}, {}) for run_id, status, started in rows}
        for kind in ("tags", "params"):
            of = f"SELECT run_uuid, key, value FROM {kind} WHERE run_uuid IN (SELECT run_uuid FROM runs WHERE {chosen})"
            for run_id, key, value in connection.execute(of, (*known, *tag)):
                if run_id in runs:  # not one that was begun since
                    getattr(runs[run_id], kind)[key] = value
        if not all(
            isinstance(cell, str)
            for r in runs.values()
            for cell in (r.status, *r.tags, *r.tags.values(), *r.params.values())
        ) or not all(isinstance(r.started, int) for r in runs.values()):
            raise ValueError("a column of another type")
        return list(runs.values())
    finally:
        connection.close()


def read_histories(
    tracking: TrackingSpec, run_ids: Sequence[str], wanted: Callable[[str], bool] = lambda metric: True
) -> Points:
    """Every history of these runs of the metrics that `wanted` takes, a run after the other.

    A SQLite file is read by SQL, one query a run; the client asks for one metric of one run at a time. Raises UserError
    when the store cannot be read.
    """
    uri = resolve_uri(tracking.uri)
    file = sqlite_file(uri)
    clamped: Callable[[Sequence[float]], bool] = lambda values: any(abs(v) >= LARGEST for v in values)  # noqa: E731
    try:
        found = (
            _client_points(mlflow_client(uri), run_ids, wanted)
            if file is None
            else _sqlite_points(file, run_ids, wanted)
        )
        for run_id, key, steps, values in found:
            yield run_id, key, steps, [_finite_or_not(v) for v in values] if clamped(values) else values
    except Exception as error:
        raise _unreadable(f"the metrics of {tracking.uri}", file, error) from None


def _finite_or_not(value: float) -> float:
    """The store holds infinities as the largest numbers."""
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value


def _sqlite_points(file: Path, run_ids: Sequence[str], wanted: Callable[[str], bool]) -> Points:
    """Ordered by the index on (run_uuid, key, step); a sort by time as well is for the metrics that need it."""
    columns = "SELECT key, step, CASE is_nan WHEN 0 THEN value END FROM metrics WHERE run_uuid = ?"
    connection = read_only(file)
    try:
        for run_id in run_ids:
            keys = [k for (k,) in connection.execute("SELECT key FROM latest_metrics WHERE run_uuid = ?", (run_id,))]
            kept = [k for k in keys if wanted(k)]
            query = columns
            bound = [run_id]
            if len(kept) < len(keys):
                query = f"{columns} AND key IN ({','.join('?' * len(kept))})"
                bound = [run_id, *kept]
            rows = connection.execute(f"{query} ORDER BY key, step", bound).fetchall()
            for key, points in itertools.groupby(rows, key=operator.itemgetter(0)):
                _, steps, values = zip(*points, strict=True)
                if len(set(steps)) < len(steps):
                    one = f"{columns} AND key = ? ORDER BY step, timestamp"
                    _, steps, values = zip(*connection.execute(one, (run_id, key)), strict=True)
                yield run_id, key, steps, [math.nan if v is None else v for v in values] if None in values else values
    finally:
        connection.close()


def _client_points(client: Any, run_ids: Sequence[str], wanted: Callable[[str], bool]) -> Points:
    for run_id in run_ids:
        for key in filter(wanted, client.get_run(run_id).data.metrics):
            points = sorted(client.get_metric_history(run_id, key), key=lambda m: (m.step, m.timestamp))
            yield run_id, key, [m.step for m in points], [m.value for m in points]


def fetch_artifact(tracking: TrackingSpec, run_id: str, name: str) -> Path | None:
    """A local path of a run's artifact, downloaded where it is not local; None when it is not there."""
    uri = resolve_uri(tracking.uri)
    file = sqlite_file(uri)
    try:
        if file is not None:
            _repaired(file, tracking.experiment)
        client = mlflow_client(uri)
        path = Path(client.download_artifacts(run_id, name))
    except Exception:  # every kind of artifact store has its own errors for what is not there
        return None
    return path if path.is_file() else None


@functools.cache
def _repaired(file: Path, experiment: str) -> None:
    """Of a folder that was moved and in which nothing was run since; one that cannot be written stays as it is."""
    with contextlib.suppress(Exception):
        repair_locations(file, experiment)
