"""An MLflow server that answers on this machine already: asked over its REST interface, never started."""

from __future__ import annotations

import json
import urllib.request
from typing import Any
from urllib.parse import quote

PAGE = "http://127.0.0.1:5000"  # where `mlflow ui` answers unless told otherwise
PATIENCE = 5.0  # s that a server may take; where none is, it is known at once


def answers(page: str = PAGE) -> bool:
    """Whether an MLflow server is there."""
    try:
        with urllib.request.urlopen(f"{page}/version", timeout=PATIENCE) as reply:
            return bool(reply.status == 200 and reply.read(32).strip()[:1].isdigit())
    except (OSError, ValueError):
        return False


def holds(study: str, experiment: str, page: str = PAGE) -> bool:
    """Whether the server there has a run of this study in the experiment of that name."""
    try:
        found = _asked(f"{page}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(experiment, safe='')}")
        wanted = {"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 1}
        wanted["filter"] = "tags.study = '" + study.replace("'", "''") + "'"
        return bool(_asked(f"{page}/api/2.0/mlflow/runs/search", wanted).get("runs"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _asked(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer
