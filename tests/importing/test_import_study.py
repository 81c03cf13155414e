"""Imported runs in a real store: what is written, what is refused before, and the table that comes of it."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import pytest
from conftest import REPO

from eprli_lab.cli.main import main
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.importing.runs import ImportedRun, read_run, read_score_runs
from eprli_lab.importing.status import imported_status
from eprli_lab.importing.study import import_runs
from eprli_lab.reporting.load import load_study
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.tracking import names
from eprli_lab.tracking.imported import TAG
from eprli_lab.tracking.read import read_runs
from eprli_lab.tracking.store import open_store

pytestmark = pytest.mark.slow  # MLflow's store is made

LOGS = REPO / "tests" / "data_samples" / "foreign"
SUITE = {"heldout": "eval_reward"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrackingSpec:
    return TrackingSpec(uri=f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


def trl(seed: int, arm: str = "trl", named: int | None = None) -> ImportedRun:
    return read_run("trl", [LOGS / "trl" / f"seed{seed}"], arm, seed if named is None else named, suites=SUITE)


def scored(path: Path, arm: str, values: dict[int, float]) -> list[ImportedRun]:
    rows = "".join(f"{arm},{seed},{value}\n" for seed, value in values.items())
    path.write_text(f"arm,seed,score\n{rows}")
    return read_score_runs(path, None, None)


def refused(tracking: TrackingSpec, study: str, runs: list[ImportedRun], **options: object) -> str:
    before = [(run.run_id, run.status, run.tags) for run in read_runs(tracking, study)]
    with pytest.raises(UserError) as error:
        import_runs(tracking, study, runs, **options)  # type: ignore[arg-type]
    assert [(run.run_id, run.status, run.tags) for run in read_runs(tracking, study)] == before, "nothing is written"
    return str(error.value)


def test_three_seeds_of_trl_and_scores_of_another_arm(store, tmp_path):
    import_runs(store, "one", [trl(seed) for seed in (0, 1, 2)], question="Which?")
    study = load_study(store.uri, store.experiment, "one")
    last = {seed: json.loads((LOGS / f"trl/seed{seed}/trainer_state.json").read_text()) for seed in (0, 1, 2)}
    ends = [next(r["eval_reward"] for r in reversed(s["log_history"]) if "eval_reward" in r) for s in last.values()]
    row = ablation_table(study).rows[0]
    assert row.score == pytest.approx(statistics.fmean(ends), abs=1e-12) and row.seeds == (0, 1, 2)
    assert row.final == {"heldout": row.score} and row.updates == 16.0 and row.tokens != row.tokens
    assert study.description.question == "Which?" and study.notes[-1].startswith("seeds of imported runs are paired")
    run = study.runs[0]
    state = last[0]["log_history"]
    assert run.by_step("imported/loss") == {r["step"]: r["loss"] for r in state if "loss" in r}
    assert imported_status("one", store).splitlines()[0] == "study one: imported, 3 of 3 runs in the store"
    assert imported_status("none", store) is None


def test_a_run_of_trl_and_one_of_openrlhf_in_one_study(store):
    import_runs(store, "trainers", [trl(seed) for seed in (0, 1, 2)])
    for seed in (0, 1, 2):
        import_runs(store, "trainers", [read_run("openrlhf", [LOGS / "openrlhf" / f"seed{seed}"], "openrlhf", seed)])
    study = load_study(store.uri, store.experiment, "trainers")
    rows = {row.arm: row for row in ablation_table(study).rows}
    assert rows["trl"].seeds == rows["openrlhf"].seeds == (0, 1, 2) and study.suites == ["heldout"]
    assert rows["trl"].score == pytest.approx((0.6171875 + 0.5625 + 0.78125) / 3)
    assert rows["openrlhf"].score == pytest.approx((0.640625 + 0.609375 + 0.5078125) / 3)
    difference = rows["openrlhf"].difference  # .0234375, .046875, -.2734375: sd .178552, t(2) 4.302653
    assert difference.n == 3 and difference.mean == pytest.approx(-0.0677083, abs=1e-7)
    assert (difference.low, difference.high) == pytest.approx((-0.511256, 0.375840), abs=1e-5)
    assert rows["trl"].score_start == pytest.approx((0.3125 + 0.2421875 + 0.3203125) / 3)
    assert math.isnan(rows["openrlhf"].score_start), "OpenRLHF evaluated nothing before training"
    assert rows["openrlhf"].updates == 16.0 and math.isnan(rows["openrlhf"].tokens)
    assert 0.1 < rows["openrlhf"].entropy < 0.3 and 0.1 < rows["trl"].entropy < 0.3
    notes = " ".join(study.notes)
    assert "openrlhf: imported from OpenRLHF, which logged nothing of the score before training" in notes
    assert "trl: imported from TRL, which logged nothing of generated tokens" in notes


def test_a_second_import_adds_an_arm_and_keeps_what_was_said(store, tmp_path):
    import_runs(store, "two", scored(tmp_path / "a.csv", "a", {0: 0.1, 1: 0.2, 2: 0.4}), question="Which?")
    import_runs(store, "two", scored(tmp_path / "b.csv", "b", {0: 0.3, 1: 0.5, 2: 0.6, 3: 0.9}), contrasts=["b - a"])
    import_runs(store, "two", scored(tmp_path / "c.csv", "a", {5: 0.5}))
    study = load_study(store.uri, store.experiment, "two")
    assert study.arms == ["a", "b"] and study.description.baseline == "a" and study.description.question == "Which?"
    assert study.description.contrasts == ("b - a",)
    rows = {row.arm: row for row in ablation_table(study).rows}
    assert rows["a"].seeds == (0, 1, 2, 5) and rows["b"].seeds == (0, 1, 2, 3)
    difference = rows["b"].difference
    assert difference.n == 3 and difference.mean == pytest.approx((0.2 + 0.3 + 0.2) / 3)
    assert rows["a"].score_start != rows["a"].score_start, "a start that was not logged is no number"
    assert not study.unfinished
    parents = [run for run in read_runs(store, "two") if run.tags["kind"] == "study"]
    assert len(parents) == 1 and parents[0].status == "FINISHED"


def test_what_is_there_is_replaced_on_request_only(store, tmp_path):
    first = scored(tmp_path / "a.csv", "a", {0: 0.1})
    import_runs(store, "three", first)
    again = scored(tmp_path / "b.csv", "a", {0: 0.7})
    assert "a seed 0 is in study three already" in refused(store, "three", again)
    assert "--replace (force=true)" in refused(store, "three", first)
    import_runs(store, "three", again, replace=True)
    study = load_study(store.uri, store.experiment, "three")
    assert [run.last(names.SCORE) for run in study.runs] == [0.7] and not any(
        "more than once" in n for n in study.notes
    )


def test_what_does_not_belong_together_is_refused(store, tmp_path):
    import_runs(store, "four", [trl(0)])
    assert "the same log is trl seed 0 already" in refused(store, "four", [trl(0, named=1)])
    assert "the same log is x seed 5 already" in refused(store, "four", [trl(1, "x", 5), trl(1, "x", 6)])
    other = read_run("trl", [LOGS / "trl" / "seed1"], "x", 1)
    assert "was examined on other suites (eval) than trl seed 0 (heldout)" in refused(store, "four", [other])
    assert "--baseline y: the study has no such arm" in refused(store, "four", [trl(1)], baseline="y")
    assert "has no arm y" in refused(store, "four", [trl(1)], contrasts=["y - trl"])
    assert "is no contrast" in refused(store, "four", [trl(1)], contrasts=["y"])
    assert "is no name" in refused(store, "four/x", [trl(1)])


def test_a_study_of_our_own_is_left_alone(store):
    client, experiment = open_store(store)
    tags = {"kind": "run", "study": "own", "arm": "l1", "seed": "0", "fingerprint": "0"}
    client.set_terminated(client.create_run(experiment, tags=tags).info.run_id, "FINISHED")
    assert "holds runs of this package" in refused(store, "own", [trl(0)])


def test_an_import_that_was_killed_goes_on(store):
    import_runs(store, "five", [trl(0), trl(1)])
    client, _ = open_store(store)
    there = [run for run in read_runs(store, "five") if TAG in run.tags]
    client.update_run(there[0].run_id, status="RUNNING")  # as a kill leaves it
    client.delete_run(there[1].run_id)
    study = load_study(store.uri, store.experiment, "five")
    assert {u.status for u in study.unfinished} == {"running", "not run"}
    import_runs(store, "five", [trl(0), trl(1)])
    study = load_study(store.uri, store.experiment, "five")
    assert len(study.runs) == 2 and not study.unfinished


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    states = [str(LOGS / "trl" / f"seed{seed}" / "trainer_state.json") for seed in (0, 1, 2)]
    words = ["import", "--from", "trl", *states, "--arm", "grpo", "--seed", "0,1,2", "--study", "mine"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "grpo seed 0: score 0.312 -> 0.617 (eval_reward)" in out and "eprli-lab table study=mine" in out
    assert main(words) == 2
    assert "is in study mine already" in capsys.readouterr().err
    assert main([*words, "--replace"]) == 0
    capsys.readouterr()
    assert main(["table", "study=mine", "format=csv", "columns=arm,n,score"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    values = dict(zip(head.split(","), row.split(","), strict=True))
    ends = [0.6171875, 0.5625, 0.78125]
    assert values["arm"] == "grpo" and float(values["score/end"]) == pytest.approx(statistics.fmean(ends))
    assert main(["status", "mine"]) == 0 and "study mine: imported, 3 of 3" in capsys.readouterr().out
    assert main(["report", "study=mine", "out=r"]) == 0
    page = (tmp_path / "r" / "report.md").read_text()
    assert (
        "Where the numbers come from" in page and "imported from TRL, which logged nothing of generated tokens" in page
    )
    assert "outcomes.parquet is not there" not in page and "eprli-lab calibrate" not in page
