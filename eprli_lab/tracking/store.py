"""The MLflow store: opened, made where it is missing, and rid of runs whose process died."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eprli_lab import __version__
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.birth import check_store, damaged, ensure_store, exists, store_lock
from eprli_lab.tracking.moved import ARTIFACTS, repair_locations
from eprli_lab.tracking.process import ProcessIdentity
from eprli_lab.tracking.quiet import quiet_mlflow
from eprli_lab.tracking.registry import check_registry
from eprli_lab.tracking.uri import check_reachable, first_line, resolve_uri, sqlite_file

log = logging.getLogger(__name__)
BUSY_SECONDS = 20.0  # to wait for another process's write; MLflow's own wait in a SQLite file
TAGS = 100  # in one log_batch, the limit of MLflow


@functools.cache
def mlflow_client(uri: str) -> Any:
    """An MlflowClient for a resolved URI; quiet, impatient, without telemetry."""
    quiet_mlflow()
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def open_store(tracking: TrackingSpec) -> tuple[Any, str]:
    """(client, experiment id); creates database and experiment where they are missing.

    Raises ConnectionError when the store cannot be reached, UserError when the experiment was deleted or the URI is of
    no store that outlives its process or of one whose driver is not installed, StoreError when the file is damaged or
    of another version.
    """
    uri = resolve_uri(tracking.uri)
    if uri.partition("?")[0] in ("sqlite:///:memory:", "sqlite://", "sqlite:///"):
        raise UserError(f"tracking.uri: {tracking.uri} ends with its process: give a file, sqlite:///FILE")
    check_reachable(uri)
    file = sqlite_file(uri)
    if file is not None and exists(file):
        _wait_until_free(file)
    try:
        experiment = experiment_id(uri, tracking.experiment)  # first: a client would make missing tables in place
        return mlflow_client(uri), experiment
    except ModuleNotFoundError as error:
        raise UserError(f"tracking.uri: {tracking.uri} needs the Python package {error.name}: install it") from None


def _wait_until_free(file: Path) -> None:
    """Raises ConnectionError for a file that another process has been writing to for BUSY_SECONDS, or that is full."""
    import sqlite3

    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    except sqlite3.OperationalError as error:
        raise ConnectionError(f"{file}: {first_line(error)}") from None
    except sqlite3.DatabaseError as error:
        raise damaged(file, error) from None
    finally:
        connection.close()


_opened: dict[tuple[str, str], tuple[Any, str]] = {}  # (uri, experiment's name) -> (which file it was, id)


def experiment_id(uri: str, name: str) -> str:
    """Of an experiment in the store of a resolved URI; both are made where they are missing."""
    file = sqlite_file(uri)
    if file is None:
        if (uri, name) not in _opened:
            _opened[uri, name] = None, _active(mlflow_client(uri), uri, name, None)
        return _opened[uri, name][1]
    known, experiment = _opened.get((uri, name), (None, ""))
    if known is not None and known == _which(file):
        return experiment
    quiet_mlflow()
    with store_lock(file):
        if known is not None:
            _let_go(uri)  # another file has its name by now
        ensure_store(file)
        experiment = _active(mlflow_client(uri), uri, name, (Path.cwd() / ARTIFACTS).as_uri())
        sentence = repair_locations(file, name)
    if sentence:
        log.warning("tracking: %s", sentence)
    _opened[uri, name] = _which(file), experiment
    return experiment


def _active(client: Any, uri: str, name: str, artifacts: str | None) -> str:
    """Id of the experiment, made where it is missing. Raises UserError for a deleted one."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        tags = {
            "mlflow.experimentKind": "custom_model_development",  # the UI opens in its "Model training" view
            "mlflow.experiment.primaryMetric.name": "score",
            "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
        }
        try:
            return str(client.create_experiment(name, artifact_location=artifacts, tags=tags))
        except Exception:
            experiment = client.get_experiment_by_name(name)  # another process was faster, or a retry found its own
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise deleted_experiment(uri, name, experiment.experiment_id)
    return str(experiment.experiment_id)


def deleted_experiment(uri: str, name: str, number: object) -> UserError:
    """The sentence for an experiment in MLflow's trash."""
    return UserError(
        f"tracking.experiment: '{name}' was deleted in {uri}: restore it (MLFLOW_TRACKING_URI={uri} mlflow experiments "
        f"restore --experiment-id {number}) or choose another name"
    )


def _which(file: Path) -> tuple[int, int] | None:
    """What tells a file from another one of its name."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _let_go(uri: str) -> None:
    """Of a store that was replaced under a process: its open connections lead to the old file."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore._get_or_create_engine(uri).dispose()
    for key in [k for k in _opened if k[0] == uri]:
        del _opened[key]


def prepare(tracking: TrackingSpec) -> bool:
    """Create database and experiment once, safely between processes. False when the store cannot be reached.

    Raises UserError for a store that cannot be used whatever one waits: damaged, of another version, deleted, without
    a registry where one is asked for.
    """
    try:
        file = sqlite_file(tracking.uri)
        if file is not None:
            check_store(file)
        client, _ = open_store(tracking)
        if tracking.register is not None:
            check_registry(client, tracking.register, tracking.uri)
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
