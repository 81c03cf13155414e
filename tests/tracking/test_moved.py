"""Folders that were moved, copied or renamed: the store, its artifacts and the spools are those of the new place."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from helpers import small_spec

from eprli_lab.config.spec import RunSpec, TrackingSpec
from eprli_lab.tracking import read
from eprli_lab.tracking.moved import repair_locations
from eprli_lab.tracking.read import fetch_artifact, read_runs
from eprli_lab.tracking.run import RunTracker
from eprli_lab.tracking.spool import NAME, Spool
from eprli_lab.tracking.store import mlflow_client, open_store, prepare
from eprli_lab.tracking.upload import tracking_of, upload

pytestmark = pytest.mark.slow  # stores are made, which takes a second each


@pytest.fixture(scope="module")
def base() -> RunSpec:
    return small_spec().model_copy(update={"arm": "a"})


@pytest.fixture(scope="module")
def old(base: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a finished run and its artifact."""
    directory = tmp_path_factory.mktemp("with blank and é") / "old"
    directory.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        make_run(base, "first")
        close("mlflow.db")
    return directory


def make_run(base: RunSpec, study: str) -> RunTracker:
    directory = Path("outputs", study, "a", "seed0")
    assert prepare(TrackingSpec())
    tracker = RunTracker(base.model_copy(update={"study": study}), parent_run_id=None, run_id=None, run_dir=directory)
    (directory / "note.txt").write_text(study)
    tracker.log({"score": 0.5}, 1)
    tracker.artifact(directory / "note.txt", "")
    tracker.finish("FINISHED", None)
    return tracker


def close(file: str) -> None:
    """As when the process that made it has ended: no log beside the store."""
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def copy(old: Path, new: Path) -> None:
    """The folder, whose artifacts say that they are the copied ones."""
    shutil.copytree(old, new)
    for file in (new / "mlartifacts").rglob("note.txt"):
        file.write_text(f"{file.read_text()}, copied")


def tree(directory: Path) -> dict[str, int]:
    return {
        str(p.relative_to(directory)): p.stat().st_mtime_ns for p in directory.rglob("*") if "mlflow.db" not in p.name
    }


def where(file: Path) -> set[str]:
    rows = sqlite3.connect(file).execute(
        "SELECT artifact_uri FROM runs UNION SELECT artifact_location FROM experiments"
    )
    return {str(Path(uri.removeprefix("file://")).parts[-1]) if uri is None else uri for (uri,) in rows}


@pytest.mark.parametrize("tagged", [True, False], ids=["", "of an earlier version"])
def test_a_copied_folder_keeps_to_itself(
    old: Path,
    base: RunSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tagged: bool,
) -> None:
    new = tmp_path / "new place"
    copy(old, new)
    if not tagged:
        with sqlite3.connect(new / "mlflow.db") as db:
            db.execute("DELETE FROM experiment_tags WHERE key = 'eprli.store'")
        db.close()
    before = tree(old)
    monkeypatch.chdir(new)
    tracker = make_run(base, "second")
    assert f"the store was moved from {old}: its artifacts are those in {new}" in caplog.text
    assert all(uri.startswith((new.as_uri(), str(new))) for uri in where(new / "mlflow.db"))
    for study, text in (("first", "first, copied"), ("second", "second")):
        run = read_runs(TrackingSpec(), study)[0]
        found = fetch_artifact(TrackingSpec(), run.run_id, "note.txt")
        assert found is not None and found.read_text() == text
    assert tree(old) == before, "nothing is written to the old folder"
    assert tracker.run_id is not None and len(list((new / "mlartifacts").rglob("note.txt"))) == 2
    caplog.clear()
    repair_locations(new / "mlflow.db", "eprli_lab")
    assert not caplog.text, "once"


def test_a_report_in_a_moved_folder_finds_its_artifacts(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    copy(old, tmp_path / "a" / "b")
    monkeypatch.chdir(tmp_path / "a" / "b")
    monkeypatch.setattr(read, "mlflow_client", mlflow_client.__wrapped__)
    run = read_runs(TrackingSpec(), "first")[0]
    found = fetch_artifact(TrackingSpec(), run.run_id, "note.txt")
    assert found is not None and found.read_text() == "first, copied"


def test_places_outside_the_old_folder_stay(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "new")
    file = tmp_path / "new" / "mlflow.db"
    with sqlite3.connect(file) as db:
        db.execute("UPDATE runs SET artifact_uri = 's3://bucket/' || run_uuid")
    db.close()
    assert repair_locations(file, "eprli_lab")
    uris = {uri for uri in where(file) if uri.startswith("s3://bucket/")}
    assert len(uris) == 1


def test_a_store_apart_from_its_artifacts_is_no_moved_one(
    base: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stores").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    tracking = TrackingSpec(uri=f"sqlite:///{tmp_path}/stores/mine.db")
    for _ in range(2):
        open_store(tracking)
        assert repair_locations(tmp_path / "stores" / "mine.db", "eprli_lab") == ""
    assert (tmp_path / "work" / "mlartifacts").as_uri() in where(tmp_path / "stores" / "mine.db")
    assert not caplog.text


def test_an_upload_from_a_moved_folder_goes_to_the_store_beside_it(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    directory = new / "outputs" / "first" / "a" / "seed0"
    assert tracking_of(Spool.read(directory / NAME)).uri == f"sqlite:///{new}/mlflow.db"
    assert tracking_of(Spool.read(old / "outputs" / "first" / "a" / "seed0" / NAME)).uri == f"sqlite:///{old}/mlflow.db"
    before = (old / "mlflow.db").read_bytes()
    (new / "mlflow.db").unlink()
    monkeypatch.chdir(new)
    run_id, sent = upload(directory)
    assert sent == 1 and [r.run_id for r in read_runs(TrackingSpec(), "first") if r.tags["kind"] == "run"] == [run_id]
    assert (old / "mlflow.db").read_bytes() == before
