"""Printed commands name the store that is meant, and nothing where there is nothing to name."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking.commands import LIGHT, tracking_command, ui_command
from eprli_lab.tracking.uri import store_words


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_default_store_is_not_named(tmp_path: Path) -> None:
    for uri in ("sqlite:///mlflow.db", f"sqlite:///{tmp_path}/mlflow.db"):
        assert store_words(TrackingSpec(uri=uri)) == []
        assert ui_command(TrackingSpec(uri=uri)) == LIGHT


def test_another_store_and_experiment_are_named_as_a_shell_reads_them() -> None:
    spec = TrackingSpec(uri="sqlite:///my runs/m.db", experiment="two words")
    command = tracking_command(["eprli-lab", "report", "study=s"], spec)
    assert shlex.split(command) == [
        "eprli-lab", "report", "study=s", "tracking.uri=sqlite:///my runs/m.db", "tracking.experiment=two words",
    ]  # fmt: skip
    assert shlex.split(ui_command(spec))[-2:] == ["--backend-store-uri", "sqlite:///my runs/m.db"]
    assert ui_command(TrackingSpec(uri="http://127.0.0.1:9")) == "", "a server has a page already"


def test_the_environment_makes_the_default_one_that_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    said = TrackingSpec(uri="sqlite:///mlflow.db", experiment="eprli_lab")
    assert store_words(said) == ["tracking.uri=sqlite:///mlflow.db", "tracking.experiment=eprli_lab"]
    assert ui_command(said) == f"{LIGHT} --backend-store-uri sqlite:///mlflow.db"
    assert store_words(TrackingSpec()) == ["tracking.uri=sqlite:///other.db", "tracking.experiment=mine"]


def test_no_password_is_printed_and_the_page_finds_it_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = TrackingSpec(uri="postgresql://ann:secret1@host/runs")
    assert store_words(hidden) == ["tracking.uri=env:EPRLI_TRACKING_URI"] and "secret1" not in ui_command(hidden)
    assert ui_command(hidden).endswith('--backend-store-uri "$EPRLI_TRACKING_URI"')
    monkeypatch.setenv("MY_STORE", "postgresql://ann:secret2@host/runs")
    assert ui_command(TrackingSpec(uri="env:MY_STORE")).endswith('--backend-store-uri "$MY_STORE"')
    Path("uri.txt").write_text("postgresql://ann:secret3@host/runs\n")
    assert ui_command(TrackingSpec(uri="file:uri.txt")).endswith('--backend-store-uri "$(cat uri.txt)"')
    assert store_words(TrackingSpec(uri="env:MY_STORE")) == ["tracking.uri=env:MY_STORE"]
