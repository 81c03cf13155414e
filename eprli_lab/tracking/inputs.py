"""The data of a run as MLflow's inputs: name, digest, where it comes from, how much of it there is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

COLUMNS = (
    {"name": "prompt", "type": "string"},
    {"name": "answers", "type": "string"},
    {"name": "difficulty", "type": "double"},
)
CONTEXT = "mlflow.data.context"


@dataclass(frozen=True)
class DataInput:
    """One data set that a run trains or is examined on; written into the head of its spool as JSON."""

    name: str
    digest: str  # of its problems as they are asked, in order; MLflow takes 36 characters
    context: Literal["train", "eval"]
    source_type: str  # code (generated), local, hugging_face
    source: dict[str, Any]
    profile: dict[str, Any] = field(default_factory=dict)  # counts

    def to_json(self) -> dict[str, Any]:
        """As the spool holds it."""
        return asdict(self)


def log_inputs(client: Any, run: Any, inputs: Sequence[Mapping[str, Any]]) -> None:
    """The inputs that a run of the store has not yet. Raises what MLflow's client raises."""
    from mlflow.exceptions import MlflowException

    there = {(i.dataset.name, i.dataset.digest) for i in (run.inputs.dataset_inputs if run.inputs else ())}
    late = [entry for entry in inputs if (entry["name"], entry["digest"]) not in there]
    if not late:
        return
    entries = [_entity(entry) for entry in late]
    try:
        client.log_inputs(run.info.run_id, datasets=entries)
    except MlflowException:  # another process made the same data set between its look and its write: now it is there
        client.log_inputs(run.info.run_id, datasets=entries)


def _entity(entry: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=entry["name"],
        digest=entry["digest"],
        source_type=entry["source_type"],
        source=json.dumps(entry["source"]),
        schema=json.dumps({"mlflow_colspec": list(COLUMNS)}),
        profile=json.dumps(entry["profile"]),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag(key=CONTEXT, value=entry["context"])])
