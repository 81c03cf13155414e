"""Hydra's launchers, for real: joblib, a local Ray, submitit's local executor; the numbers are those of the plain command."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from conftest import REPO

SMALL = ["sweep=smoke", "study.seeds=[0,1]", "study.workers=2", "budget.amount=3000", "study.figures=false"] + [
    f"evaluation.suites.heldout_{s}.generated.problems=16" for s in ("easy", "medium", "hard")
]


def command(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    where.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "eprli_lab.run", "-m", *SMALL, *arguments],
        cwd=where,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"},
        timeout=400,
    )


def scores(where: Path) -> dict[tuple[str, str], str]:
    with open(where / "reports" / "smoke" / "seeds.csv") as f:
        return {(r["arm"], r["seed"]): r["score/end"] for r in csv.DictReader(f)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    where = tmp_path_factory.mktemp("plain")
    done = command(where)
    assert done.returncode == 0, done.stderr
    return scores(where)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("launcher", ["joblib", "ray", "submitit_local"])
def test_launched_workers_share_the_study(launcher: str, tmp_path: Path, plain: dict[tuple[str, str], str]) -> None:
    package = f"hydra_{launcher.removesuffix('_local')}_launcher"
    if importlib.util.find_spec(f"hydra_plugins.{package}") is None:
        pytest.skip(f"{package} is not installed (pip install 'eprli-lab[launchers]')")
    done = command(tmp_path, f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert scores(tmp_path) == plain and len(plain) == 4
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "studies" / "smoke.journal"))
    trials = optuna.load_study(study_name="smoke", storage=optuna.storages.JournalStorage(backend)).trials
    assert [t.state.name for t in trials] == ["COMPLETE"] * 4
    assert str(os.getpid()) not in {t.user_attrs["owner"].split(":")[1] for t in trials}, "made by launched processes"
