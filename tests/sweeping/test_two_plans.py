"""Two directories, one tracking store, one study's name, two configurations: each table is of its own runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from sweeping_work import make_plan

from eprli_lab.reporting.load import load_study
from eprli_lab.sweeping.command import confirm
from eprli_lab.sweeping.controller import StudyResult, run_study
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.study import Study

NODE = {
    "arms": {
        "a": {},
        "b": {"overrides": ["optim.weight_decay=0.5"]},
        "matched": {
            "overrides": ["budget.unit=updates"],
            "after": {"arm": "b", "set": {"budget.amount": "progress/updates"}},
        },
    },
    "seeds": [0, 1, 2],
    "contrasts": ["b - matched"],
}


def scripted(plan: Plan, study: Study, parent: str) -> StudyResult:
    """Workers that log what `sweeping_work.tracked` makes up."""
    return run_study(plan, study, executor="sweeping_work:tracked", parent_run_id=parent)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_directories_with_one_store_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    printed: dict[str, str] = {}
    for name, rate in (("mine", "1e-3"), ("theirs", "2e-3"), ("mine", "1e-3")):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        node: dict[str, Any] = {**NODE, "workers": 2}
        plan = make_plan(node, [f"tracking.uri={uri}", f"optim.learning_rate={rate}"])
        outcome = confirm(plan, {}, scripted)
        assert not outcome.failed
        printed[name] = capsys.readouterr().out
    data = load_study(uri, "eprli_lab", "study")  # that of the last command: mine
    assert {r.params["optim.learning_rate"] for r in data.runs} == {"0.001"} and len(data.runs) == 9
    assert {r.tags["eprli.planned"] for r in data.of("matched")} == set(data.description.planned["matched"].values())
    assert {r.params["budget.amount"] for r in data.of("matched")} == {"500.0"}
    assert all("their configuration is not the planned one" in note for note in data.notes) and len(data.notes) == 3
    for name, score in (("mine", ".501"), ("theirs", ".502")):
        row = next(line.split() for line in printed[name].splitlines() if line.startswith("a "))
        assert row[1] == "3" and score in row, (name, row)
        assert "Contrast b - matched: " in printed[name]
