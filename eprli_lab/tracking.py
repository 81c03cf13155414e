"""Runs, metrics and artifacts in MLflow. The only file that imports mlflow, and only inside functions.

Two visible levels: a parent run a study, a child run an (arm, seed). Everything a run logs is first appended to
`<run_dir>/spool.jsonl`, then sent by a background thread. The spool makes three things one:

- a killed run that is resumed sends what was logged before its checkpoint but had not arrived;
- a run whose server cannot be reached goes on, and `python -m eprli_lab.tracking upload RUN_DIR` sends it later;
- at most one point is stored for a (metric, step): the last value that was logged at that step.

Use one process a run and start processes by spawn: a database connection does not survive a fork.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import logging
import math
import operator
import os
import re
import socket
import sys
import tempfile
import threading
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from eprli_lab import __version__
from eprli_lab.errors import UserError
from eprli_lab.process import start_time
from eprli_lab.provenance import provenance
from eprli_lab.spec import RunSpec, TrackingSpec

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
Point = tuple[str, int, float, int]  # metric, step, value, milliseconds since 1970
BATCH = 1000  # metrics in one log_batch, the limit of MLflow
PARAMS = 100  # params in one log_batch, the limit of MLflow
VALUE_LENGTH = 6000  # characters of a param, the limit of MLflow
PRUNED = "pruned"  # the end of a run that a search gave up
BUSY_SECONDS = 60.0  # to wait for another process's write
LARGEST = sys.float_info.max
METRIC_COLUMNS = {"key", "value", "timestamp", "run_uuid", "step", "is_nan"}
WALL_CLOCK = ("time/", "perf/")  # metrics that differ from one execution to the next
DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


# --- the store ---------------------------------------------------------------------------------------------------


def resolve_uri(uri: str) -> str:
    """The URI with a relative SQLite file made absolute against the working directory."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri.startswith(prefix + "/") or uri == prefix + ":memory:":
        return uri
    return f"{prefix}{Path.cwd() / uri.removeprefix(prefix)}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI, else None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(resolve_uri(uri).removeprefix("sqlite:///").partition("?")[0])


def check_reachable(uri: str, seconds: float = 3.0) -> None:
    """Raises ConnectionError with a short reason when the store cannot be used; MLflow would retry for minutes."""
    file = sqlite_file(uri)
    if file is not None:
        if not file.parent.is_dir():
            raise ConnectionError(f"the directory {file.parent} does not exist")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise ConnectionError(f"{file} cannot be written")
        if "%" in str(file):
            raise ConnectionError(f"{file}: MLflow reads % in a path as an escape; choose another directory")
        if file.exists() and not _is_sqlite(file):
            raise ConnectionError(f"{file} is not a SQLite database")
        return
    parts = urlsplit(uri)
    try:
        port = parts.port or DEFAULT_PORTS.get(parts.scheme.split("+")[0])
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), timeout=seconds).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(str(error)) from None


def _is_sqlite(file: Path) -> bool:
    """Asked of SQLite: opening and closing the file ourselves would drop the locks of this process's connections."""
    import sqlite3

    connection = _reading(file)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:  # busy, or its log cannot be made: MLflow will say
        return True
    except sqlite3.DatabaseError:
        return False
    finally:
        connection.close()
    return True


