"""MLflow's own variables are obeyed or refused, and a registered model is refused where there would be none."""

from __future__ import annotations

import pytest

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.parse import parse_tracking
from eprli_lab.errors import UserError


def test_a_run_or_an_experiment_by_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    with pytest.raises(UserError, match=r"MLFLOW_EXPERIMENT_ID is not obeyed .*tracking\.experiment=NAME\): unset it"):
        parse_tracking("tracking.uri")
    assert parse_tracking("tracking.uri", experiment="said").experiment == "said", "the config goes first"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123")
    for given in ({}, {"experiment": "said"}):
        with pytest.raises(UserError, match="MLFLOW_RUN_ID is not obeyed"):
            parse_tracking("tracking.uri", **given)
    with pytest.raises(UserError, match="MLFLOW_RUN_ID is not obeyed"):
        compose_spec([])


def test_the_servers_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"tracking\.uri: is missing: name the server"):
        compose_spec(["tracking=server"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert compose_spec(["tracking=server"]).tracking.uri == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tracking.register=a/b"], "no / and no :"),
        (["tracking.register=m", "curriculum.weights=separate"], "ends with one a level"),
        (["tracking.register=m", "model.lora={rank:2}"], r"set model\.lora\.merged=true"),
    ],
)
def test_a_model_is_registered_only_where_there_is_one(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compose_spec(words)


def test_registering_changes_no_fingerprint() -> None:
    plain, registered = compose_spec([]), compose_spec(["tracking.register=m"])
    assert registered.tracking.register == "m" and registered.fingerprint() == plain.fingerprint()
    assert "register" not in plain.model_dump()["tracking"]
