"""The saved view of a study in MLflow's pages."""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking import names
from eprli_lab.tracking.charts import charts
from eprli_lab.tracking.store import open_store, quoted
from eprli_lab.tracking.uri import resolve_uri

TRAINING = "workflowType=machine_learning"  # else the page opens as it was left, at first in its mode for traces
LONGEST = 5000  # characters of an experiment's tag: MLflow takes 20,000, its older servers 5,000


def _view_key(study: str) -> str:
    return "eprli-" + re.sub(r"[^A-Za-z0-9_-]", "-", study)


def save_view(client: Any, experiment: str, study: str, metrics: Collection[str] = ()) -> None:
    """A saved view of MLflow's UI (in its list "Views"): the study's runs grouped by arm, against training tokens.

    `metrics`: what its runs log, or are expected to: the columns and charts are made of these.
    """
    suites = sorted(m for m in metrics if names.is_evaluation(m) and names.quantity_of(m) == "avg_at_k")
    state = _state(study, suites) | {"isAccordionReordered": True}
    cards, sections = charts(metrics)
    client.set_experiment_tag(
        experiment, f"mlflow.sharedViewState.{_view_key(study)}", _longest(study, state, cards, sections)
    )


def _longest(study: str, state: dict[str, Any], cards: list[dict[str, Any]], sections: list[dict[str, Any]]) -> str:
    """The view with as many of its folded sections as a tag holds; what is missing MLflow adds unfolded, at the end."""
    opened = sum(s["display"] for s in sections)
    few, many = opened - 1, len(sections)  # so many fit (less than the open ones: no charts at all); no more will
    text = _view(study, state)
    while few < many:
        tried = (few + many + 1) // 2
        candidate = _view(study, state | {"compareRunCharts": cards, "compareRunSections": sections[:tried]})
        if len(candidate) <= LONGEST:
            few, text = tried, candidate
        else:
            many = tried - 1
    return text


def _view(study: str, state: dict[str, Any]) -> str:
    packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    now = int(time.time() * 1000)
    return json.dumps({"name": f"{study} by arm", "createdAt": now, "updatedAt": now, "state": packed})


def _state(study: str, suites: Sequence[str]) -> dict[str, Any]:
    """Which runs, how they are grouped, which columns, the charts' axis. Names of fields are MLflow's."""
    shown = (names.SCORE, *suites, names.RESPONSE_TOKENS, names.UPDATES, names.TOKENS, names.TOTAL_SECONDS)
    columns = [f"metrics.`{m}`" for m in shown]
    return {
        "searchFilter": f"tags.study = {quoted(study)} and tags.kind = 'run' and attributes.status != 'FAILED'",
        "orderByKey": "tags.`mlflow.runName`",  # arm/seed
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, "tags.`seed`"],
        "columnOrder": columns,
        "columnWidths": {f"metrics.`{m}`": max(130, 48 + 8 * len(m)) for m in shown},  # px: a name is read whole
        "runsHiddenMode": "SHOW_ALL",
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


def _page(uri: str) -> str:
    """Where a browser finds a tracking server; who it is asks for itself."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")).rstrip("/")


def view_address(experiment: str, study: str | None, *, charts: bool = False) -> str:
    """Of a study's saved view within MLflow's pages, or of all runs: in the mode for training."""
    address = f"#/experiments/{experiment}/runs?{TRAINING}"
    view = f"&viewStateShareKey={_view_key(study)}" if study is not None else ""
    return address + view + ("&compareRunsMode=CHART" if charts else "")


def run_address(experiment: str, run_id: str) -> str:
    """Of one run within MLflow's pages."""
    return f"#/experiments/{experiment}/runs/{run_id}?{TRAINING}"


def view_link(tracking: TrackingSpec, study: str | None, *, charts: bool = True) -> str:
    """Where `mlflow ui` (or the server) shows a study by arm, its charts or its table; of None all runs.

    '' when the store cannot be reached.
    """
    try:
        _, experiment = open_store(tracking)
    except Exception:
        return ""
    uri = resolve_uri(tracking.uri)
    host = _page(uri) if uri.startswith("http") else "http://127.0.0.1:5000"
    return f"{host}/{view_address(experiment, study, charts=charts and study is not None)}"
