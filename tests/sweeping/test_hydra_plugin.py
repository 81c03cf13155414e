"""Sweeps as a config group of our application, and of ours only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO
from plans import own_sweep, plan_of

APP = """
import hydra
from omegaconf import OmegaConf
@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    from hydra.core.hydra_config import HydraConfig
    print(sorted(p.provider for p in HydraConfig.get().runtime.config_sources))
main()
"""


@pytest.mark.slow
def test_a_users_own_sweep_is_found_in_the_working_directory(tmp_path, monkeypatch):
    own_sweep(tmp_path, "    a: {}\n    b: {overrides: [curriculum=l3]}\n")
    monkeypatch.chdir(tmp_path)
    assert plan_of("sweep=mine").arms == ["a", "b"]
    assert "l4" in plan_of("sweep=levels").arms  # the package's are still there


def test_other_hydra_applications_are_left_alone(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("x: 1\n")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "sweeps").mkdir()
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(REPO), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "eprli" not in done.stdout and "main" in done.stdout


def test_the_plugin_is_import_light():
    code = "import sys, hydra_plugins.eprli_sweeper as p; print('optuna' in sys.modules or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True)
    assert done.stdout.strip() == "False"
    text = (REPO / "hydra_plugins" / "eprli_sweeper" / "__init__.py").read_text()
    assert "from __future__" not in text
    assert not (Path(REPO) / "hydra_plugins" / "__init__.py").exists()
