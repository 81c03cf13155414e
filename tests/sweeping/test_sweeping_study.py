"""The persistent study: exactly one trial for each (arm, seed), whoever works on it, whatever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from conftest import REPO
from sweeping_work import arms, make_plan

from eprli_lab.errors import UserError
from eprli_lab.sweeping.clocks import Clock
from eprli_lab.sweeping.fingerprints import MOVED, code_digests, data_digests
from eprli_lab.sweeping.leases import Presence
from eprli_lab.sweeping.opened import LeaseLostError
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.storage import Storage
from eprli_lab.sweeping.study import Study
from eprli_lab.sweeping.trials import Task
from eprli_lab.tracking.process import ProcessIdentity

pytestmark = pytest.mark.slow  # one of many

JOURNAL = Path("studies/study.journal")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")


def plan(seeds: tuple[int, ...] = (0, 1), command_line: tuple[str, ...] = (), names: str = "ab", **more: Any) -> Plan:
    return make_plan({"arms": arms(*names), "seeds": list(seeds), **more}, list(command_line))


def states(study: Study) -> list[str]:
    return [t.state.name for t in study.study.get_trials()]


def claim(study: Study) -> Task:
    task = study.claim()
    assert task is not None
    return task


def work_off(study: Study, score: float = 0.5) -> list[tuple[str, int]]:
    """Claim and finish everything; the keys in order."""
    done = []
    while (task := study.claim()) is not None:
        done.append(task.run.key)
        assert study.succeed(task, {"score": score}, 1.0) == "complete"
    return done


@pytest.mark.parametrize("storage", [None, "sqlite:///studies/all.db"])
def test_results_are_there_after_reopening(storage: str | None) -> None:
    p = plan(storage=storage)
    study = Study(p)
    assert study.left() == 4
    for i, run in enumerate(p.runs):
        task = claim(study)
        assert task.run.key == run.key and task.number == i
        study.succeed(task, {"score": i / 10, "progress/updates": 5.0}, 2.0)
    assert study.left() == 0 and study.claim() is None
    study.close()
    again = Study(p)
    assert again.complete() == {
        run.key: {"objective": i / 10, "metrics": {"score": i / 10, "progress/updates": 5.0}}
        for i, run in enumerate(p.runs)
    }
    assert again.finished() == 4 and again.left() == 0
    trial = again.study.get_trials()[0]
    assert (trial.user_attrs["arm"], trial.user_attrs["seed"]) == ("a", 0)
    assert (
        trial.user_attrs["owner"] == str(ProcessIdentity.current())
        and trial.user_attrs["directory"] == "outputs/study/a/seed0"
    )
    assert JOURNAL.exists() == (storage is None)
    again.close()


def test_a_plain_optuna_reader_sees_the_same() -> None:
    study = Study(plan())
    study.succeed(claim(study), {"score": 0.25}, 1.0)
    study.close()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(JOURNAL)))
    loaded = optuna.load_study(study_name="study", storage=storage)
    assert loaded.best_value == 0.25 and loaded.best_trial.user_attrs["arm"] == "a"


def test_arms_and_seeds_may_be_added() -> None:
    node = {"arms": arms("a", "b", "c"), "only": ["b"], "seeds": [0]}
    study = Study(make_plan(node))
    assert claim(study).run.key == ("a", 0)
    study.close()
    study = Study(make_plan(node | {"only": None, "seeds": [0, 10**6]}))
    assert sorted(work_off(study)) == [(arm, seed) for arm in "abc" for seed in (0, 10**6)]
    assert states(study) == ["COMPLETE"] * 6
    study.close()


def test_a_changed_config_is_refused_with_the_difference_and_forced_on_request() -> None:
    study = Study(plan())
    study.fail(claim(study), "no luck")
    study.close()
    changed = ("optim.weight_decay=0.1", "curriculum.levels.l2.clip.high=0.2718")
    with pytest.raises(UserError) as caught:
        Study(plan(command_line=changed))
    sentence = str(caught.value)
    assert "(curriculum.levels.l2.clip.high: 0.28 -> 0.2718; optim.weight_decay: 0.0 -> 0.1)" in sentence
    assert all(w in sentence for w in ("study.name=", str(JOURNAL), "outputs/study", "study.force=true"))
    with pytest.raises(UserError) as caught:
        Study(plan(command_line=("curriculum=l3",)))
    assert str(caught.value).count("->") == 5 and " more)" in str(caught.value)
    study = Study(plan())  # the old one still goes on
    assert study.forced_changes() == []
    study.close()
    study = Study(plan(command_line=changed, force=True))
    assert study.forced_changes() == [
        "curriculum.levels.l2.clip.high: 0.28 -> 0.2718",
        "optim.weight_decay: 0.0 -> 0.1",
    ]
    study.close()
    study = Study(plan(command_line=changed))  # from now on the name stands for this
    assert len(study.forced_changes()) == 2
    study.close()


def test_changed_code_and_data_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_digests()
    assert {"training/loop.py", "algorithm/loss.py", "backends/local/engine.py", "torch"} <= code.keys()
    assert "tracking/store.py" not in code and not any(k.startswith("sweeping") for k in code)
    study = Study(plan(), {"d.jsonl": "aaa"})
    study.fail(claim(study), "no luck")
    study.close()
    with pytest.raises(UserError, match=r"d\.jsonl: aaa -> bbb"):
        Study(plan(), {"d.jsonl": "bbb"})
    Study(plan(), {"other.jsonl": "bbb"}).close()  # an arm's own file is no change
    monkeypatch.setattr("eprli_lab.sweeping.opened.code_digests", lambda: code | {"training/loop.py": "0"})
    with pytest.raises(UserError, match=r"\(code changed: training/loop\.py\): give this one"):
        Study(plan(), {"d.jsonl": "aaa"})


def test_a_study_begun_before_the_code_moved_is_told_what_moved_and_goes_on_when_forced() -> None:
    now = code_digests()
    former_names = {new: old for old, new in MOVED.items()}
    before = {former_names.get(name, name): digest for name, digest in now.items() if name != "grading/answers.py"}
    before |= {"algorithm/loss.py": "0", "algorithm/gone.py": "1", "torch": "1.0"}
    first = Study(plan())
    first.succeed(claim(first), {"score": 0.25}, 1.0)
    held = claim(first)
    stored = json.loads(first.study.user_attrs["binding"])
    first.study.set_user_attr("binding", json.dumps(stored | {"code": before}))
    first.close()
    with pytest.raises(UserError) as caught:
        Study(plan())
    moved = "train.py to training/loop.py, rollout.py to training/rollout.py, evaluate.py to training/evaluate.py, "
    assert (
        f"(torch: 1.0 -> {now['torch']}; code moved: {moved}batch.py to training/batch.py, policies.py to "
        "training/policies.py; code changed: algorithm/loss.py; code gone: algorithm/gone.py; code new: "
        f"grading/answers.py; and {len(MOVED) - 5} more): give this one its own name"
    ) in str(caught.value)
    forced = Study(plan(force=True))
    assert forced.complete() == {("a", 0): {"objective": 0.25, "metrics": {"score": 0.25}}}
    assert (claim(forced).number, forced.held) == (held.number, {held.number}), "it goes on with what was begun"
    lines = forced.forced_changes()
    assert lines[0] == f"torch: 1.0 -> {now['torch']}" and lines[1].startswith(f"code moved: {moved}")
    assert all(f"{old} to {new}" in lines[1] for old, new in MOVED.items())
    assert lines[2:] == [
        "code changed: algorithm/loss.py",
        "code gone: algorithm/gone.py",
        "code new: grading/answers.py",
    ]
    forced.close()
    assert len(work_off(Study(plan()))) == 3, "from now on the name stands for this code"


def test_the_files_that_moved_are_where_the_table_says() -> None:
    code = code_digests()
    assert set(MOVED.values()) <= code.keys()
    assert set(MOVED) & code.keys() == {"data/__init__.py"}, "of it an empty file is left"


def test_data_is_known_by_its_bytes(tmp_path: Path) -> None:
    Path("x.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    command_line = [
        "data=jsonl",
        "data.source.path=x.jsonl",
        "data.difficulty_file=d.jsonl",
        "evaluation=benchmarks",
        *(f"evaluation.suites.{s}.source.path=x.jsonl" for s in ("aime24", "amc23", "math500")),
        "model=path",
        f"model.path={tmp_path / 'model'}",
    ]
    specs = [r.spec for r in plan(command_line=tuple(command_line)).runs]
    before = data_digests(specs)
    assert set(before) == {"x.jsonl", str(tmp_path / "model")}  # d.jsonl is not there: the preflight says so
    Path("x.jsonl").write_text('{"id": 2}\n')
    after = data_digests(specs)
    assert before["x.jsonl"] != after["x.jsonl"] and before[str(tmp_path / "model")] == after[str(tmp_path / "model")]
    (tmp_path / "model" / "config.json").write_text("{ }")
    assert data_digests(specs)[str(tmp_path / "model")] != after[str(tmp_path / "model")]


def test_shards_are_known_by_their_bytes(tmp_path: Path) -> None:
    for i in range(2):
        Path(f"part-{i}.jsonl").write_text("{}\n")
    data = ["data=jsonl", "data.source.path=part-*.jsonl", "data.difficulty_file=d.jsonl", "evaluation=paper"]
    specs = [r.spec for r in plan(command_line=(*data, "model=path", "model.path=x")).runs]
    before = data_digests(specs)
    assert "part-*.jsonl" in before
    Path("part-1.jsonl").write_text("{ }\n")
    assert data_digests(specs)["part-*.jsonl"] != before["part-*.jsonl"]


def test_a_study_in_which_nothing_ran_binds_nothing() -> None:
    Study(plan()).close()  # e.g. the data of an arm was refused after this
    study = Study(plan(command_line=("optim.weight_decay=0.1",), names="abc"))
    claim(study)
    study.close()
    with pytest.raises(UserError, match=r"weight_decay: 0\.1 -> 0\.0"):
        Study(plan())


# --- several processes -------------------------------------------------------------------------------------------


ELSEWHERE = "elsewhere:1:1"  # a process of another machine


def test_two_processes_never_hold_the_same_run() -> None:
    first, second = Study(plan()), Study(plan(), process_id=ELSEWHERE)
    keys = [claim(s).run.key for s in (first, second, first, second)]
    assert sorted(keys) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert first.claim() is None and second.claim() is None and first.left() == 4


def test_a_silent_process_of_another_machine_loses_its_run_after_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    here = Study(plan(seeds=(0,), lease_seconds=60.0))
    there = Study(plan(seeds=(0,), lease_seconds=60.0), process_id=ELSEWHERE)
    orphan = claim(there)
    assert claim(here).run.key == ("b", 0)
    now[0] += 59.0
    there.heartbeat({orphan.number: 0.5})
    assert here.claim() is None, "it beats"
    now[0] += 59.0
    assert here.claim() is None, "not yet a whole lease"
    now[0] += 2.0
    taken = claim(here)
    assert taken.number == orphan.number and taken.run.key == ("a", 0)
    with pytest.raises(LeaseLostError):
        there.succeed(orphan, {"score": 0.1}, 1.0)
    with pytest.raises(LeaseLostError):
        there.fail(orphan, "late")
    with pytest.raises(LeaseLostError):
        there.release(orphan)
    assert here.succeed(taken, {"score": 0.7}, 1.0) == "complete"
    assert here.complete()["a", 0]["objective"] == 0.7


@pytest.mark.parametrize(("lease", "age", "there"), [(60.0, 299, True), (60.0, 301, False), (3600.0, 3000, True)])
def test_who_was_heard_within_a_lease_is_at_work_when_a_study_opens(lease: float, age: int, there: bool) -> None:
    """A heartbeat comes six times a lease: with a long one, five minutes of silence say nothing."""
    heard = (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="seconds")
    attributes = {"epoch": 7, f"process:{ELSEWHERE}": {"beat": 3, "at": heard, "epoch": 7, "runs": {}}}
    study = SimpleNamespace(user_attrs=attributes, set_user_attr=attributes.__setitem__)
    assert Presence(study, "here:1:1", lease).epoch == (7 if there else 8)


def test_who_leaves_frees_its_runs_at_once() -> None:
    there = Study(plan(seeds=(0,)), process_id=ELSEWHERE)
    held = claim(there)
    here = Study(plan(seeds=(0,)))
    assert claim(here).run.key == ("b", 0) and here.claim() is None
    there.close()
    assert claim(here).number == held.number


HOLD = """
import sys
from sweeping_work import arms, make_plan
from eprli_lab.sweeping.study import Study
study = Study(make_plan({"arms": arms("a", "b"), "seeds": [0, 1]}))
study.claim()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_of_this_machine_is_followed_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout is not None and p.stdout.readline() == "held\n"
        study = Study(plan())
        assert claim(study).run.key == ("b", 0), "the first is held"
        p.kill()
    assert work_off(study) == [("a", 0), ("a", 1), ("b", 1)]
    assert states(study).count("COMPLETE") == 3 and len(states(study)) == 4


