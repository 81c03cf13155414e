"""MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME at every entry: a sweep with workers, a run, report, table, status."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

TINY = ["preset=smoke", "budget.amount=1500", "evaluation.samples=1", "evaluation.boundary_problems=4"]


def lab(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", "eprli_lab", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


def runs(file: Path) -> set[tuple[str, str]]:
    """(experiment, run's name) of a store."""
    query = "select e.name, r.name from runs r join experiments e using (experiment_id)"
    return set(sqlite3.connect(file).execute(query))


def test_every_command_goes_where_the_environment_says(tmp_path: Path) -> None:
    here = {"MLFLOW_TRACKING_URI": "sqlite:///other.db", "MLFLOW_EXPERIMENT_NAME": "mine"}
    sweep = lab(tmp_path, "run", "-m", "sweep=smoke", *TINY, "study.workers=2", "study.figures=false", **here)
    assert sweep.returncode == 0, sweep.stderr
    one = lab(tmp_path, "run", *TINY, **here)
    assert one.returncode == 0, one.stderr
    assert not (tmp_path / "mlflow.db").exists()
    names = {
        ("mine", "smoke-smoke"),
        ("mine", "l1/seed0"),
        ("mine", "l2/seed0"),
        ("mine", "qwen3-0.1m-mod10 l1+l2/seed0"),
    }
    assert runs(tmp_path / "other.db") == names
    for words in (["report", "study=smoke-smoke"], ["table", "study=smoke-smoke"], ["status", "smoke-smoke"]):
        done = lab(tmp_path, *words, **here)
        assert done.returncode == 0, done.stderr
    assert lab(tmp_path, "table", "study=smoke-smoke").returncode == 2, "mlflow.db is not there"

    again = re.search(r"again: eprli-lab (.*)", sweep.stdout)
    assert again is not None and "tracking.uri=sqlite:///other.db" in again[1]
    assert lab(tmp_path, *shlex.split(again[1])).returncode == 0, "as printed, and without the environment"
    assert "mlflow ui --workers 1 --backend-store-uri sqlite:///other.db" in sweep.stdout
    assert "viewStateShareKey=eprli-smoke-smoke&compareRunsMode=CHART" in sweep.stdout

    for variable in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        for words in (["run", *TINY], ["run", "-m", "sweep=smoke", *TINY], ["report", "study=smoke-smoke"]):
            refused = lab(tmp_path, *words, **{variable: "1"})
            assert refused.returncode == 2 and f"{variable} is not obeyed" in refused.stderr
            assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert not (tmp_path / "mlflow.db").exists(), "nothing was begun"