@functools.cache
def _client(uri: str) -> Any:
    """An MlflowClient for a resolved URI; quiet, impatient, without telemetry."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # SQL of what it then raises
    for name in ("urllib3", "mlflow.utils.requests_utils"):  # they announce every retry; we say it once ourselves
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


@contextmanager
def _locked(uri: str) -> Iterator[None]:
    """One process of this machine at a time for a store: creating its tables is not safe otherwise."""
    from filelock import FileLock

    name = uuid.uuid5(uuid.NAMESPACE_URL, uri).hex
    with FileLock(Path(tempfile.gettempdir()) / f"eprli-{os.getuid()}-{name}.lock"):
        yield


def _open(tracking: TrackingSpec) -> tuple[Any, str]:
    """(client, experiment id); creates database and experiment where they are missing.

    Raises ConnectionError when the store cannot be reached, UserError when the experiment was deleted.
    """
    uri = resolve_uri(tracking.uri)
    check_reachable(uri)
    experiment = _experiment(uri, tracking.experiment)  # first: a client creates missing tables, which needs the lock
    return _client(uri), experiment


@functools.cache
def _experiment(uri: str, name: str) -> str:
    file = sqlite_file(uri)
    with _locked(uri):
        client = _client(uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            if file is not None:
                _use_wal(file)
            where = None if file is None else (Path.cwd() / "mlartifacts").as_uri()
            tags = {
                "mlflow.experimentKind": "custom_model_development",  # the UI opens in its "Model training" view
                "mlflow.experiment.primaryMetric.name": "score",
                "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
            }
            return str(client.create_experiment(name, artifact_location=where, tags=tags))
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"tracking.experiment: '{name}' was deleted in {uri}: restore it (mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}) or choose another name"
        )
    return str(experiment.experiment_id)


def _use_wal(file: Path) -> None:
    """Readers and one writer at the same time; half the time of a write. The mode stays with the file."""
    import sqlite3

    connection = sqlite3.connect(file, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def prepare(tracking: TrackingSpec) -> bool:
    """Create database and experiment once, safely between processes. False when the store cannot be reached."""
    try:
        _open(tracking)
    except UserError:
        raise
    except Exception as error:
        log.warning("tracking: %s cannot be reached (%s); runs will be spooled", tracking.uri, _short(error))
        return False
    return True


def _short(error: BaseException) -> str:
    """The first line of an error, without what libraries wrap around it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else lines[0][:157] + "..."


# --- who runs ----------------------------------------------------------------------------------------------------


def _process_tags() -> dict[str, str]:
    tags = {"host": socket.gethostname(), "pid": str(os.getpid()), "eprli_lab": __version__}
    start = start_time(os.getpid())
    return tags | ({"process_start": start} if start else {})


