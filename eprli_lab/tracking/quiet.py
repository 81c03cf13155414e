"""MLflow without telemetry, progress bars, announcements of every retry and waits of minutes."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # of one request: the default is seven retries of two minutes each. We try again ourselves, with all that waits.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}


def quiet_mlflow() -> None:
    """Call it before MLflow is imported. What the environment says goes first."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    try:
        Path.home()
    except RuntimeError:  # a user without HOME and without an entry of the system's: MLflow looks for a home
        os.environ["HOME"] = tempfile.gettempdir()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store"):  # SQL of what they then raise
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("urllib3", "mlflow.utils.requests_utils"):  # they announce every retry; we say it once ourselves
        logging.getLogger(name).setLevel(logging.ERROR)
