"""docs/notebooks/quickstart.ipynb runs as it is written, in a kernel and an empty directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import REPO

NOTEBOOK = REPO / "docs" / "notebooks" / "quickstart.ipynb"


def test_no_output_is_committed() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert len(code) >= 8 and not any(c["outputs"] or c["execution_count"] for c in code)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    directory = tmp_path / "work"
    directory.mkdir()
    client.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(directory)}}).execute()
    outputs = ["".join(json.dumps(o) for o in c["outputs"]) for c in notebook.cells if c["cell_type"] == "code"]
    whole = "\n".join(outputs)
    assert "did you mean 'learning_rate'?" in whole and "study smoke: 2 arms x 2 seeds = 4 runs" in whole
    assert "image/png" in outputs[-2] and "difference_low" in whole and "| arm |" in whole
    assert (directory / "reports" / "smoke" / "report.html").is_file()
