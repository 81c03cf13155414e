"""The persistent study: exactly one complete trial for each (arm, seed), ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from conftest import REPO
from sweeping_work import arms, make_plan

from eprli_lab.errors import UserError
from eprli_lab.sweeping import owner
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.study import Study

JOURNAL = Path("studies/study.journal")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")


def plan(seeds: tuple[int, ...] = (0, 1), command_line: tuple[str, ...] = (), names: str = "ab") -> Plan:
    return make_plan({"arms": arms(*names), "seeds": list(seeds)}, list(command_line))


def states(study: Study) -> list[str]:
    return [t.state.name for t in study.study.get_trials()]


def test_results_are_there_after_reopening() -> None:
    p = plan()
    study = Study(p)
    for i, run in enumerate(p.runs):
        study.succeed(study.start(run), i / 10, {"score": i / 10, "progress/updates": 5.0})
    study.close()
    again = Study(p)
    assert again.complete() == {
        run.key: {"objective": i / 10, "metrics": {"score": i / 10, "progress/updates": 5.0}}
        for i, run in enumerate(p.runs)
    }
    trial = again.study.get_trials()[0]
    assert trial.params == {"arm": "a", "seed": 0}
    assert trial.user_attrs["owner"] == owner.me() and trial.user_attrs["directory"] == "outputs/study/a/seed0"
    again.close()


def test_a_plain_optuna_reader_sees_the_same() -> None:
    study = Study(plan())
    study.succeed(study.start(plan().runs[0]), 0.25, {"score": 0.25})
    study.close()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(JOURNAL)))
    loaded = optuna.load_study(study_name="study", storage=storage)
    assert loaded.best_value == 0.25 and loaded.best_params == {"arm": "a", "seed": 0}


def test_more_seeds_may_be_added_and_only_widened() -> None:
    node = {"arms": arms("a", "b", "c"), "only": ["b"], "seeds": [0]}
    study = Study(make_plan(node))
    study.succeed(study.start(make_plan(node).runs[0]), 0.5, {})
    study.close()
    wide = make_plan(node | {"only": None, "seeds": [0, 10**6]})
    study = Study(wide)
    for run in wide.runs:
        if run.key not in study.complete():
            study.succeed(study.start(run), 0.5, {})
    assert set(study.complete()) == {(arm, seed) for arm in "abc" for seed in (0, 10**6)}
    assert states(study).count("COMPLETE") == 6
    study.close()


def test_a_changed_config_is_refused_with_the_difference() -> None:
    study = Study(plan())
    study.fail(study.start(plan().runs[0]), "no luck")
    study.close()
    with pytest.raises(UserError) as caught:
        Study(plan(command_line=("optim.weight_decay=0.1", "curriculum.levels.l2.clip.high=0.2718")))
    sentence = str(caught.value)
    assert "(curriculum.levels.l2.clip.high: 0.28 -> 0.2718; optim.weight_decay: 0.0 -> 0.1)" in sentence
    assert "study.name=" in sentence and str(JOURNAL) in sentence and "outputs/study" in sentence
    with pytest.raises(UserError) as caught:
        Study(plan(command_line=("curriculum=l3",)))
    assert str(caught.value).count("->") == 5 and " more)" in str(caught.value)
    Study(plan()).close()  # the old one still goes on


def test_a_study_in_which_nothing_ran_binds_nothing() -> None:
    Study(plan()).close()  # e.g. the data of an arm was refused after this
    changed = plan(command_line=("optim.weight_decay=0.1",), names="abc")
    study = Study(changed)
    study.succeed(study.start(changed.runs[2]), 0.5, {})
    assert set(study.complete()) == {("c", 0)}
    study.close()
    with pytest.raises(UserError, match=r"weight_decay: 0\.1 -> 0\.0"):
        Study(plan())


def test_a_new_arm_is_refused() -> None:
    study = Study(plan())
    study.fail(study.start(plan().runs[0]), "no luck")
    study.close()
    with pytest.raises(UserError, match="without the arm c"):
        Study(plan(names="abc"))


def test_one_process_at_a_time() -> None:
    study = Study(plan())
    with pytest.raises(UserError, match=rf"is being run by process {os.getpid()} on .*study\.name="):
        Study(plan())
    study.close()
    Study(plan()).close()


HOLD = """
import sys
from sweeping_work import arms, make_plan
from eprli_lab.sweeping.study import Study
plan = make_plan({"arms": arms("a", "b"), "seeds": [0, 1]})
study = Study(plan)
study.start(plan.runs[0])
study.study.enqueue_trial({"arm": "b", "seed": 0})
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_owner_is_followed_by_the_next_and_its_trials_by_new_ones() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {other.pid} on "):
            Study(plan())
        other.kill()
    study = Study(plan())
    assert states(study) == ["FAIL", "FAIL"]  # the one that ran, and the one that was enqueued and never asked
    for run in plan().runs:
        study.succeed(study.start(run), 0.5, {})
    assert len(study.complete()) == 4 and states(study).count("COMPLETE") == 4
    study.close()


def test_without_locks_a_live_owner_is_recognised_by_its_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "lock", lambda path: None)  # what a file system without locks answers
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {other.pid} on "):
            Study(plan())
        other.kill()
    Study(plan()).close()


def test_trials_of_another_host_are_taken_over_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(plan())
    with monkeypatch.context() as patch:
        patch.setattr(owner, "me", lambda: "elsewhere:1:1")
        study.start(plan().runs[0])
    study.close()
    with monkeypatch.context() as patch:
        patch.setattr(owner, "lock", lambda path: None)
        with pytest.raises(UserError, match="process 1 on elsewhere"):
            Study(plan())
    study = Study(plan())
    assert states(study) == ["FAIL"]
    study.close()


def test_a_half_written_last_line_is_cut_off() -> None:
    study = Study(plan())
    study.succeed(study.start(plan().runs[0]), 0.5, {"score": 0.5})
    study.start(plan().runs[1])
    study.close()
    whole = JOURNAL.read_bytes()
    JOURNAL.write_bytes(whole[:-7])
    study = Study(plan())
    study.succeed(study.start(plan().runs[1]), 0.75, {})
    study.close()
    study = Study(plan())
    assert {k: v["objective"] for k, v in study.complete().items()} == {("a", 0): 0.5, ("b", 0): 0.75}
    study.close()


def test_owners_are_told_from_later_processes_with_their_number() -> None:
    host, pid, began = owner.me().rsplit(":", 2)
    assert owner.alive(f"{host}:{pid}:{began}")
    boot, _, tick = began.rpartition("/")
    assert not owner.alive(f"{host}:{pid}:{boot}/{int(tick) - 1}")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert not owner.alive(f"{host}:{gone.pid}:{began}")
    assert owner.alive("elsewhere:1:1") and not owner.alive("elsewhere:1:1", elsewhere=False)
