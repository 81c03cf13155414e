"""The head of a run's spool: name, tags, params, inputs; all that makes the run in a store."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.config.spec import RunSpec
from eprli_lab.masking import masked
from eprli_lab.tracking.description import PLANNED
from eprli_lab.tracking.inputs import DataInput
from eprli_lab.tracking.provenance import provenance
from eprli_lab.tracking.store import process_tags
from eprli_lab.tracking.uri import absolute


def run_header(
    spec: RunSpec,
    parent_run_id: str | None,
    token: str | None,
    run_dir: Path,
    engine: Mapping[str, str],
    inputs: Sequence[DataInput] = (),
) -> dict[str, Any]:
    """Everything that makes the run in a store. `token` names this spool, so that an upload finds its run again.

    `directory` and `cwd`, as they were: a folder that was moved since has its store in the new place.
    """
    token = token or uuid.uuid4().hex
    levels = "+".join(spec.curriculum.levels)
    name = f"{spec.arm or f'{spec.model.name} {levels}'}/seed{spec.seed}"  # a display name: tags say which run it is
    tags = {"kind": "run", "seed": str(spec.seed), "fingerprint": spec.fingerprint(), "eprli.token": token}
    tags |= {"study": spec.study} if spec.study else {}
    tags |= {"arm": spec.arm} if spec.arm else {}
    tags |= {PLANNED: spec.planned} if spec.planned else {}
    tags |= {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
    tags |= {"mlflow.source.name": "python -m eprli_lab.run", "mlflow.source.type": "LOCAL"}
    tags["eprli.provenance"] = json.dumps(provenance() | ({"engine": dict(engine)} if engine else {}))
    params = {k: v if isinstance(v, str) else json.dumps(v) for k, v in spec.flat().items()}
    tracking = spec.tracking.model_dump() | {"uri": absolute(spec.tracking.uri)}
    tags |= process_tags()
    places: dict[str, Any] = {"directory": str(run_dir.resolve()), "cwd": str(Path.cwd())}
    places |= {"inputs": [data.to_json() for data in inputs]} if inputs else {}
    return {"token": token, "name": name, "tags": tags, "params": masked(params), "tracking": tracking, **places}
