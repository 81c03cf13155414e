"""Does the store hold what a run's spool holds? The spool is sealed, so that where they differ the spool is right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking.read import LoggedRun, read_histories
from eprli_lab.tracking.send import LARGEST, VALUE_LENGTH, WALL_CLOCK
from eprli_lab.tracking.spool import Spool
from eprli_lab.tracking.store import mlflow_client
from eprli_lab.tracking.uri import resolve_uri, sqlite_file

Agreement = Literal["same", "less", "other"]  # of the store: all of it, a part of it, or something else
Values = Mapping[tuple[str, int], float]  # (metric, step) -> the value that counts
RUN_TAGS = ("kind", "study", "arm", "seed", "fingerprint", "eprli.planned")


def compare(tracking: TrackingSpec, run: LoggedRun, spool: Spool) -> Agreement:
    """How the stored run stands to its spool: its points, params, tags and status.

    A SQLite file is compared point by point; of a server the last value of every metric is asked for. Raises UserError
    when the store cannot be read, and what MLflow's client raises.
    """
    header = spool.header
    params = {k: v[:VALUE_LENGTH] for k, v in header["params"].items() if not k.startswith("tracking.")}  # may change
    tags = {key: header["tags"][key] for key in RUN_TAGS if key in header["tags"]}
    for wanted, there in ((params, run.params), (tags, run.tags)):
        if any(there.get(key, value) != value for key, value in wanted.items()):
            return "other"
    stored, logged = _values(tracking, run.run_id, spool)
    if any(key in stored and not _same(key[0], stored[key], value) for key, value in logged.items()):
        return "other"
    whole = logged.keys() <= stored.keys() and params.keys() <= run.params.keys() and tags.keys() <= run.tags.keys()
    return "same" if whole and spool.end is not None and run.status == spool.end[0] else "less"


def _values(tracking: TrackingSpec, run_id: str, spool: Spool) -> tuple[Values, Values]:
    """(what the store has, what the spool has), both of every point or both of the last of every metric."""
    points = {key: value for key, (value, _) in spool.points.items()}
    uri = resolve_uri(tracking.uri)
    if sqlite_file(uri) is not None:
        stored: dict[tuple[str, int], float] = {}
        for _, metric, steps, values in read_histories(tracking, [run_id]):
            stored |= dict(zip(((metric, step) for step in steps), values, strict=True))  # the last of a step counts
        return stored, points
    last: dict[str, int] = {}
    for metric, step in points:
        last[metric] = max(step, last.get(metric, step))
    metrics: Mapping[str, Any] = mlflow_client(uri).get_run(run_id).data.metrics
    return {(m, last[m]): metrics[m] for m in last if m in metrics}, {(m, s): points[m, s] for m, s in last.items()}


def _same(metric: str, there: float, logged: float) -> bool:
    """The clock's apart; the store holds infinities as the largest numbers."""
    if metric.startswith(WALL_CLOCK) or there == logged or (math.isnan(there) and math.isnan(logged)):
        return True
    return abs(logged) == math.inf and abs(there) >= LARGEST and (there > 0) == (logged > 0)


def same_run(logged: Sequence[LoggedRun], spool: Spool) -> LoggedRun | None:
    """The stored run of a spool: by its token, which is its own in every store."""
    token = spool.header.get("token")
    found = [run for run in logged if run.tags.get("eprli.token") == token or run.run_id == spool.run_id]
    return max(found, key=lambda run: (run.run_id == spool.run_id, run.status == "FINISHED"), default=None)
