"""`run_sweep`, `load_study` and what a study shows, on a real sweep of two arms and two seeds."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPO
from helpers import SMALL
from plans import own_sweep

import eprli_lab
from eprli_lab.errors import UserError
from eprli_lab.reporting.tables.rows import ablation_table as report_table

pytestmark = pytest.mark.slow

SUITES = ["heldout_easy", "heldout_medium", "heldout_hard"]
OVERRIDES = [*SMALL, "budget.amount=3000", "study.figures=false"]
ARMS = "    a: {overrides: [curriculum=l1]}\n    b: {overrides: [curriculum=l2]}\n"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A working directory with the sweep in it, run by two workers; (directory, study)."""
    directory = tmp_path_factory.mktemp("studies")
    before = Path.cwd()
    os.chdir(directory)
    own_sweep(directory, ARMS)
    study = eprli_lab.run_sweep("mine", *OVERRIDES, "study.seeds=[0,1]", workers=2)
    yield directory, study
    os.chdir(before)


def test_a_study_has_one_row_an_arm_and_seed(workspace) -> None:
    _, study = workspace
    runs = study.runs
    assert list(zip(runs.arm, runs.seed, strict=True)) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    logged = {"progress/tokens": "tokens", "progress/updates": "updates", "time/total": "seconds", "score": "score/end"}
    logged |= {f"eval/{suite}/avg_at_k": f"{suite}/end" for suite in SUITES}
    last = study.history(*logged).groupby(["metric", "arm", "seed"]).value.last()
    for metric, column in logged.items():
        assert runs[column].tolist() == last[metric].tolist()
    expected = [f"{suite}/{end}" for suite in SUITES for end in ("start", "end")]
    expected += ["score/start", "score/end", "updates", "tokens", "response_tokens", "seconds"]
    assert runs.columns.tolist()[:15] == ["arm", "seed", "run_id", *expected]
    assert (runs.tokens > 2500).all() and (runs.updates > 0).all() and runs.run_id.nunique() == 4
    means = runs[[f"{suite}/end" for suite in SUITES]].mean(axis=1)
    assert runs["score/end"].tolist() == pytest.approx(means.tolist())
    assert study.unfinished.empty and study.unfinished.columns.tolist() == ["arm", "seed", "status", "reason"]
    assert str(study) == "study mine: a, b; 4 of 4 runs finished" and study.suites == SUITES
    assert study.description.baseline == "a" and study.description.seeds == (0, 1)
    assert "<p>study mine: a, b" in study._repr_html_() and "<table>" in study._repr_html_()


def test_the_table_is_that_of_the_report(workspace) -> None:
    directory, study = workspace
    rows = report_table(study.data).rows
    frame = study.table.set_index("arm")
    assert frame.index.tolist() == ["a", "b"] and frame.n.tolist() == [2, 2]
    assert frame["score/end"].tolist() == study.runs.groupby("arm")["score/end"].mean().tolist()
    d = rows[1].difference
    names = ["difference", "difference_low", "difference_high", "p_raw", "p_holm"]
    assert d is not None and frame.loc["b", names].tolist() == pytest.approx(
        [d.mean, d.low, d.high, d.p, rows[1].p_holm], nan_ok=True
    )
    assert frame.loc["a", names].isna().all()
    assert {"admission_rate/l2", "clip_fraction_low/l1", "clip_fraction_high/l1"} <= set(frame.columns)
    table = eprli_lab.ablation_table(study)
    assert (directory / "reports" / "mine" / "table.txt").read_text() == f"{table}\n" == f"{table.text()}\n"
    swapped = eprli_lab.ablation_table(study, baseline="b")
    assert swapped.baseline == "b" and swapped.frame().set_index("arm").loc["a", "difference"] == pytest.approx(-d.mean)


def test_it_prints_in_five_formats(workspace) -> None:
    _, study = workspace
    table = eprli_lab.ablation_table(study)
    assert table.markdown(["arm", "score"]).splitlines()[:2] == ["| arm | score |", "| --- | ---: |"]
    assert "\\toprule" in table.latex() and "<table>" in table.html() and table._repr_html_() == table.html()
    read = pd.read_csv(io.StringIO(table.csv(["arm", "difference"])), float_precision="round_trip")
    assert read.difference.tolist()[1] == study.table.difference.tolist()[1]
    with pytest.raises(UserError, match="columns=scor: mine has no such column .did you mean 'score'"):
        table.csv(["scor"])
    with pytest.raises(UserError, match="baseline"):
        eprli_lab.ablation_table(study, baseline="c")


def test_a_history_is_every_logged_value(workspace) -> None:
    directory, study = workspace
    long = study.history("progress/tokens", "buffer/l1/groups/generated")
    assert long.columns.tolist() == ["arm", "seed", "run_id", "metric", "step", "value"]
    query = (
        "SELECT run_uuid, key, step, value FROM metrics WHERE key IN ('progress/tokens', 'buffer/l1/groups/generated')"
    )
    connection = sqlite3.connect(directory / "mlflow.db")
    stored = connection.execute(query).fetchall()
    connection.close()
    assert sorted(long[["run_id", "metric", "step", "value"]].itertuples(index=False, name=None)) == sorted(stored)
    last = study.history("score").groupby(["arm", "seed"]).value.last()
    assert last.tolist() == study.runs["score/end"].tolist()
    with pytest.raises(
        UserError, match="history: no run of mine logs 'progress/token' .did you mean 'progress/tokens'"
    ):
        study.history("score", "progress/token")
    with pytest.raises(UserError, match="history: name a metric or several, for instance 'score'"):
        study.history()


