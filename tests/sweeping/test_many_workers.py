"""Many workers on one study: each run once, and nothing that grows with the plan is made under the study's lock."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
from conftest import REPO
from postgres import server
from sqlalchemy import text
from sweeping_work import arms, make_plan

from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.sweeping import opened
from eprli_lab.sweeping import plan as sweeping_plan
from eprli_lab.sweeping import spec as sweeping_spec
from eprli_lab.sweeping.clocks import Clock
from eprli_lab.sweeping.postgres import Postgres
from eprli_lab.sweeping.spec import PlannedRun, plan_run
from eprli_lab.sweeping.storage import LOCK_PATIENCE, Storage
from eprli_lab.sweeping.study import Study


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def workers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("workers_benchmark", REPO / "benchmarks" / "workers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["workers_benchmark"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def work_off(workers: ModuleType, *more: str) -> str:
    """The report of a whole study of 48 runs by 12 processes."""
    options = ("--workers", "12", "--runs", "48", "--run-seconds", "0.05", "--seconds", "100")
    return str(workers.measure(workers.parsed([*options, *more])))


@pytest.mark.slow
def test_twelve_workers_make_every_run_once_on_a_journal(workers: ModuleType) -> None:
    report = work_off(workers)
    assert "12 workers, journal: 48 runs" in report and " 0 leases lost" in report


@pytest.mark.slow
@pytest.mark.exhaustive
def test_twelve_workers_make_every_run_once_on_postgresql(workers: ModuleType) -> None:
    with server() as uri:
        report = work_off(workers, "--storage", uri)
    assert "12 workers, PostgreSQL: 48 runs" in report and " 0 leases lost" in report


@pytest.mark.slow
def test_the_benchmark_sees_a_run_that_was_booked_twice(workers: ModuleType) -> None:
    plan = workers.make_plan(8)
    study = Study(plan)
    account = workers.Account()
    while (task := study.claim()) is not None:
        key = task.run.key
        study.succeed(task, {"score": workers.expected(*key)}, 1.0)
        account.booked.append(key)
    study.close()
    assert workers.check(plan, [account], to_its_end=True) == 8
    account.booked.append(account.booked[0])
    with pytest.raises(AssertionError, match="accounts differ"):
        workers.check(plan, [account], to_its_end=True)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_on_postgresql_only_a_process_that_does_nothing_under_the_lock_is_given_up_on() -> None:
    with server() as uri:
        holder = Postgres(uri, uri, "study", lock_patience=60.0)
        waiter = Postgres(uri, uri, "study", lock_patience=0.5)
        holder.acquire()
        with pytest.raises(UserError, match="has been held by another process for 0 s: is one stopped"):
            waiter.acquire()
        at_work = threading.Thread(target=_work_then_release, args=(holder,))
        at_work.start()
        waiter.acquire()
        waiter.release()
        at_work.join()
        waiter.drop()
        holder.drop()


def _work_then_release(holder: Postgres) -> None:
    """Three times the waiter's patience, with a query ever so often, as a step under the lock makes them."""
    for _ in range(30):
        holder._connection.execute(text("SELECT 1"))
        holder._connection.commit()
        time.sleep(0.05)
    holder.release()


class _Crowd(Clock):
    """Simulated time; at every look of who waits for it, the lock is handed on to another one, so often."""

    def __init__(self, other: Storage, turns: int) -> None:
        self.seconds = 0.0
        self.other = other
        self.turns = turns
        self.hold = contextlib.ExitStack()
        self.hold.enter_context(other.exclusive())

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += 1.0
        if self.turns:
            self.turns -= 1
            self.hold.close()
            if self.turns:
                self.hold.enter_context(self.other.exclusive())


def test_who_waits_among_many_that_take_turns_does_not_give_up() -> None:
    crowd = _Crowd(Storage(None, "study"), turns=500)
    with Storage(None, "study", crowd).exclusive():
        assert crowd.seconds == 500.0 > 3 * LOCK_PATIENCE


def test_who_waits_for_one_that_holds_the_lock_all_the_time_gives_up() -> None:
    crowd = _Crowd(Storage(None, "study"), turns=0)
    with pytest.raises(UserError, match="has been held by another process for 120 s: is one stopped"):
        Storage(None, "study", crowd).step(lambda: None)
    assert crowd.seconds == pytest.approx(LOCK_PATIENCE, abs=2.0)
    crowd.hold.close()


def test_what_grows_with_the_plan_is_made_before_the_lock_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 workers open their study at once, and whoever waits longer than two minutes for its lock gives up."""
    calls: Counter[tuple[str, bool]] = Counter()
    held: list[bool] = []
    exclusive = Storage.exclusive

    @contextlib.contextmanager
    def watched(self: Storage) -> Iterator[None]:
        with exclusive(self):
            held.append(True)
            try:
                yield
            finally:
                held.pop()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name, bool(held)] += 1
            return function(*arguments, **options)

        return call

    plan = make_plan({"arms": arms("a", "b"), "seeds": list(range(20))})
    monkeypatch.setattr(Storage, "exclusive", watched)
    monkeypatch.setattr(RunSpec, "flat", counted("flat", RunSpec.flat))
    monkeypatch.setattr(RunSpec, "fingerprint", counted("fingerprint", RunSpec.fingerprint))
    monkeypatch.setattr(opened, "code_digests", counted("code", opened.code_digests))
    study = Study(plan)
    assert study.left() == 40
    study.close()
    under_the_lock = {name: count for (name, is_held), count in calls.items() if is_held}
    assert under_the_lock == {}
    assert calls["flat", False] <= 4, "an arm's configuration is flattened once, not once a seed"
    assert calls["code", False] == 1


def test_a_claim_does_not_look_through_the_plan_once_for_every_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 64 workers and 9,000 runs it took a quarter of a second under the lock, and heartbeats came too late."""
    others = 12
    plan = make_plan({"arms": arms("a", "b"), "seeds": list(range(20))})
    studies = [Study(plan, process_id=f"node{i}:1:1") for i in range(others)]
    assert all(study.claim() is not None for study in studies)
    ours = Study(plan)
    assert ours.claim() is not None
    calls: Counter[str] = Counter()

    def counted(cls: type, name: str) -> None:
        read = getattr(cls, name).fget

        def fget(self: Any) -> Any:
            calls[name] += 1
            return read(self)

        monkeypatch.setattr(cls, name, property(fget))

    counted(PlannedRun, "key")
    counted(optuna.Study, "user_attrs")
    assert ours.claim() is not None
    assert calls["key"] <= 2 * len(plan.runs)
    assert calls["user_attrs"] < others
    for study in [*studies, ours]:
        study.close()


def test_a_plan_validates_an_arm_once_and_has_the_specs_of_a_plan_that_validates_each_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: Counter[str] = Counter()

    def counted(tree: dict[str, Any]) -> RunSpec:
        calls["parse"] += 1
        return parse_spec(tree)

    for module in (sweeping_plan, sweeping_spec):
        monkeypatch.setattr(module, "parse_spec", counted)
    plan = make_plan({"arms": arms("a", "b"), "seeds": [3, 0, *range(5, 45)]})
    assert len(plan.runs) == 84 and calls["parse"] <= 4 * 2
    for run in plan.runs:
        alone = plan_run(run.arm, run.seed, run.spec.model_dump(mode="json"), plan.study, None)
        assert (alone.spec, alone.directory, alone.fingerprint) == (run.spec, run.directory, run.fingerprint)
        assert run.spec.seed == run.seed