def _is_alive(tags: Mapping[str, str]) -> bool:
    """Is the process that these tags name still there? Only meaningful on its own host."""
    try:
        pid = int(tags.get("pid", ""))
        os.kill(pid, 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    start = start_time(pid)
    return start is None or "process_start" not in tags or tags["process_start"] == start


def close_dead_runs(tracking: TrackingSpec) -> int:
    """Runs that are RUNNING in name only, since their process on this host is gone, become FAILED; how many."""
    closed = 0
    try:
        client, experiment = _open(tracking)
        for run in _search(client, experiment, "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if tags.get("host") == socket.gethostname() and not _is_alive(tags):
                client.set_tag(run.info.run_id, "eprli.ended", "process died")
                client.set_terminated(run.info.run_id, "FAILED")
                closed += 1
    except UserError:
        raise
    except Exception as error:
        log.debug("tracking: dead runs were not looked for: %s", error)
    return closed


def _search(client: Any, experiment: str, query: str) -> list[Any]:
    """All runs of an experiment that answer a filter, oldest first."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment], query, order_by=["attributes.start_time ASC"], page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


# --- the parent of a study ---------------------------------------------------------------------------------------


def open_parent(tracking: TrackingSpec, study: str, description: dict[str, Any] | None) -> str:
    """Run id of a study's parent, made or re-opened; '' when the store cannot be reached.

    `description`: question, claim, baseline, arms (names in order), seeds, objective; what `analysis` reads.
    None leaves the one that is there.
    """
    try:
        client, experiment = _open(tracking)
        _save_view(client, experiment, study, ())
        parents = _search(client, experiment, f"tags.study = {_quoted(study)} and tags.kind = 'study'")
        tags = {"study": study, "kind": "study", **_process_tags(), "eprli.provenance": json.dumps(provenance())}
        if description is not None:
            known = parents[0].data.tags if parents else {}
            tags |= {"eprli.study": json.dumps(description), **_noted(_note(study, description), known)}
        if not parents:
            return str(client.create_run(experiment, tags=tags, run_name=study).info.run_id)
        run_id = str(parents[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        _set_tags(client, run_id, tags)
        return run_id
    except UserError:
        raise
    except Exception as error:
        log.warning("tracking: the parent run of %s was not opened: %s", study, _short(error))
        return ""


def _note(study: str, description: Mapping[str, Any]) -> str:
    """Markdown shown beside the parent run."""
    lines = [f"## {study}"]
    if description.get("question"):
        lines.append(f"**Question.** {description['question']}")
    if description.get("claim"):
        lines.append(f"**Claim.** {description['claim']}")
    lines.append(
        f"**Arms.** {', '.join(map(str, description.get('arms') or []))} (baseline: {description.get('baseline')}); "
        f"seeds {', '.join(map(str, description.get('seeds') or []))}; objective `{description.get('objective')}`"
    )
    return "\n\n".join(lines)


def _set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])


def parent_summary(
    tracking: TrackingSpec,
    run_id: str,
    metrics: Mapping[str, float],
    *,
    artifacts: Sequence[Path] = (),
    folder: str = "report",
    note: str | None = None,
    columns: Sequence[str] = (),
    end: bool = False,
) -> None:
    """What a person sees of a study: aggregates on the parent's row, the report's files and text.

    `note` replaces a note of ours, never one that a person wrote. `columns`: metrics that the study's saved view shows
    in the runs table. `end`: the study is done; else the parent's status is left as it is.
    """
    from mlflow.entities import Metric

    client, experiment = _open(tracking)
    tags = client.get_run(run_id).data.tags
    if columns:
        _save_view(client, experiment, tags["study"], columns)
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(k, float(v), now, 0) for k, v in metrics.items()][:BATCH])
    for path in artifacts:
        client.log_artifact(run_id, str(path), folder)
    if note is not None:
        _set_tags(client, run_id, _noted(note, tags))
    if end:
        client.set_terminated(run_id, "FINISHED")


NOTE = "mlflow.note.content"  # what MLflow shows as a run's description


def _noted(note: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that replace the note on a run with these tags; none where a person has changed ours."""
    digest: Callable[[str], str] = lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]  # noqa: E731
    if NOTE in tags and tags.get("eprli.note", digest(tags[NOTE])) != digest(tags[NOTE]):
        return {}
    return {NOTE: note, "eprli.note": digest(note)}


def _view_key(study: str) -> str:
    return "eprli-" + re.sub(r"[^A-Za-z0-9_-]", "-", study)


def _save_view(client: Any, experiment: str, study: str, columns: Sequence[str]) -> None:
    """A saved view of MLflow's UI (in its list "Views"): the study's runs grouped by arm, against training tokens."""
    shown = [f"metrics.`{m}`" for m in ("score", *columns, "progress/updates", "progress/tokens", "time/total")]
    state = {
        "searchFilter": f"tags.study = {_quoted(study)} and tags.kind = 'run' and attributes.status != 'FAILED'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*shown, "tags.`seed`"],
        "runsHiddenMode": "SHOWALL",
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]},
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "metric",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "progress/tokens",
        },
    }
    packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": f"{study} by arm", "createdAt": now, "updatedAt": now, "state": packed}
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{_view_key(study)}", json.dumps(view))


def view_link(tracking: TrackingSpec, study: str, *, charts: bool = False) -> str:
    """Where `mlflow ui` (or the server) shows a study's runs grouped by arm; '' when the store cannot be reached."""
    try:
        _, experiment = _open(tracking)
    except Exception:
        return ""
    host = tracking.uri.rstrip("/") if tracking.uri.startswith("http") else "http://127.0.0.1:5000"
    link = f"{host}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={_view_key(study)}"
    return link + ("&compareRunsMode=CHART" if charts else "")


# --- the spool ---------------------------------------------------------------------------------------------------