def test_outcomes_and_ledgers_are_those_of_the_runs(workspace) -> None:
    directory, study = workspace
    outcomes, ledger = study.outcomes(), study.ledger()
    for frame, name in ((outcomes, "outcomes"), (ledger, "ledger")):
        assert frame.columns.tolist()[:3] == ["arm", "seed", "run_id"]
        files = sorted(directory.glob(f"outputs/mine/*/*/{name}.jsonl"))
        assert len(files) == 4 and len(frame) == sum(len(f.read_text().splitlines()) for f in files)
    final = outcomes[outcomes.stage == "final"]
    accuracy = (final.correct / final.samples).groupby([final.arm, final.seed, final.suite]).mean()
    assert accuracy.groupby(["arm", "seed"]).mean().tolist() == pytest.approx(study.runs["score/end"].tolist())
    generated = study.history("buffer/l1/groups/generated", "buffer/l2/groups/generated").value.sum()
    assert len(ledger) == generated


def test_an_artifact_that_is_gone_is_said(workspace) -> None:
    _, study = workspace
    path = next(Path("mlartifacts").glob(f"{study.runs.run_id[0]}/artifacts/ledger.parquet"))
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.warns(UserWarning, match="ledger: 1 runs of mine have no ledger.parquet"):
            assert set(study.ledger().run_id) == set(study.runs.run_id[1:])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert study.outcomes().run_id.nunique() == 4
    finally:
        path.write_bytes(content)


def test_figures_are_matplotlibs(workspace, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    _, study = workspace
    drawn = eprli_lab.figures(study)
    assert list(drawn)[:2] == ["effects", "learning_curves"] and all(isinstance(f, Figure) for f in drawn.values())
    chosen = eprli_lab.figures(study, ["pareto", "effects"], baseline="b")
    assert list(chosen) == ["pareto", "effects"]
    chosen["effects"].savefig(tmp_path / "effects.png")
    assert (tmp_path / "effects.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="figures: mine has no figure 'effect' .did you mean 'effects'"):
        eprli_lab.figures(study, ["effect"])
    with pytest.raises(UserError, match="figures: give the names as a list, \\['effects'\\]"):
        eprli_lab.figures(study, "effects")


def test_a_study_is_loaded_by_sweep_and_preset_from_anywhere(workspace, tmp_path: Path, monkeypatch) -> None:
    directory, study = workspace
    assert eprli_lab.load_study("mine").runs.equals(study.runs)
    monkeypatch.chdir(tmp_path)
    loaded = eprli_lab.load_study("mine", tracking_uri=f"sqlite:///{directory}/mlflow.db")
    assert loaded.table.equals(study.table) and loaded.history("score").equals(study.history("score"))
    monkeypatch.chdir(directory)
    for arguments, sentence in (
        ({"name": "mien"}, "study=mien: sqlite:////.* holds no such study .did you mean 'mine'"),
        ({"name": "mine", "preset": "smoke"}, "study=mine-smoke: .* holds no such study .did you mean 'mine'"),
        ({"name": "mine", "tracking_uri": "mlflow.db"}, "tracking_uri: 'mlflow.db' is no tracking URI"),
        ({"name": "mine", "tracking_uri": "sqlite:///none.db"}, "there is no .*none.db"),
        ({"name": "mine", "experiment": "none"}, "has no experiment 'none'"),
    ):
        with pytest.raises(UserError, match=sentence):
            eprli_lab.load_study(**arguments)
    assert not Path("none.db").exists()


def test_what_is_complete_is_not_run_again(workspace, capsys: pytest.CaptureFixture[str]) -> None:
    _, study = workspace
    again = eprli_lab.run_sweep("mine", *OVERRIDES, "study.seeds=[0,1]", workers=1)
    assert again.runs.equals(study.runs)
    assert "study mine: 2 arms x 2 seeds = 4 runs, 4 of them done before" in capsys.readouterr().out
    with pytest.raises(UserError, match="optim.learning_rate"):
        eprli_lab.run_sweep("mine", *OVERRIDES, "study.seeds=[0,1]", "optim.learning_rate=1e-4")


@pytest.mark.exhaustive
def test_the_command_line_makes_the_same_study(workspace, tmp_path: Path) -> None:
    directory, study = workspace
    own_sweep(tmp_path, ARMS)
    command_line = [sys.executable, "-m", "eprli_lab.run", "-m", "sweep=mine", *OVERRIDES, "study.seeds=[1]"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(command_line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = sorted(p.relative_to(directory) for p in directory.glob("outputs/mine/*/seed1/*.jsonl"))
    files = [f for f in files if f.stem in ("ledger", "outcomes")]
    assert len(files) == 4
    for file in files:
        assert (tmp_path / file).read_bytes() == (directory / file).read_bytes()
    printed = eprli_lab.load_study("mine", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    kept = [c for c in study.runs.columns if c not in ("run_id", "seconds")]
    same_seed = study.runs[study.runs.seed == 1].reset_index(drop=True)
    assert len(same_seed) == 2 and printed.runs[kept].equals(same_seed[kept])
