"""A study and its store agree, whatever became of the store: lost, moved, locked, replaced, its runs deleted or changed.

Real studies and stores; the runs log made-up scores in this process.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import rest_exhaustive
from sweeping_work import make_plan, tracked

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.reporting.load import StudyData, load_study
from eprli_lab.sweeping import agreement, command
from eprli_lab.sweeping.agreement import Agreed, agree
from eprli_lab.sweeping.command import SweepOutcome, confirm
from eprli_lab.sweeping.controller import StudyResult
from eprli_lab.sweeping.lifecycle import start_study
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.study import Study
from eprli_lab.tracking import send, store
from eprli_lab.tracking.spool import NAME, Spool
from eprli_lab.tracking.store import open_store

pytestmark = pytest.mark.slow  # stores are made, which takes a second each
NODE = {"arms": {"a": {}, "b": {"overrides": ["optim.weight_decay=0.5"]}}, "seeds": [0, 1]}
KEYS = {("a", 0), ("a", 1), ("b", 0), ("b", 1)}


def here(plan: Plan, study: Study, parent: str) -> StudyResult:
    """All runs, one after the other, in this process."""
    while (task := study.claim()) is not None:
        spec = task.run.spec.model_copy(update={"planned": plan.strategy.planned(task.run)})
        result = tracked(spec.model_dump_json(), str(task.run.directory), parent or None)
        study.succeed(task, result["metrics"], 1.0)
    return StudyResult(study.complete(), study.failed())


def run(plan: Plan, before: Callable[[], None] = lambda: None) -> str:
    """The study without its table; the parent's run id as it was at the start."""
    study = Study(plan)
    try:
        parent = start_study(plan, [])
        before()
        here(plan, study, parent)
    finally:
        study.close()
    return parent


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the study was run."""
    directory = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        run(make_plan(NODE))
    return directory


@pytest.fixture
def plan(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A copy of it is the working directory."""
    shutil.copytree(done, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return make_plan(NODE)


def again(plan: Plan, patience: float = 0.0) -> Agreed:
    """What a command does at its start and before its table."""
    return agree(plan, KEYS, start_study(plan, []), [], patience)


def table() -> dict[tuple[str, int], float]:
    data = load()
    assert {r.tags["mlflow.parentRunId"] for r in data.runs} == {data.parent_run_id}, "nested"
    return {(r.arm, r.seed): r.last("score") for r in data.runs}


def load() -> StudyData:
    return load_study(TrackingSpec().uri, "eprli_lab", "study")


def scores(done: Path) -> dict[tuple[str, int], float]:
    return {
        (arm, seed): Spool.read(done / f"outputs/study/{arm}/seed{seed}" / NAME).points["score", 5][0]
        for arm, seed in KEYS
    }


def change(*statements: str) -> None:
    with sqlite3.connect("mlflow.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def test_a_study_that_agrees_is_left_as_it_is(plan: Plan, done: Path) -> None:
    agreed = again(plan)
    assert (agreed.restored, agreed.missing, agreed.away) == ([], {}, "")
    assert table() == scores(done)


@pytest.mark.parametrize("how", rest_exhaustive(["replaced", "not a database"]))
def test_a_store_that_is_gone_is_restored_from_outputs(plan: Plan, done: Path, how: str) -> None:
    for file in Path().glob("mlflow.db*"):
        file.unlink()
    if how == "replaced":  # by somebody else's, with a study of the same name
        other = make_plan(NODE, ["optim.learning_rate=2e-3"])
        (Path.cwd() / "theirs").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir("theirs")
            run(other)
        with sqlite3.connect("theirs/mlflow.db") as db:
            db.execute("VACUUM INTO 'mlflow.db'")
        db.close()
    if how == "not a database":
        Path("mlflow.db").write_text("something else entirely, and longer than a header\n" * 30)
        with pytest.raises(
            UserError, match=r"is damaged .*: move it away .*; the next start restores the runs"
        ) as error:
            again(plan)
        assert "\n" not in str(error.value)
        Path("mlflow.db").rename("mlflow.db.damaged")
    agreed = again(plan)
    assert sorted(agreed.restored) == [f"outputs/study/{arm}/seed{seed}" for arm, seed in sorted(KEYS)]
    assert agreed.lines(TrackingSpec())[0].startswith(
        "tracking: sqlite:///mlflow.db lacked 4 runs, sent again: outputs/"
    )
    assert not agreed.missing and table() == scores(done)
    assert not again(plan).restored, "nothing twice"
    assert [u.status for u in load().unfinished] == []


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("deleted", "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'b/seed1'"),
        ("not ended", "UPDATE runs SET status = 'FAILED' WHERE name = 'b/seed1'"),
        ("lacks a point", "DELETE FROM metrics WHERE step = 0 AND run_uuid IN (SELECT run_uuid FROM runs WHERE name = 'b/seed1')"),
        ("another value", "UPDATE metrics SET value = 0.75 WHERE step = 5 AND key = 'score' AND run_uuid IN "
         "(SELECT run_uuid FROM runs WHERE name = 'b/seed1')"),
        ("another param", "UPDATE params SET value = '9.0' WHERE key = 'optim.weight_decay' AND run_uuid IN "
         "(SELECT run_uuid FROM runs WHERE name = 'b/seed1')"),
        ("another seed", "UPDATE tags SET value = '7' WHERE key = 'seed' AND run_uuid IN "
         "(SELECT run_uuid FROM runs WHERE name = 'b/seed1')"),
    ],
)  # fmt: skip
def test_a_run_that_is_not_in_the_store_as_it_was_logged_is_sent_again(
    plan: Plan, done: Path, what: str, statement: str
) -> None:
    change(statement)
    agreed = again(plan)
    assert agreed.restored == ["outputs/study/b/seed1"], what
    assert table() == scores(done)
    params = {(r.arm, r.seed): r.params["optim.weight_decay"] for r in load().runs}
    assert params == {("a", 0): "0.0", ("a", 1): "0.0", ("b", 0): "0.5", ("b", 1): "0.5"}
    assert not again(plan).restored


