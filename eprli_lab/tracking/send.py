"""From the spool into the store: each point once."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.tracking.inputs import log_inputs
from eprli_lab.tracking.registry import register
from eprli_lab.tracking.spool import Spool
from eprli_lab.tracking.store import search_runs, set_tags
from eprli_lab.tracking.uri import sqlite_file

Point = tuple[str, int, float, int]  # metric, step, value, milliseconds since 1970
File = tuple[str, str]  # path, folder of the run's artifacts
Registered = tuple[str, str, None]  # model of the registry, folder of the run's artifacts
Item = Point | File | Registered
BATCH = 1000  # metrics in one log_batch, the limit of MLflow
PARAMS = 100  # params in one log_batch, the limit of MLflow
VALUE_LENGTH = 6000  # characters of a param, the limit of MLflow
PRUNED = "pruned"  # the end of a run that a search gave up
BUSY_SECONDS = 60.0  # to wait for another process's write
LARGEST = sys.float_info.max
METRIC_COLUMNS = {"key", "value", "timestamp", "run_uuid", "step", "is_nan"}
WALL_CLOCK = ("time/", "perf/")  # metrics that differ from one execution to the next


def attach(client: Any, experiment: str, spool: Spool) -> tuple[str, dict[tuple[str, int], float]]:
    """Make or re-open the run of a spool: (run id, what is stored of it already). Its status is RUNNING after."""
    from mlflow.entities import Param

    tags, params = spool.header["tags"], spool.header["params"]
    run = _existing(client, experiment, spool)
    if run is None:
        run = client.create_run(experiment, tags=tags, run_name=spool.header["name"])
        if str(client.tracking_uri).startswith("http"):  # a request whose answer was late was made twice
            run = _existing(client, experiment, spool) or run
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        if "eprli.ended" in run.data.tags:
            client.delete_tag(run.info.run_id, "eprli.ended")
        set_tags(client, run.info.run_id, tags)
    run_id = str(run.info.run_id)
    missing = [Param(k, v[:VALUE_LENGTH]) for k, v in params.items() if k not in run.data.params]
    for i in range(0, len(missing), PARAMS):
        client.log_batch(run_id, params=missing[i : i + PARAMS])
    log_inputs(client, run, spool.header.get("inputs", ()))
    return run_id, _stored_points(client, run_id, run.data.metrics)


def _existing(client: Any, experiment: str, spool: Spool) -> Any:
    """The run that this spool has in the store, by its id or its token; None when there is none."""
    from mlflow.exceptions import MlflowException

    if spool.run_id is not None:
        try:
            run = client.get_run(spool.run_id)
            same = run.data.tags.get("fingerprint") == spool.header["tags"]["fingerprint"]
            if same and run.info.lifecycle_stage == "active":
                return run
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    found = search_runs(client, experiment, f"tags.`eprli.token` = '{spool.header['token']}'")
    empty = [run for run in found if not run.data.metrics]  # a request that was answered too late, and made again
    kept = next((run for run in found if run.data.metrics), found[0] if found else None)
    for run in empty:
        if run is not kept:
            client.delete_run(run.info.run_id)
    return kept


def _stored_points(client: Any, run_id: str, keys: Iterable[str]) -> dict[tuple[str, int], float]:
    """(metric, step) -> value last stored there."""
    points = (m for key in keys for m in client.get_metric_history(run_id, key))
    return {(m.key, m.step): m.value for m in sorted(points, key=lambda m: m.timestamp)}


def is_stored(stored: Mapping[tuple[str, int], float], point: Point) -> bool:
    """Is there a point for this metric and step that needs no successor?

    An execution that is repeated from a checkpoint gives the same numbers again, the clock's apart.
    """
    key, step, value, _ = point
    if (key, step) not in stored:
        return False
    there = stored[key, step]
    return key.startswith(WALL_CLOCK) or there == value or (there != there and value != value)


def missing(
    spool: Spool, stored: Mapping[tuple[str, int], float], held: Collection[tuple[str, int]] = ()
) -> list[Item]:
    """What a spool has and the store has not: points by their time, files that are there, models. `held`: not yet."""
    points = [(key, step, value, at) for (key, step), (value, at) in spool.points.items() if (key, step) not in held]
    late = [point for point in sorted(points, key=lambda p: p[3]) if not is_stored(stored, point)]
    models: list[Registered] = [(name, folder, None) for name, folder in spool.models]
    return [*late, *(entry for entry in spool.artifacts if Path(entry[0]).is_file()), *models]


def send(client: Any, uri: str, run_id: str, items: Sequence[Item]) -> None:
    """Points, files and models to register, in order."""
    points: list[Point] = []
    for item in items:
        if len(item) == 4:
            points.append(item)
            continue
        _send_points(client, uri, run_id, points)
        points = []
        if len(item) == 3:
            register(client, run_id, item[0], item[1])
        else:
            client.log_artifact(run_id, item[0], item[1] or None)
    _send_points(client, uri, run_id, points)


def _send_points(client: Any, uri: str, run_id: str, points: Sequence[Point]) -> None:
    """Into a SQLite file of the schema that we know by two statements, else by log_batch.

    log_batch takes 0.11 ms of processor time for a metric, in Python, so that a training loop of small tensor
    operations slows down by a fifth while it runs (benchmarks/tracking.py); these statements take 3 us.
    """
    file = sqlite_file(uri)
    if not points or (file is not None and insert(file, run_id, points)):
        return
    from mlflow.entities import Metric

    for i in range(0, len(points), BATCH):
        metrics = [Metric(key, value, at, step) for key, step, value, at in points[i : i + BATCH]]
        client.log_batch(run_id, metrics=metrics)


def insert(file: Path, run_id: str, points: Sequence[Point]) -> bool:
    """What log_batch leaves in the tables `metrics` and `latest_metrics`; False when they look different."""
    import sqlite3

    rows = []
    for key, step, value, at in points:
        nan = math.isnan(value)  # stored as 0 with a mark; infinities as the largest doubles
        rows.append((key, 0.0 if nan else max(-LARGEST, min(LARGEST, value)), at, run_id, step, nan))
    try:  # never makes the file: a store that was moved away is for `open_store` to make, whole
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)
    except sqlite3.OperationalError as error:
        raise ConnectionError(f"{file} cannot be opened ({error})") from None
    try:
        for table in ("metrics", "latest_metrics"):
            if {column[1] for column in connection.execute(f"PRAGMA table_info({table})")} != METRIC_COLUMNS:
                return False
        connection.execute("PRAGMA synchronous=NORMAL")
        with connection:  # one transaction
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?,?,?,?,?,?)",
                rows,
            )
            connection.executemany(
                "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?,?,?,?,?,?) "
                "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp, "
                "step = excluded.step, is_nan = excluded.is_nan "
                "WHERE (excluded.step, excluded.timestamp, excluded.value) > "
                "(latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)",
                rows,
            )
    except sqlite3.OperationalError:  # nothing was written
        return False
    finally:
        connection.close()
    return True


def end_run(client: Any, run_id: str | None, status: str, message: str | None) -> None:
    if message:
        client.set_tag(run_id, "eprli.ended", message[:VALUE_LENGTH])
    if message == PRUNED:
        client.set_tag(run_id, "pruned", "true")  # never in a comparison
    client.set_terminated(run_id, status)
