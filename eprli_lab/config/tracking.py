"""Where runs are logged: the config's part, and what MLflow's own environment variables say of it."""

from __future__ import annotations

import os
import warnings
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, field_validator

from eprli_lab.config.credentials import hide, is_reference, reveal
from eprli_lab.config.fields import AsTuple, Label, Later, Strict
from eprli_lab.errors import UserError, nearest

MirrorName = Literal["wandb", "tensorboard", "trackio"]
DEFAULT_URI = "sqlite:///mlflow.db"  # of the working directory
DEFAULT_EXPERIMENT = "eprli_lab"
# Variables of MLflow's that would lead its own runs elsewhere: obeying half of them would be worse than refusing.
REFUSED = {
    "MLFLOW_EXPERIMENT_ID": "an experiment has a name here: set MLFLOW_EXPERIMENT_NAME or tracking.experiment=NAME",
    "MLFLOW_RUN_ID": "every run makes its own MLflow run, and goes on in it",
}

# pydantic's: `register` is a method of the metaclass, which no instance has
warnings.filterwarnings("ignore", 'Field name "register" in "TrackingSpec" shadows', UserWarning)


class TrackingSpec(Strict):
    """Where runs are logged. MLflow's own variables are obeyed where the config names no place (docs/tracking.md)."""

    model_config = ConfigDict(validate_default=True)  # what the variables hold, too

    # or env:NAME, file:PATH; credentials are hidden in it (config/credentials.py)
    uri: str = Field(default_factory=lambda: os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)
    experiment: Label = Field(default_factory=lambda: os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT)
    flush_seconds: Annotated[float, Field(gt=0.0)] = 5.0
    samples_per_step: Annotated[int, Field(ge=0, le=64), Later(4)] = 4  # whole responses that are kept; 0: none
    register: Annotated[Label | None, Later(None)] = (
        None  # model of MLflow's registry that final policies are versions of
    )
    # wandb, tensorboard, trackio: told the same as MLflow (docs/tracking.md, Mirrors)
    mirror: Annotated[tuple[MirrorName, ...], AsTuple, Later(())] = ()

    @field_validator("mirror", mode="before")
    @classmethod
    def _are_mirrors(cls, v: Any) -> Any:
        names = list(get_args(MirrorName))
        for name in v if isinstance(v, list | tuple) else [v]:
            if name not in names:
                raise ValueError(f"'{name}' is no mirror{nearest(str(name), names)}")
        if not isinstance(v, list | tuple):
            raise ValueError(f"give a list, [{v}]")
        if len(set(v)) < len(v):
            raise ValueError("a mirror stands there twice: name each once")
        return v

    @field_validator("register")
    @classmethod
    def _is_model_name(cls, v: str | None) -> str | None:
        if v is not None and ("/" in v or ":" in v):
            raise ValueError(f"'{v}': MLflow's registry takes no / and no : in the name of a model")
        return v

    @field_validator("experiment")
    @classmethod
    def _no_other_place(cls, v: str) -> str:
        chosen = v != (os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT)  # by the config: it goes first
        for variable, why in REFUSED.items():
            if os.environ.get(variable) and not (chosen and variable == "MLFLOW_EXPERIMENT_ID"):
                raise ValueError(f"the environment variable {variable} is not obeyed ({why}): unset it")
        return v

    @field_validator("uri")
    @classmethod
    def _is_uri(cls, v: str) -> str:
        if v == "???":
            raise ValueError("is missing: name the server (tracking.uri=http://HOST:PORT), or set MLFLOW_TRACKING_URI")
        schemes = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
        try:
            uri = reveal(v) if is_reference(v) else v
        except UserError as error:
            raise ValueError(str(error).removeprefix("tracking.uri=").removeprefix("tracking.uri: ")) from None
        scheme, sep, rest = uri.partition("://")
        if not sep or scheme.split("+")[0] not in schemes or not rest:
            shown = v if is_reference(v) or "@" not in v else f"...@{v.rpartition('@')[2]}"
            raise ValueError(
                f"'{shown}' is no tracking URI: use sqlite:///FILE, http(s)://HOST:PORT, or a database URI such as "
                "postgresql://USER@HOST/NAME"
            )
        return hide(v)