def test_what_cannot_be_restored_is_named_with_the_way_out(plan: Plan) -> None:
    change("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name LIKE 'b/seed%'")
    Path("outputs/study/b/seed0", NAME).unlink()
    spool = Path("outputs/study/b/seed1", NAME)
    spool.write_bytes(spool.read_bytes().replace(b'"step": 5', b'"step": 6', 1))
    agreed = again(plan)
    assert set(agreed.missing) == {("b", 0), ("b", 1)}
    assert "there is no outputs/study/b/seed0/spool.jsonl to restore it from" in agreed.missing["b", 0]
    assert "eprli-lab upload" in agreed.missing["b", 0]
    assert "the line is damaged" in agreed.missing["b", 1] and "another name" in agreed.missing["b", 1]


def test_a_run_that_another_process_made_too_is_not_doubled(plan: Plan) -> None:
    """Two machines with one study: here is a finished spool of a run that the store has from the other one."""
    spool = Spool.read(Path("outputs/study/b/seed1", NAME))
    spool.header["token"] = spool.header["tags"]["eprli.token"] = "another"
    spool.run_id = None
    spool.rewrite()
    assert not again(plan).restored
    assert len(load().notes) == 0


def test_a_deleted_experiment_is_one_sentence(plan: Plan) -> None:
    client, experiment = open_store(TrackingSpec())
    client.delete_experiment(experiment)
    with pytest.raises(UserError, match=r"'eprli_lab' was deleted in .*mlflow experiments restore --experiment-id 1"):
        load()


HOLDER = """
import sqlite3, sys
db = sqlite3.connect("mlflow.db", isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_store_that_another_writer_holds_costs_exit_code_1_and_heals_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real other process holds the lock while the runs are made; the next command sends them, and prints the table."""
    monkeypatch.chdir(tmp_path)
    for module in (send, store):
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(agreement, "PATIENCE", 0.0)
    plan = make_plan({**NODE, "seeds": [0]})
    holders: list[subprocess.Popen[str]] = []

    def locked(plan: Plan, study: Study, parent: str) -> StudyResult:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(holder)
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        return here(plan, study, parent)

    try:
        outcome = confirm(plan, {}, locked)
        waiting = load().unfinished
    finally:
        holders[0].communicate("\n", timeout=30)
    assert set(outcome.unstored) == {("a", 0), ("b", 0)}
    sentence = outcome.unstored["a", 0]
    assert (
        "database is locked" in sentence
        and "the same command sends it, or eprli-lab upload outputs/study/*/*" in sentence
    )
    assert "report:" not in capsys.readouterr().out, "no table of half the runs"
    assert [u.status for u in waiting] == ["finished, not stored"] * 2
    assert waiting[0].reason == "eprli-lab upload outputs/study/a/seed0"
    outcome = confirm(plan, {}, here)
    printed = capsys.readouterr().out
    assert (
        outcome == SweepOutcome({}) and "lacked 2 runs, sent again" in printed and "report: reports/study/" in printed
    )
    assert set(table()) == {("a", 0), ("b", 0)} and load().unfinished == []


def test_a_sweep_whose_runs_are_not_all_stored_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = {("a", 0): "gone: do this", ("b", 1): "gone: do this"}
    monkeypatch.setattr(command, "plan_from_hydra", lambda *_: make_plan(NODE))
    monkeypatch.setattr(command, "run_plan", lambda *_: SweepOutcome(unstored=lost))
    with pytest.raises(SystemExit) as end:
        command.sweep(None, None, [])
    assert end.value.code == 1
    assert capsys.readouterr().err == "not in the table: a seed 0, b seed 1: gone: do this\n"


def test_a_store_that_is_there_only_at_the_end_gets_parent_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that was still starting: nothing of the study was in it while its runs were made."""
    monkeypatch.chdir(tmp_path)
    for module in ("backoff", "run"):
        monkeypatch.setattr(f"eprli_lab.tracking.{module}.RETRY", 1000.0)
    where = TrackingSpec(uri=f"sqlite:///{tmp_path}/later/mlflow.db")
    plan = make_plan(NODE, [f"tracking.uri={where.uri}"])
    assert run(plan) == "", "no parent"
    away = agree(plan, KEYS, "", [], patience=0.0)
    assert set(away.missing) == KEYS and "does not exist" in away.away and not away.restored
    (tmp_path / "later").mkdir()
    agreed = again(plan)
    assert len(agreed.restored) == 4 and not agreed.missing
    data = load_study(where.uri, "eprli_lab", "study")
    assert data.parent_run_id == agreed.parent and data.description.baseline == "a"
    assert {r.tags["mlflow.parentRunId"] for r in data.runs} == {agreed.parent}
    assert sorted((r.arm, r.seed) for r in data.runs) == sorted(KEYS) and not data.unfinished
    assert not again(plan).restored


def test_runs_that_were_sent_before_there_was_a_parent_go_below_it(plan: Plan, done: Path) -> None:
    change("DELETE FROM tags WHERE key = 'mlflow.parentRunId'")
    assert not again(plan).restored, "nothing is sent for it"
    assert table() == scores(done)