def test_a_result_that_was_noted_but_not_told_is_not_made_again() -> None:
    study = Study(plan(seeds=(0,)))
    task = claim(study)
    handle = study._handle(task.number)
    handle.set_user_attr("metrics", {"score": 0.25})
    handle.set_user_attr("results", json.dumps([{"values": [0.25], "seconds": 1.0, "seed": 0}]))
    study.close()  # killed just here
    study = Study(plan(seeds=(0,)))
    assert claim(study).run.key == ("b", 0)
    assert study.complete() == {("a", 0): {"objective": 0.25, "metrics": {"score": 0.25}}}


def test_a_run_whose_processes_keep_dying_fails() -> None:
    study = Study(plan(seeds=(0,), names="a", max_lost=2))
    task = claim(study)
    assert study.worker_died(task, "killed") and study.worker_died(task, "killed")
    assert not study.worker_died(task, "killed")
    assert study.failed() == {("a", 0): "killed, 3 times"} and study.left() == 0


# --- failures ----------------------------------------------------------------------------------------------------


def test_caps_on_failures_of_an_arm_and_in_all() -> None:
    study = Study(plan(seeds=tuple(range(6)), retries=0, max_failures_per_arm=2, max_failures=3))
    for arm in "aba":
        task = claim(study)
        while task.name != arm:
            study.succeed(task, {"score": 0.5}, 1.0)
            task = claim(study)
        assert not study.fail(task, f"bad {arm}")
    done = len(study.complete())
    assert study.claim() is None and study.left() == 0, "three failures in all: nothing more is started"
    failed = study.failed()
    assert len(failed) == 12 - done
    reasons = sorted(set(failed.values()))
    assert reasons == [
        "bad a",
        "bad b",
        "not started: 2 runs of a had failed (study.max_failures_per_arm=2)",
        "not started: 3 runs had failed (study.max_failures=3)",
    ]
    study.close()
    again = Study(plan(seeds=tuple(range(6)), retries=0, max_failures_per_arm=2, max_failures=3))
    assert again.failed() == {} and len(work_off(again)) == 12 - done  # the next command tries everything again
    again.close()


