"""docs/api.md: its examples run in order, as one script without a guard, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

import eprli_lab.api

PAGE = (REPO / "docs" / "api.md").read_text()


def test_every_public_function_is_on_the_page() -> None:
    for name in ("compose", "train", "run_sweep", "load_study", "ablation_table", "figures"):
        assert f"| `{name}(" in PAGE and name in eprli_lab.api.__all__
    for name in ("RunResult", "Study", "AblationTable"):
        assert f"`{name}`" in PAGE


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_example_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    (tmp_path / "page.py").write_text("\n".join(blocks))
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    comments = re.findall(r"print\((?:error|study)\)  # (.*)", "\n".join(blocks))
    assert len(comments) == 2 and all(f"{comment}\n" in done.stdout for comment in comments)
    assert "\n| arm |" in done.stdout and "\\toprule" in done.stdout
    assert (tmp_path / "learning_curves.pdf").read_bytes().startswith(b"%PDF")
