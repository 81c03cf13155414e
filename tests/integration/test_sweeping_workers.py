"""Worker processes and their controller, with real processes that print, fail, die, and are told to stop."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO, rest_exhaustive
from sweeping_work import STEPS, arms, behave, expected, make_plan, run

from eprli_lab.errors import UserError
from eprli_lab.sweeping import controller, locks, workers
from eprli_lab.sweeping.study import Study

pytestmark = pytest.mark.slow  # one of many

ARMS = arms("a", "b")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")
    behave()
    return tmp_path


def node(**more: Any) -> dict[str, Any]:
    return {"arms": ARMS, "seeds": [0, 1], "workers": 2} | more


def starts(arm: str, seed: int) -> list[tuple[int, int]]:
    """(process, step at which it began) of each start of a run."""
    lines = (Path("outputs/study") / arm / f"seed{seed}" / "starts").read_text().splitlines()
    return [(int(a), int(b)) for a, b in (line.split() for line in lines)]


def states() -> list[tuple[str, int, str]]:
    study = Study(make_plan(node()))
    try:
        return sorted((t.user_attrs["arm"], t.user_attrs["seed"], t.state.name) for t in study.study.get_trials())
    finally:
        study.close()


ALL = [(arm, seed) for arm in "ab" for seed in (0, 1)]
ALL_COMPLETE = [(arm, seed, "COMPLETE") for arm, seed in ALL]


def test_all_runs_once_and_nothing_when_done(capfd: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(node())
    result = run(plan)
    assert {k: v["objective"] for k, v in result.complete.items()} == {(a, s): expected(s) for a, s in ALL}
    assert not result.failed and not result.interrupted
    assert len({starts(a, s)[0][0] for a, s in ALL}) == 2, "two workers, each used again"
    assert {v["metrics"]["threads"] for v in result.complete.values()} == {1.0}
    *lines, last = capfd.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in lines] == ["[1/4", "[2/4", "[3/4", "[4/4"]
    assert last.startswith("2 workers, ") and "s waiting for others, " in last
    assert sum(f"score {expected(1):.3f}" in line for line in lines) == 2
    assert "left" in lines[-2] and "left" not in lines[-1]
    again = run(plan)
    assert again.complete == result.complete and capfd.readouterr().out == ""
    assert all(len(starts(a, s)) == 1 for a, s in ALL) and states() == ALL_COMPLETE


def test_never_more_workers_than_runs_and_the_own_process_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.modules["__main__"].__spec__)
    result = run(make_plan(node(seeds=[0], workers=8)))
    assert len({starts(a, 0)[0][0] for a in "ab"}) == 2
    assert result.complete["a", 0]["metrics"]["threads"] == 1.0
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ
    main = sys.modules["__main__"]
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), main.__spec__)


def test_what_a_run_prints_goes_to_its_log(capfd: pytest.CaptureFixture[str]) -> None:
    behave(a_0={"say": "hello from a run"})
    run(make_plan(node(workers=1)))
    log = Path("outputs/study/a/seed0/log.txt").read_text()
    assert log.splitlines() == ["hello from a run", "below python", "of a child"]
    shown = capfd.readouterr()
    assert "hello" not in shown.out and "below" not in shown.out and shown.err == ""
    assert Path("outputs/study/b/seed0/log.txt").read_text() == ""


def test_a_killed_worker_costs_one_retry_that_goes_on_from_the_checkpoint(capfd: pytest.CaptureFixture[str]) -> None:
    behave(a_0={"kill_at": 3})
    result = run(make_plan(node()))
    assert {k: v["objective"] for k, v in result.complete.items()} == {(a, s): expected(s) for a, s in ALL}
    assert [step for _, step in starts("a", 0)] == [0, 3]
    assert states() == ALL_COMPLETE
    assert "a seed 0: the worker died with signal 9; it goes on from its last checkpoint" in capfd.readouterr().out


@pytest.mark.parametrize("retries", rest_exhaustive([1, 0, 2]))
def test_a_failing_run_is_retried_so_often_and_the_others_go_on(
    retries: int, capfd: pytest.CaptureFixture[str]
) -> None:
    behave(a_1={"fail": "the data is bad"})
    result = run(make_plan(node(retries=retries)))
    out = capfd.readouterr().out
    assert out.count("the data is bad; trying once more") == retries
    assert out.count("a seed 1: failed: the data is bad") == 1
    assert result.failed == {("a", 1): "the data is bad"}
    assert set(result.complete) == set(ALL) - {("a", 1)}
    assert len(starts("a", 1)) == retries + 1
    assert states() == sorted([s for s in ALL_COMPLETE if s[:2] != ("a", 1)] + [("a", 1, "FAIL")])
    behave()  # mended: the next command tries again
    assert set(run(make_plan(node())).complete) == set(ALL)


def test_a_run_that_fails_once_is_made_by_the_second_try() -> None:
    behave(a_0={"fail_once": "no luck"})
    result = run(make_plan(node(seeds=[0])))
    assert not result.failed and result.complete["a", 0]["objective"] == expected(0)
    assert [step for _, step in starts("a", 0)] == [0, 1]


@pytest.mark.parametrize(
    ("executor", "words"),
    [
        ("sweeping_work:crash", "ZeroDivisionError: division by zero (see outputs/study/a/seed0/log.txt)"),
        ("sweeping_work:nothing", "AttributeError: module 'sweeping_work' has no attribute 'nothing'"),
        ("nowhere:work", "ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_bug_is_reported_with_its_log(executor: str, words: str) -> None:
    result = run(make_plan(node(seeds=[0], retries=0)), executor)
    assert words in result.failed["a", 0] and set(result.failed) == {("a", 0), ("b", 0)}
    assert "Traceback" in Path("outputs/study/a/seed0/log.txt").read_text()


def test_a_score_that_is_no_number_is_a_failure() -> None:
    behave(a_0={"objective": float("nan")})
    result = run(make_plan(node(seeds=[0], retries=0)))
    assert result.failed == {("a", 0): "its score is nan"} and set(result.complete) == {("b", 0)}


def after(metric: str, key: str = "budget.amount") -> dict[str, Any]:
    return ARMS | {"c": {"overrides": ["budget.unit=updates"], "after": {"arm": "b", "set": {key: metric}}}}


def test_a_waiting_arm_takes_the_metric_of_the_same_seed() -> None:
    behave(b_0={"steps": 3}, b_1={"steps": 8})
    result = run(make_plan(node(arms=after("progress/updates"))))
    assert [result.complete["c", seed]["metrics"]["amount"] for seed in (0, 1)] == [3.0, 8.0]
    whole = run(make_plan(node(arms=after("progress/updates", "checkpoint.every_updates"), name="whole")))
    assert not whole.failed, "a float metric fits a whole number"


def test_a_waiting_arm_whose_value_is_missing_or_impossible_fails_alone() -> None:
    missing = run(make_plan(node(arms=after("progress/update"))))
    assert missing.failed == {
        ("c", s): f"after: b seed {s} logs no 'progress/update' (did you mean 'progress/updates'?)" for s in (0, 1)
    }
    assert set(missing.complete) == set(ALL)
    wrong = run(make_plan(node(arms=after("score"), name="wrong")))
    assert "after b seed 1: budget: amount must be a whole number of updates" in wrong.failed["c", 1]
    assert set(wrong.complete) == set(ALL)


def test_what_waits_for_a_failed_run_fails_with_it() -> None:
    behave(b_1={"fail": "no"})
    result = run(make_plan(node(arms=after("progress/updates"))))
    assert result.failed == {("b", 1): "no", ("c", 1): "waits for b seed 1, which failed"}
    assert ("c", 0) in result.complete


# --- the controller in a process of its own ----------------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Any]:
    """Start a controller in a process group of its own, as a shell would."""
    began: list[subprocess.Popen[str]] = []

    def go(**more: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "sweeping_work", json.dumps(node(**more))]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        began.append(subprocess.Popen(command, text=True, start_new_session=True, **pipes))  # type: ignore[call-overload]
        return began[-1]

    yield go
    for process in began:
        process.kill()
        process.communicate()


def until(true: Any, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def progress(arm: str, seed: int) -> int:
    """Steps done by a run."""
    path = Path("outputs/study") / arm / f"seed{seed}" / "state.json"
    return json.loads(path.read_text())[0] if path.is_file() else 0


def running(pid: int) -> bool:
    from eprli_lab.tracking.process import start_time

    return start_time(pid) is not None


def whole_result() -> None:
    """Each (arm, seed) is complete exactly once, with the result of an uninterrupted run, and nothing was lost."""
    Path("calm").touch()
    result = run(make_plan(node()))
    assert {k: v["objective"] for k, v in result.complete.items()} == {(a, s): expected(s, 20) for a, s in ALL}
    assert [s for s in states() if s[2] == "COMPLETE"] == ALL_COMPLETE
    for arm, seed in ALL:
        steps = [step for _, step in starts(arm, seed)]
        assert steps == sorted(steps) and (len(steps) == 1 or steps[1] > 0), "it went on from its checkpoint"


SLOW = {f"{a}_{s}": {"steps": 20, "hold_at": 10} for a, s in ALL}  # half of the way, until there is a file `calm`


def held(*arms: str) -> bool:
    """Have the runs of these arms, at seed 0, come half of the way?"""
    return all(progress(arm, 0) == 10 for arm in arms)


def test_a_controller_that_is_killed_leaves_no_orphans_and_loses_nothing(start: Any) -> None:
    behave(**SLOW)
    first = start()
    until(lambda: held("a", "b"))
    workers = [starts(a, 0)[0][0] for a in "ab"]
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not any(running(pid) for pid in workers))
    assert held("a", "b"), "they saved and left"
    whole_result()
    assert len(starts("a", 0)) == 2


def test_the_next_controller_waits_for_the_orphans_of_a_killed_one(start: Any) -> None:
    behave(**SLOW | {"a_0": {"steps": 20, "seconds": 80.0}})  # an orphan notices that it should stop only after a step
    first = start()
    until(lambda: progress("a", 0) >= 1 and held("b"))
    orphan = starts("a", 0)[0][0]
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = start()  # at once, while the orphan still sleeps in its step
    until(lambda: len(starts("b", 0)) == 2)  # the second controller is at work
    assert running(orphan) and len(starts("a", 0)) == 1, "two processes never write to one directory"
    Path("calm").touch()
    until(lambda: len(starts("a", 0)) == 2)
    ended = Path("outputs/study/a/seed0/ends")
    over = not running(orphan) or (ended.is_file() and str(orphan) in ended.read_text().split())
    assert over, "two processes never write to one directory"
    until(lambda: not running(orphan))
    second.communicate(timeout=120)
    assert second.returncode == 0
    whole_result()


@pytest.mark.parametrize("number", rest_exhaustive([signal.SIGTERM, signal.SIGINT]))
def test_a_controller_that_is_interrupted_lets_the_runs_save(start: Any, number: signal.Signals) -> None:
    behave(**SLOW)
    first = start()
    until(lambda: held("a", "b"))
    os.killpg(first.pid, number)  # a terminal's Ctrl-C reaches the workers too
    out, err = first.communicate(timeout=120)
    assert first.returncode == 130
    assert "stopping: the runs under way save their state" in out and err == ""
    assert sorted(s[:2] for s in states()) == [("a", 0), ("b", 0)] and {s[2] for s in states()} == {"RUNNING"}
    whole_result()
    assert [starts(a, 0)[1][1] for a in "ab"] == [10, 10], "they went on at the very step"


def test_an_interrupt_at_the_start_is_as_quiet(start: Any) -> None:
    behave(**SLOW)
    first = start()
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    until(lambda: len(children.read_text().split()) >= 2)  # Python's resource tracker, and a worker that starts up
    os.killpg(first.pid, signal.SIGINT)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 130 and err == ""
    Path("calm").touch()
    result = run(make_plan(node()))
    assert {k: v["objective"] for k, v in result.complete.items()} == {(a, s): expected(s, 20) for a, s in ALL}


def test_a_second_interrupt_does_not_wait(start: Any) -> None:
    behave(**{f"{a}_{s}": {"steps": 20, "seconds": 300.0} for a, s in ALL})
    first = start()
    until(lambda: progress("b", 0) >= 1 and progress("a", 0) >= 1)
    workers = [starts(a, 0)[0][0] for a in "ab"]
    os.kill(first.pid, signal.SIGINT)
    assert any("stopping" in line for line in first.stdout), "it waits for a run that is busy"
    assert first.poll() is None and all(running(pid) for pid in workers)
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=50)  # less than it would wait for runs to save
    assert first.returncode == 130
    assert not any(running(pid) for pid in workers)
    behave(**SLOW)
    whole_result()


def test_two_controllers_at_once(start: Any) -> None:
    behave(**SLOW)
    both = [start(workers=1) for _ in range(2)]
    until(lambda: held("a", "b"))
    assert starts("a", 0)[0][0] != starts("b", 0)[0][0], "each has a share"
    Path("calm").touch()
    errors = [p.communicate(timeout=120)[1] for p in both]
    assert [p.returncode for p in both] == [0, 0] and errors == ["", ""]
    whole_result()
    assert len({starts(a, s)[0][0] for a, s in ALL}) == 2 and all(len(starts(a, s)) == 1 for a, s in ALL)


def test_a_worker_that_somebody_else_stops_is_tried_again(start: Any) -> None:
    behave(**SLOW)
    first = start()
    until(lambda: held("a"))
    os.kill(starts("a", 0)[0][0], signal.SIGTERM)
    until(lambda: len(starts("a", 0)) == 2)
    Path("calm").touch()
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0 and "state saved; it goes on" in out and "died" not in out
    whole_result()
    assert [step for _, step in starts("a", 0)] == [0, 10]


def test_a_stop_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    behave(a_0={"steps": 2, "seconds": 300.0})
    monkeypatch.setattr(controller, "STOP_PATIENCE", 0.5)
    plan = make_plan(node(seeds=[0]))
    study = Study(plan)
    engine = controller._Controller(plan, study, "sweeping_work:work", None, [])
    read_messages = engine._read_messages
    began = time.monotonic()

    def stop_soon(seconds: float) -> None:
        if progress("a", 0):
            engine.ask_to_stop()
            engine._read_messages = read_messages  # type: ignore[method-assign]
        read_messages(0.1)

    engine._read_messages = stop_soon  # type: ignore[method-assign]
    finished = engine.run(2)
    complete = study.complete()
    study.close()
    assert not finished and time.monotonic() - began < 120
    assert ("a", 0) not in complete and not running(starts("a", 0)[0][0])


def test_refusals_come_before_anything_starts() -> None:
    for wrong in ({"baseline": "aa"}, {"only": ["x"]}, {"arms": {"a": {}, "b": {}}}, {"seeds": []}):
        with pytest.raises(UserError):
            run(make_plan(node(**wrong)))
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["behaviour.json"]


def test_steps_are_what_the_tests_think() -> None:
    assert expected(0, 2) == 1 / 1009 and expected(1, 2) == (31 * 1 + 2) / 1009 and STEPS == 5


def test_a_run_whose_directory_cannot_be_made_fails_with_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    Path("outputs").mkdir()
    Path("outputs/study").touch()  # something else stands there
    result = run(make_plan(node(workers=1, retries=0)))
    assert set(result.failed) == {("a", 0), ("a", 1), ("b", 0), ("b", 1)}
    said, errors = capfd.readouterr()
    assert "outputs/study/a/seed0 cannot be written (Not a directory)" in said and "Traceback" not in said + errors


def test_a_lock_file_of_noise_is_a_lock_file() -> None:
    path = Path("lock")
    path.write_bytes(b"\xff\xfe\x00")
    with open(path, "a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(locks.LockHeldError):
            locks.lock(path)
    held = locks.lock(path)
    assert held is not None
    path.unlink()  # somebody cleans up; who comes next locks another file
    other = locks.lock(path)
    assert other is not None and not os.path.samestat(os.fstat(held.fileno()), os.fstat(other.fileno()))


def test_a_directory_that_somebody_else_writes_is_no_failure_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ORPHAN_GRACE", -10.0)
    with open("lock", "w") as holder:
        holder.write("elsewhere:7:1")
        holder.flush()
        fcntl.flock(holder, fcntl.LOCK_EX)
        job = workers.Job("{}", ".", None)
        message = workers._work("sweeping_work:work", job, threading.Event(), None)
    assert message == workers.Message("held", ". is being written by another process (elsewhere:7:1)")


@pytest.mark.parametrize("broken", ["", "raise ImportError('not here')"])
def test_a_worker_imports_what_a_run_needs_before_the_first_one_comes(
    here: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)  # a spawned process is told the path of its parent
    (here / "late.py").write_text("def work(*_):\n    return {'metrics': {}}\n")
    (here / "late_ahead.py").write_text(f"open('imported', 'w').close()\nprint('a word to nobody')\n{broken}\n")
    worker = workers.Worker("late:work", ahead=True)
    try:
        deadline = time.monotonic() + 60
        while not (here / "imported").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (here / "imported").exists(), "no run was given"
        worker.give(workers.Job("{}", str(here / "run"), None))
        while not (messages := worker.messages()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [m.kind for m in messages] == ["done"]
        assert (here / "run" / "log.txt").read_text() == ""
    finally:
        worker.end()


def test_what_is_imported_ahead_is_there() -> None:
    """A worker is silent about a module that it cannot import ahead."""
    importlib.import_module("eprli_lab.training.execute_ahead")
    assert {"torch", "mlflow", "eprli_lab.training.loop"} <= set(sys.modules)