@dataclass
class Spool:
    """One run's lines: {"run"}, {"id"}, {"metrics", "step", "at"}, {"artifact", "folder"}, {"end", "message"}."""

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    points: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)  # (metric, step) -> value, ms
    artifacts: dict[tuple[str, str], None] = field(default_factory=dict)  # ordered set of (path, folder)
    end: tuple[str, str | None] | None = None

    @classmethod
    def read(cls, path: Path) -> Spool:
        """What the file holds; a last line that a kill cut short is left out."""
        spool = cls(path)
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "run" in entry:
                spool.header = entry["run"]
            elif "id" in entry:
                spool.run_id = entry["id"]
            elif "metrics" in entry:
                for key, value in entry["metrics"].items():
                    spool.points[key, entry["step"]] = (value, entry["at"])
            elif "artifact" in entry:
                spool.artifacts[entry["artifact"], entry["folder"]] = None
            elif "end" in entry:
                spool.end = (entry["end"], entry["message"])
        return spool

    def rewind(self, step: int) -> None:
        """Forget what was logged after a checkpoint's step, and that the run ended."""
        self.points = {key: value for key, value in self.points.items() if key[1] <= step}
        self.artifacts, self.end = {}, None

    def rewrite(self) -> None:
        """Replace the file by what is remembered, in one move."""
        lines: list[dict[str, Any]] = [{"run": self.header}, {"id": self.run_id}]
        steps: dict[tuple[int, int], dict[str, float]] = {}
        for (key, step), (value, at) in self.points.items():
            steps.setdefault((step, at), {})[key] = value
        lines += [{"metrics": m, "step": step, "at": at} for (step, at), m in steps.items()]
        lines += [{"artifact": path, "folder": folder} for path, folder in self.artifacts]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
        partial.replace(self.path)


# --- one child run -----------------------------------------------------------------------------------------------


