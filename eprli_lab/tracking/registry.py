"""Models of MLflow's registry: the final policy of a run as a version, and whether a store has a registry at all."""

from __future__ import annotations

from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.tracking.uri import first_line

DESCRIBED = ("study", "arm", "seed", "fingerprint")  # tags of a run that its version has, too


def check_registry(client: Any, register: str, uri: str) -> None:
    """Raises UserError where the store keeps no models, ConnectionError where it gives no answer."""
    from mlflow.exceptions import MlflowException

    try:
        client.search_registered_models(max_results=1)
    except MlflowException as error:
        if error.error_code in ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR") and "Max retries" in str(error):
            raise ConnectionError(first_line(error)) from None
        raise UserError(
            f"tracking.register={register}: {uri} keeps no registered models ({first_line(error)}): leave it out, or "
            "set MLFLOW_REGISTRY_URI to a store that does"
        ) from None


def register(client: Any, run_id: str, name: str, folder: str) -> None:
    """A version of the model `name` of what lies in `folder` of a run's artifacts; once, however often it is called."""
    from mlflow.exceptions import MlflowException

    versions = client.search_model_versions(f"run_id = '{run_id}'")
    if any(version.name == name for version in versions):
        return
    try:
        client.create_registered_model(name, description="Final policies of EPRLI Lab: mlflow.transformers opens them.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = client.get_run(run_id).data.tags
    client.create_model_version(
        name,
        source=f"runs:/{run_id}/{folder}",  # follows the run when the store's folder is moved
        run_id=run_id,
        tags={key: tags[key] for key in DESCRIBED if key in tags},
        await_creation_for=0,
    )
