"""Data sets as MLflow's inputs, and models in its registry: online, and from a spool that is sent later; each once."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import small_spec

from eprli_lab.errors import UserError
from eprli_lab.tracking.inputs import DataInput
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.store import mlflow_client, open_store, prepare
from eprli_lab.tracking.upload import upload
from eprli_lab.tracking.uri import resolve_uri

pytestmark = pytest.mark.slow  # a store is made

INPUTS = (
    DataInput("mod10", "0123", "train", "code", {"family": "mod10"}, {"num_rows": 64, "level l1": 64}),
    DataInput("easy", "4567", "eval", "local", {"uri": "easy.jsonl"}, {"num_rows": 8}),
)


def inputs_of(run_id: str) -> list[tuple[str, str, str, str]]:
    run = mlflow_client(resolve_uri("sqlite:///mlflow.db")).get_run(run_id)
    found = run.inputs.dataset_inputs
    return sorted((i.dataset.name, i.dataset.digest, i.tags[0].value, i.dataset.profile) for i in found)


def log_a_run(directory: Path, uri: str, seed: int = 0) -> str | None:
    """A run with inputs and a registered file, as training logs one."""
    base = small_spec("tracking.register=tiny")
    tracking = base.tracking.model_copy(update={"uri": uri})
    spec = base.model_copy(update={"tracking": tracking, "arm": "a", "seed": seed})
    tracker = RunTracker(spec, parent_run_id=None, run_id=None, run_dir=directory, inputs=INPUTS)
    tracker.log({"score": 0.5}, 1)
    (directory / "MLmodel").write_text("flavors: {}\n")
    tracker.artifact(directory / "MLmodel", "model")
    tracker.register("tiny", "model")
    tracker.finish("FINISHED", None)
    return tracker.run_id


def test_inputs_and_models_are_stored_once_however_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(small_spec().tracking)
    online = log_a_run(tmp_path / "online", "sqlite:///mlflow.db")
    assert log_a_run(tmp_path / "away", "sqlite:///missing/mlflow.db", seed=1) is None
    away, _ = upload(tmp_path / "away", "sqlite:///mlflow.db")
    assert upload(tmp_path / "away", "sqlite:///mlflow.db")[0] == away
    wanted = [
        ("easy", "4567", "eval", '{"num_rows": 8}'),
        ("mod10", "0123", "train", '{"num_rows": 64, "level l1": 64}'),
    ]
    assert inputs_of(online) == inputs_of(away) == wanted
    client, _ = open_store(small_spec().tracking)
    versions = client.search_model_versions("name = 'tiny'")
    assert sorted(v.run_id for v in versions) == sorted([online, away])
    assert {v.source for v in versions} == {f"runs:/{online}/model", f"runs:/{away}/model"}
    assert {v.tags["arm"] for v in versions} == {"a"} and {v.tags["seed"] for v in versions} == {"0", "1"}


def test_a_store_without_a_registry_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "./models")  # MLflow keeps none in plain files any more
    with pytest.raises(
        UserError, match=r"tracking\.register=tiny: .* keeps no registered models \(.*MLFLOW_REGISTRY_URI"
    ):
        prepare(small_spec("tracking.register=tiny", "tracking.uri=sqlite:///other.db").tracking)