class RunTracker:
    """The run of one (arm, seed): params at once, metrics through a background thread, artifacts, status."""

    def __init__(
        self,
        spec: RunSpec,
        *,
        parent_run_id: str | None,
        run_id: str | None,
        run_dir: Path,
        resume_step: int | None = None,
    ) -> None:
        """Open a new run, or re-open `run_id`. `resume_step`: step of the checkpoint that training goes on from."""
        self._directory, self._tracking, self._uri = run_dir, spec.tracking, resolve_uri(spec.tracking.uri)
        run_dir.mkdir(parents=True, exist_ok=True)
        spool = Spool.read(run_dir / "spool.jsonl")
        spool.rewind(-1 if resume_step is None else resume_step)
        spool.header = _header(spec, parent_run_id, spool.header.get("token"))
        spool.run_id = run_id or spool.run_id
        self._stored: dict[tuple[str, int], float] = {}
        self._queue: deque[Point | tuple[str, str]] = deque()
        self._wake = threading.Condition()
        self._wanted = self._stopping = False
        self._busy = False
        self._offline: str | None = None
        try:
            self._client, experiment = _open(spec.tracking)
            spool.run_id, self._stored = _attach(self._client, experiment, spool)
        except UserError:
            raise
        except Exception as error:
            self._go_offline(error)
        spool.rewrite()
        self._spool = spool
        self._file = spool.path.open("a")
        self._step = -1 if resume_step is None else resume_step
        self._held: dict[str, tuple[float, int]] = {}  # this step's values; a later one replaces an earlier one
        self._released: set[str] = set()  # metrics of this step that were handed to the writer
        for (key, step), (value, at) in spool.points.items():
            if step < self._step:
                self._enqueue((key, step, value, at))
            else:
                self._held[key] = (value, at)
        spool.points = {}
        self._thread = threading.Thread(target=self._write, name="tracking", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """MLflow's run id; None while the run is only spooled."""
        return self._spool.run_id

    def log(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Note values at a step; returns at once. Values that are None are left out. Steps must not decrease."""
        at = int(time.time() * 1000)
        values = {key: float(value) for key, value in metrics.items() if value is not None}
        self._note({"metrics": values, "step": step, "at": at})
        if step != self._step:
            self._release()
            for key in self._released:  # a step that is left does not come back
                self._stored.pop((key, self._step), None)
            self._step, self._released = step, set()
        for key, value in values.items():
            self._held[key] = (value, at)

    def artifact(self, path: Path, folder: str) -> None:
        """Attach a file, in `folder` of the run's artifacts ('': at the top)."""
        entry = (str(path.resolve()), folder)
        self._note({"artifact": entry[0], "folder": folder})
        if self._offline is None:
            with self._wake:
                self._queue.append(entry)

    def flush(self) -> None:
        """Block until everything logged so far is stored, or the store is given up."""
        self._release()
        with self._wake:
            self._wanted = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: not (self._queue or self._busy) or self._offline is not None)

    def finish(self, status: Status, message: str | None) -> None:
        """Store everything, then the status: only work that is wholly stored becomes FINISHED."""
        if self._file.closed:
            return
        self.flush()
        self._note({"end": status, "message": message})
        if self._offline is None:
            try:
                _end(self._client, self._spool.run_id, status, message)
            except Exception as error:
                self._go_offline(error)
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join(timeout=30)
        self._file.close()

    def _note(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()  # to the operating system: survives a kill of this process

    def _release(self) -> None:
        """The held step is complete: hand its values to the writer."""
        if self._offline is None:
            for key, (value, at) in self._held.items():
                self._enqueue((key, self._step, value, at))
        self._released.update(self._held)
        self._held = {}

    def _enqueue(self, point: Point) -> None:
        if self._offline is not None or _is_stored(self._stored, point):
            return
        self._stored[point[0], point[1]] = point[2]
        with self._wake:
            self._queue.append(point)
            if len(self._queue) >= BATCH:
                self._wake.notify_all()

    def _write(self) -> None:
        """The background thread: whatever is queued, in order, every flush_seconds or when a batch is full."""
        while True:
            with self._wake:
                due = lambda: self._wanted or self._stopping or len(self._queue) >= BATCH  # noqa: E731
                self._wake.wait_for(due, timeout=self._tracking.flush_seconds)
                if self._stopping and not self._queue:
                    return
                items, self._wanted, self._busy = list(self._queue), False, True
                self._queue.clear()
            try:
                if self._offline is None:
                    _send(self._client, self._uri, str(self._spool.run_id), items)
            except Exception as error:
                self._go_offline(error)
            with self._wake:
                self._busy = False
                self._wake.notify_all()

    def _go_offline(self, error: BaseException) -> None:
        """Spool only, from now on; said once."""
        with self._wake:
            if self._offline is None:
                self._offline = _short(error)
                self._queue.clear()
                log.warning(
                    "tracking: %s cannot be reached (%s): the run goes on and is spooled; when it can be reached, "
                    "upload it with: python -m eprli_lab.tracking upload %s",
                    self._tracking.uri,
                    self._offline,
                    self._directory,
                )
            self._wake.notify_all()


def _header(spec: RunSpec, parent_run_id: str | None, token: str | None) -> dict[str, Any]:
    """Everything that makes the run in a store. `token` names this spool, so that an upload finds its run again."""
    token = token or uuid.uuid4().hex
    name = f"{spec.arm}-seed{spec.seed}" if spec.arm else f"run-{spec.fingerprint()}"
    tags = {"kind": "run", "seed": str(spec.seed), "fingerprint": spec.fingerprint(), "eprli.token": token}
    tags |= {"study": spec.study} if spec.study else {}
    tags |= {"arm": spec.arm} if spec.arm else {}
    tags |= {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
    tags |= {"mlflow.source.name": "python -m eprli_lab.run", "mlflow.source.type": "LOCAL"}
    tags["eprli.provenance"] = json.dumps(provenance())
    params = {k: v if isinstance(v, str) else json.dumps(v) for k, v in spec.flat().items()}
    tracking = spec.tracking.model_dump() | {"uri": resolve_uri(spec.tracking.uri)}
    tags |= _process_tags()
    return {"token": token, "name": name, "tags": tags, "params": params, "tracking": tracking}


def _attach(client: Any, experiment: str, spool: Spool) -> tuple[str, dict[tuple[str, int], float]]:
    """Make or re-open the run of a spool: (run id, what is stored of it already). Its status is RUNNING after."""
    from mlflow.entities import Param

    tags, params = spool.header["tags"], spool.header["params"]
    run = _existing(client, experiment, spool)
    if run is None:
        run = client.create_run(experiment, tags=tags, run_name=spool.header["name"])
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        if "eprli.ended" in run.data.tags:
            client.delete_tag(run.info.run_id, "eprli.ended")
        _set_tags(client, run.info.run_id, tags)
    run_id = str(run.info.run_id)
    missing = [Param(k, v[:VALUE_LENGTH]) for k, v in params.items() if k not in run.data.params]
    for i in range(0, len(missing), PARAMS):
        client.log_batch(run_id, params=missing[i : i + PARAMS])
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
    found = _search(client, experiment, f"tags.`eprli.token` = '{spool.header['token']}'")
    return found[0] if found else None


def _stored_points(client: Any, run_id: str, keys: Iterable[str]) -> dict[tuple[str, int], float]:
    """(metric, step) -> value last stored there."""
    points = (m for key in keys for m in client.get_metric_history(run_id, key))
    return {(m.key, m.step): m.value for m in sorted(points, key=lambda m: m.timestamp)}


def _is_stored(stored: Mapping[tuple[str, int], float], point: Point) -> bool:
    """Is there a point for this metric and step that needs no successor?

    An execution that is repeated from a checkpoint gives the same numbers again, the clock's apart.
    """
    key, step, value, _ = point
    if (key, step) not in stored:
        return False
    there = stored[key, step]
    return key.startswith(WALL_CLOCK) or there == value or (there != there and value != value)


def _send(client: Any, uri: str, run_id: str, items: Sequence[Point | tuple[str, str]]) -> None:
    """Points and files, in order."""
    points: list[Point] = []
    for item in items:
        if len(item) == 4:
            points.append(item)
            continue
        _send_points(client, uri, run_id, points)
        points = []
        client.log_artifact(run_id, item[0], item[1] or None)
    _send_points(client, uri, run_id, points)


def _send_points(client: Any, uri: str, run_id: str, points: Sequence[Point]) -> None:
    """Into a SQLite file of the schema that we know by two statements, else by log_batch.

    log_batch takes 0.11 ms of processor time for a metric, in Python, so that a training loop of small tensor
    operations slows down by a fifth while it runs (benchmarks/tracking.py); these statements take 3 us.
    """
    file = sqlite_file(uri)
    if not points or (file is not None and _insert(file, run_id, points)):
        return
    from mlflow.entities import Metric

    for i in range(0, len(points), BATCH):
        metrics = [Metric(key, value, at, step) for key, step, value, at in points[i : i + BATCH]]
        client.log_batch(run_id, metrics=metrics)


def _insert(file: Path, run_id: str, points: Sequence[Point]) -> bool:
    """What log_batch leaves in the tables `metrics` and `latest_metrics`; False when they look different."""
    import sqlite3

    rows = []
    for key, step, value, at in points:
        nan = math.isnan(value)  # stored as 0 with a mark; infinities as the largest doubles
        rows.append((key, 0.0 if nan else max(-LARGEST, min(LARGEST, value)), at, run_id, step, nan))
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS)
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


def _end(client: Any, run_id: str | None, status: str, message: str | None) -> None:
    if message:
        client.set_tag(run_id, "eprli.ended", message[:VALUE_LENGTH])
    if message == PRUNED:
        client.set_tag(run_id, "pruned", "true")  # never in a comparison
    client.set_terminated(run_id, status)


def upload(run_dir: Path, uri: str | None = None) -> tuple[str, int]:
    """Send what a spooled run holds and the store does not: (run id, points sent). A second time sends nothing.

    Raises UserError when there is no spool, its run is still going on, or the store cannot be reached.
    """
    spool = Spool.read(run_dir / "spool.jsonl")
    if not spool.header:
        raise UserError(f"{run_dir} holds no spool.jsonl: give a run's directory, such as outputs/run-0123456789ab")
    tags = spool.header["tags"]
    if spool.end is None and tags["host"] == socket.gethostname() and _is_alive(tags):
        raise UserError(f"{run_dir}: its run is still going on (process {tags['pid']}): upload it when it ended")
    tracking = TrackingSpec(**spool.header["tracking"] | ({"uri": uri} if uri else {}))
    try:
        client, experiment = _open(tracking)
        if "study" in tags:
            found = _search(client, experiment, f"tags.study = {_quoted(tags['study'])} and tags.kind = 'study'")
            parent = found[0].info.run_id if found else open_parent(tracking, tags["study"], None)
            tags["mlflow.parentRunId"] = parent
        spool.run_id, stored = _attach(client, experiment, spool)
        points = [(key, step, value, at) for (key, step), (value, at) in spool.points.items()]
        missing = [p for p in sorted(points, key=lambda p: p[3]) if not _is_stored(stored, p)]
        _send(
            client,
            resolve_uri(tracking.uri),
            spool.run_id,
            [*missing, *(entry for entry in spool.artifacts if Path(entry[0]).is_file())],
        )
        _end(client, spool.run_id, *(spool.end or ("FAILED", "process died")))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{tracking.uri} cannot be reached ({_short(error)}): start it and upload again") from None
    with spool.path.open("a") as file:
        file.write(json.dumps({"id": spool.run_id}) + "\n")
    return spool.run_id, len(missing)


# --- reading, for analysis ---------------------------------------------------------------------------------------


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
    except Exception as error:
        why = "it is no MLflow store" if "no such table" in str(error) else _short(error)
        raise UserError(f"the tracking store {tracking.uri} cannot be read: {why}") from None
    if found is None:
        raise UserError(f"tracking.experiment: {tracking.uri} has no experiment '{tracking.experiment}'")
    return found


def _client_runs(uri: str, experiment: str, study: str | None) -> list[LoggedRun] | None:
    """None: there is no such experiment."""
    check_reachable(uri)
    client = _client(uri)
    known = client.get_experiment_by_name(experiment)
    if known is None:
        return None
    query = f"tags.study = {_quoted(study)}" if study is not None else "tags.kind = 'study'"
    return [
        LoggedRun(r.info.run_id, r.info.status, r.info.start_time, dict(r.data.tags), dict(r.data.params))
        for r in _search(client, known.experiment_id, query)
    ]


def _sqlite_runs(file: Path, experiment: str, study: str | None) -> list[LoggedRun] | None:
    """None: there is no such experiment."""
    connection = _reading(file)
    try:
        known = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)).fetchone()
        if known is None:
            return None
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
        return list(runs.values())
    finally:
        connection.close()


