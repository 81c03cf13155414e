"""The saved view of a study in MLflow's pages."""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking import names
from eprli_lab.tracking.store import open_store, quoted
from eprli_lab.tracking.uri import resolve_uri


def _view_key(study: str) -> str:
    return "eprli-" + re.sub(r"[^A-Za-z0-9_-]", "-", study)


def save_view(client: Any, experiment: str, study: str, columns: Sequence[str]) -> None:
    """A saved view of MLflow's UI (in its list "Views"): the study's runs grouped by arm, against training tokens."""
    shown = [f"metrics.`{m}`" for m in (names.SCORE, *columns, names.UPDATES, names.TOKENS, names.TOTAL_SECONDS)]
    state = {
        "searchFilter": f"tags.study = {quoted(study)} and tags.kind = 'run' and attributes.status != 'FAILED'",
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
            "selectedXAxisMetricKey": names.TOKENS,
        },
    }
    packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": f"{study} by arm", "createdAt": now, "updatedAt": now, "state": packed}
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{_view_key(study)}", json.dumps(view))


def _page(uri: str) -> str:
    """Where a browser finds a tracking server; who it is asks for itself."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")).rstrip("/")


def view_link(tracking: TrackingSpec, study: str, *, charts: bool = False) -> str:
    """Where `mlflow ui` (or the server) shows a study's runs grouped by arm; '' when the store cannot be reached."""
    try:
        _, experiment = open_store(tracking)
    except Exception:
        return ""
    uri = resolve_uri(tracking.uri)
    host = _page(uri) if uri.startswith("http") else "http://127.0.0.1:5000"
    link = f"{host}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={_view_key(study)}"
    return link + ("&compareRunsMode=CHART" if charts else "")
