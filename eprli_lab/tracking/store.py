"""The MLflow store: opened, made where it is missing, and rid of runs whose process died."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eprli_lab import __version__
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.process import ProcessIdentity
from eprli_lab.tracking.uri import check_reachable, first_line, resolve_uri, sqlite_file

log = logging.getLogger(__name__)
TAGS = 100  # in one log_batch, the limit of MLflow


@functools.cache
def mlflow_client(uri: str) -> Any:
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


def open_store(tracking: TrackingSpec) -> tuple[Any, str]:
    """(client, experiment id); creates database and experiment where they are missing.

    Raises ConnectionError when the store cannot be reached, UserError when the experiment was deleted.
    """
    uri = resolve_uri(tracking.uri)
    check_reachable(uri)
    experiment = experiment_id(uri, tracking.experiment)  # first: a client creates missing tables, which needs the lock
    return mlflow_client(uri), experiment


@functools.cache
def experiment_id(uri: str, name: str) -> str:
    file = sqlite_file(uri)
    with _locked(uri):
        client = mlflow_client(uri)
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
        open_store(tracking)
    except UserError:
        raise
    except Exception as error:
        log.warning("tracking: %s cannot be reached (%s); runs will be spooled", tracking.uri, first_line(error))
        return False
    return True


def process_tags() -> dict[str, str]:
    """Tags that name this process and the version of the package."""
    return ProcessIdentity.current().to_tags() | {"eprli_lab": __version__}


def close_dead_runs(tracking: TrackingSpec) -> int:
    """Runs that are RUNNING in name only, since their process on this host is gone, become FAILED; how many."""
    closed = 0
    try:
        client, experiment = open_store(tracking)
        for run in search_runs(client, experiment, "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if not ProcessIdentity.from_tags(tags).is_alive(elsewhere=True):
                client.set_tag(run.info.run_id, "eprli.ended", "process died")
                client.set_terminated(run.info.run_id, "FAILED")
                closed += 1
    except UserError:
        raise
    except Exception as error:
        log.debug("tracking: dead runs were not looked for: %s", error)
    return closed


def search_runs(client: Any, experiment: str, query: str) -> list[Any]:
    """All runs of an experiment that answer a filter, oldest first."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment], query, order_by=["attributes.start_time ASC"], page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


def set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    entries = [RunTag(k, v) for k, v in tags.items()]
    for i in range(0, len(entries), TAGS):
        client.log_batch(run_id, tags=entries[i : i + TAGS])
