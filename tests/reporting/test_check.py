"""The three checks, and what is read of a run's artifacts."""

from __future__ import annotations

from pathlib import Path

import planted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eprli_lab.cli.check import command as check
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.reporting import artifacts
from eprli_lab.reporting.check import compare, restricted, utilisation
from eprli_lab.reporting.load import StudyData, Unfinished
from eprli_lab.tracking.description import StudyDescription


def test_a_difference_its_absence_and_neither():
    lines = compare(planted.study(other=(0, 0, 0.05)), margin=0.03)
    hard = next(line for line in lines if "heldout_hard" in line)
    assert "4 common seeds: different (p <.001, <.001 after Holm)" in hard and "+.0" in hard
    easy, medium = (next(line for line in lines if suite in line) for suite in ("heldout_easy", "heldout_medium"))
    assert easy.endswith("different (p .006, .012 after Holm), but by less than 0.03"), (
        "a tiny difference is one all the same"
    )
    assert medium.endswith("no difference beyond 0.03")
    assert compare(planted.study(seeds=1), 0.03)[0].endswith("over 1 common seed: one seed shows nothing")
    small = compare(planted.study(other=(0, 0, 0.05)), margin=0.3)
    assert next(line for line in small if "heldout_hard" in line).endswith("), but by less than 0.3")
    assert lines[-1] == "other - plain, updates made: 40.0 and 40.0"


def test_an_arm_whose_runs_all_failed_is_named():
    study = planted.study(arms=("plain", "other"))
    study.runs[:] = study.of("plain")
    study.unfinished.append(Unfinished("other", 0, "failed", "out of memory"))
    with pytest.raises(UserError, match=r"arms=other: planted has no finished run of it: run the sweep again"):
        restricted(study, ("plain", "other"))


def test_utilisation_by_hand():
    study = planted.study(seeds=1)
    run = study.of("plain")[0]
    admitted, generated = run.total("buffer/l1/groups/admitted"), run.total("buffer/l1/groups/generated")
    line = utilisation(study)[0]
    assert line.startswith(
        f"plain, level l1: {generated:.0f} groups: admitted {admitted / generated:.3f}".replace("0.", ".")
    )
    within = run.mean("buffer/l1/reward_variance/within")
    assert f"within {within:.3f}".replace("0.", ".") in line and line.endswith("between -")


def test_only_the_arms_asked_for():
    study = planted.study(arms=("plain", "other", "third"))
    kept = restricted(study, ("other", "third"))
    assert kept.arms == ["other", "third"] and {r.arm for r in kept.runs} == {"other", "third"}
    assert compare(kept, 0.03)[0].startswith("third - other")
    with pytest.raises(UserError, match=r"arms=thrid: planted has no such arm \(did you mean 'third'"):
        restricted(study, ("thrid",))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "which check?"),
        (["level"], "did you mean 'levels'?"),
        (["levels", "margin=x"], "margin=x: give the smallest difference"),
        (["levels", "tracking.uri=sqlite:///none.db"], "there is no "),
    ],
)
def test_mistakes_get_one_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("eprli_lab: ") and len(error.splitlines()) == 1 and sentence in error


def test_first_and_last_evaluation_are_read_and_what_is_missing_is_said(tmp_path: Path, monkeypatch):
    study = planted.study(seeds=1)
    rows = [
        {"suite": "s", "problem": "p", "difficulty": 0.5, "samples": 4, "correct": c, "step": step, "stage": "x"}
        for step, c in ((0, 1), (10, 2), (40, 3))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "outcomes.parquet")
    (tmp_path / "ledger.parquet").write_text("not parquet")

    def fetch(tracking: TrackingSpec, run_id: str, name: str) -> Path | None:
        return tmp_path / name if run_id.startswith("plain") else None

    monkeypatch.setattr(artifacts, "fetch_artifact", fetch)
    found = artifacts.read_artifacts(TrackingSpec(), study)
    assert [(r["step"], r["correct"]) for r in found.outcomes["plain-0"]] == [(0, 1), (40, 3)]
    assert found.ledger == {} and "other-0" not in found.outcomes
    assert found.notes[0].endswith("of other seed 0") and "ledger.parquet" in found.notes[1]
    many = StudyData("many", StudyDescription(), None, study.runs * 150, [])
    assert "300 runs" in artifacts.read_artifacts(TrackingSpec(), many).notes[0]