def _reading(file: Path) -> sqlite3.Connection:
    """A connection that cannot write; of a file in a directory that nobody may write to, one that needs no lock."""
    import sqlite3

    still = "" if os.access(file.parent, os.W_OK) or Path(f"{file}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=30)


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
        found = _client_points(_client(uri), run_ids, wanted) if file is None else _sqlite_points(file, run_ids, wanted)
        for run_id, key, steps, values in found:
            yield run_id, key, steps, [_finite_or_not(v) for v in values] if clamped(values) else values
    except Exception as error:
        raise UserError(f"the metrics of {tracking.uri} cannot be read: {_short(error)}") from None


def _finite_or_not(value: float) -> float:
    """The store holds infinities as the largest numbers."""
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else value


def _sqlite_points(file: Path, run_ids: Sequence[str], wanted: Callable[[str], bool]) -> Points:
    """Ordered by the index on (run_uuid, key, step); a sort by time as well is for the metrics that need it."""
    columns = "SELECT key, step, CASE is_nan WHEN 0 THEN value END FROM metrics WHERE run_uuid = ?"
    connection = _reading(file)
    try:
        for run_id in run_ids:
            keys = [k for (k,) in connection.execute("SELECT key FROM latest_metrics WHERE run_uuid = ?", (run_id,))]
            kept = [k for k in keys if wanted(k)]
            query, bound = columns, [run_id]
            if len(kept) < len(keys):
                query, bound = f"{columns} AND key IN ({','.join('?' * len(kept))})", [run_id, *kept]
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
    try:
        client = _client(resolve_uri(tracking.uri))
        path = Path(client.download_artifacts(run_id, name))
    except Exception:  # every kind of artifact store has its own errors for what is not there
        return None
    return path if path.is_file() else None


def main(arguments: Sequence[str]) -> int:
    """`python -m eprli_lab.tracking upload RUN_DIR [tracking.uri=URI]`"""
    rest = [a for a in arguments[1:] if not a.startswith("tracking.uri=")]
    uris = [a.removeprefix("tracking.uri=") for a in arguments[1:] if a.startswith("tracking.uri=")]
    try:
        if not arguments or arguments[0] != "upload" or not rest:
            raise UserError("usage: python -m eprli_lab.tracking upload RUN_DIR ... [tracking.uri=URI]")
        for directory in rest:
            run_id, sent = upload(Path(directory), uris[-1] if uris else None)
            print(f"{directory}: {sent} points sent to run {run_id}")
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