def test_who_joins_does_not_try_again_what_failed_for_the_others() -> None:
    first = Study(plan(seeds=(0,), retries=0))
    first.fail(claim(first), "bad")
    second = Study(plan(seeds=(0,), retries=0), process_id=ELSEWHERE)
    assert work_off(second) == [("b", 0)] and second.failed() == {("a", 0): "bad"}


# --- the storage -------------------------------------------------------------------------------------------------


def test_a_half_written_last_line_is_cut_off() -> None:
    study = Study(plan())
    study.succeed(claim(study), {"score": 0.5}, 1.0)
    claim(study)
    study.close()
    with open(JOURNAL, "ab") as file:
        file.write(b'{"op_code": 8, "worker_id": "x", "trial_id": 1, "user_a')
    study = Study(plan())
    assert work_off(study, 0.75) == [("b", 0), ("a", 1), ("b", 1)]
    study.close()
    study = Study(plan())
    assert [v["objective"] for v in study.complete().values()] == [0.5, 0.75, 0.75, 0.75]
    study.close()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mysql://x/y", "study.storage: 'mysql://x/y' is no storage"),
        ("studies.db", "is no storage: leave it out"),
        ("postgresql://me:secret@127.0.0.1:1/none", "postgresql://me:***@127.0.0.1:1/none cannot be reached"),
        ("sqlite:////proc/nowhere/x.db", "cannot be made"),
    ],
)
def test_storages_that_cannot_be_used(uri: str, words: str) -> None:
    if uri.startswith("postgresql"):
        pytest.importorskip("psycopg")
    with pytest.raises(UserError) as caught:
        Study(plan(storage=uri))
    assert words in str(caught.value) and "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_the_lock_is_let_go_of_by_a_killed_holder() -> None:
    code = (
        "import sys; from eprli_lab.sweeping.storage import Storage\n"
        "with Storage(None, 's').exclusive():\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout is not None and p.stdout.readline() == "held\n"
        p.kill()
    storage = Storage(None, "s")
    with storage.exclusive(), storage.exclusive():  # may be nested
        pass


# --- clocks and silence ------------------------------------------------------------------------------------------


class SetClock(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.offset = timedelta(0)

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds) + self.offset

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_takes_no_run_from_anybody(hours: int) -> None:
    clock = SetClock()
    here = Study(plan(seeds=(0,), lease_seconds=60.0), clock=clock)
    there = Study(plan(seeds=(0,), lease_seconds=60.0), process_id=ELSEWHERE, clock=clock)
    held = claim(there)
    assert claim(here).run.key == ("b", 0)
    clock.offset = timedelta(hours=hours)
    for _ in range(6):
        clock.seconds += 10
        there.heartbeat({held.number: 0.5})
        assert here.heartbeat({}) == set() and here.claim() is None
    late = Study(plan(seeds=(0,), lease_seconds=60.0), process_id="third:1:1", clock=clock)
    assert late.claim() is None, "both are at work"
    assert there.succeed(held, {"score": 0.5}, 1.0) == "complete"


def test_who_was_stopped_itself_gives_the_others_a_whole_lease() -> None:
    clock = SetClock()
    here = Study(plan(seeds=(0,), lease_seconds=60.0), clock=clock)
    there = Study(plan(seeds=(0,), lease_seconds=60.0), process_id=ELSEWHERE, clock=clock)
    held = claim(there)
    claim(here)
    clock.seconds += 3600  # here is stopped, or its database is gone; there beats as before, and cannot be heard
    assert here.claim() is None
    for _ in range(2):
        clock.seconds += 40
        here.heartbeat({})
    assert claim(here).number == held.number, "silent for a lease, as far as here could hear"
    assert there.heartbeat({held.number: 0.9}) == {held.number}, "it hears that it lost its run"


def test_a_step_that_had_to_wait_gives_the_others_a_whole_lease() -> None:
    clock = SetClock()
    here = Study(plan(seeds=(0,), lease_seconds=60.0), clock=clock)
    there = Study(plan(seeds=(0,), lease_seconds=60.0), process_id=ELSEWHERE, clock=clock)
    claim(there)
    claim(here)
    clock.seconds += 50
    here.heartbeat({})
    here.storage.interruptions += 1  # the database was gone for 15 s
    clock.seconds += 15
    assert here.claim() is None
