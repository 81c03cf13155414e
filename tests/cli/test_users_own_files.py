"""What stands in a user's working directory under our names, or common ones, harms nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

BOOM = "raise ImportError('a file of the user was imported')\n"


def users_own_files(directory: Path) -> None:
    """Files and packages of the commonest names, each of which ends the program when it is imported."""
    for name in ("analysis.py", "eprli.py", "report.py", "run.py", "conftest.py"):
        (directory / name).write_text(BOOM)
    for package in ("analysis", "conf", "tests", "sweeps", "cli", "config"):
        (directory / package).mkdir()
        (directory / package / "__init__.py").write_text(BOOM)
    (directory / "conf" / "config.yaml").write_text("defaults: [nothing]\n")
    (directory / "tests" / "helpers.py").write_text(BOOM)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_sweep_among_the_users_own_files(tmp_path):
    users_own_files(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    for entry in (["eprli_lab.run"], ["eprli_lab", "run"]):
        composed = [sys.executable, "-m", *entry, "--cfg", "job"]
        done = subprocess.run(composed, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and "group_norm" in done.stdout, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "eprli_lab.run", "-m", "sweep=smoke", "study.workers=1"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "How it reads" in done.stdout and "again: eprli-lab report study=smoke" in done.stdout
    assert (tmp_path / "reports" / "smoke" / "report.html").stat().st_size > 10_000
    assert len((tmp_path / "reports" / "smoke" / "table.csv").read_text().splitlines()) == 3
    for further in (
        ["status", "smoke"],
        ["table", "study=smoke", "format=csv"],
        ["report", "study=smoke", "out=again"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "eprli_lab", *further],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "report.html").is_file()
