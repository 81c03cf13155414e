"""The states of a trial: the table, its picture, and that a study keeps to it whatever is done with it."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import REPO
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sweeping_work import arms, make_plan

from eprli_lab.sweeping.opened import LeaseLostError
from eprli_lab.sweeping.states import TRANSITIONS, TransitionError, TrialState, check_transition, may, state_of
from eprli_lab.sweeping.study import Study
from eprli_lab.sweeping.trials import Task

ENDS = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED_BEFORE}


def reachable(state: TrialState | None) -> set[TrialState]:
    """States after any number of steps, at least one."""
    out: set[TrialState] = set()
    left = [state]
    while left:
        for after in TRANSITIONS[left.pop()] - out:
            out.add(after)
            left.append(after)
    return out


def test_every_state_is_reached_and_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == {None, *TrialState}
    assert reachable(None) == set(TrialState)
    for state in TrialState:
        assert (reachable(state) == set()) == (state in ENDS)
        assert state in ENDS or reachable(state) & ENDS


@given(st.sampled_from([None, *TrialState]), st.sampled_from(list(TrialState)))
def test_an_illegal_step_raises_and_a_legal_one_does_not(before: TrialState | None, after: TrialState) -> None:
    if may(before, after):
        check_transition(before, after)
    else:
        with pytest.raises(TransitionError, match=rf"a trial that is {before or 'not there'} cannot become {after}$"):
            check_transition(before, after)


@pytest.mark.parametrize(
    ("optuna_state", "attributes", "state"),
    [
        ("RUNNING", {"owner": "h:1:1", "epoch": 1}, TrialState.RUNNING),
        ("RUNNING", {"owner": "", "epoch": 2}, TrialState.FREE),
        ("COMPLETE", {"owner": "h:1:1", "epoch": 1}, TrialState.COMPLETE),
        ("PRUNED", {"owner": "h:1:1", "epoch": 2}, TrialState.PRUNED),
        ("FAIL", {"owner": "h:1:1", "epoch": 2}, TrialState.FAILED),
        ("FAIL", {"owner": "h:1:1", "epoch": 1}, TrialState.FAILED_BEFORE),
        ("FAIL", {}, TrialState.FAILED_BEFORE),
    ],
)
def test_a_state_is_read_from_what_is_stored(optuna_state: str, attributes: dict[str, Any], state: TrialState) -> None:
    trial = SimpleNamespace(state=SimpleNamespace(name=optuna_state), user_attrs=attributes)
    assert state_of(trial, epoch=2) is state


def test_the_picture_shows_the_table() -> None:
    text = (REPO / "docs" / "trial_states.md").read_text()
    drawn = re.findall(r"^    (\S+) --> ([^\s:]+)", text, re.MULTILINE)
    table = [(before or "[*]", after) for before, states in TRANSITIONS.items() for after in states]
    assert sorted(drawn) == sorted([*table, *((end, "[*]") for end in ENDS)])


SEEN: set[tuple[TrialState | None, TrialState]] = set()


class StudyMachine(RuleBasedStateMachine):
    """Two processes that begin, finish, fail, lose, release, leave, die and come back, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.before = Path.cwd()
        os.chdir(self.directory.name)
        self.numbers: Iterator[int] = itertools.count(1)
        self.plan = make_plan({"arms": arms("a", "b"), "seeds": [0, 1], "retries": 1, "max_lost": 1, "max_failures": 3})
        self.studies: list[Study] = []
        self.tasks: list[list[Task]] = [[], []]
        self.last: dict[int, TrialState] = {}

    @initialize()
    def begin(self) -> None:
        self.studies = [self.open(), self.open()]

    def open(self) -> Study:
        """As a process of another machine: alive as long as it beats."""
        return Study(self.plan, process_id=f"elsewhere:{next(self.numbers)}:1")

    def check(self, index: int) -> None:
        """What each trial was, and what it is now."""
        study = self.studies[index]
        for trial in study.study.get_trials():
            state = state_of(trial, study.presence.epoch)
            before = self.last.get(trial.number)
            assert state == before or state in reachable(before), (before, state)
            self.last[trial.number] = state
            SEEN.add((before, state))
        keys = [(t.user_attrs["arm"], t.user_attrs["seed"]) for t in study.study.get_trials() if t.state.name != "FAIL"]
        assert len(keys) == len(set(keys)), "a run has one trial that did not fail"

    def act(self, index: int, method: str, *arguments: Any) -> Any:
        if not self.tasks[index]:
            return None
        task = self.tasks[index].pop()
        try:
            again = getattr(self.studies[index], method)(task, *arguments)
        except LeaseLostError:
            again = False
        if again is True:
            self.tasks[index].append(task)
        self.check(index)
        return None

    @rule(index=st.integers(0, 1))
    def claim(self, index: int) -> None:
        task = self.studies[index].claim()
        if task is not None:
            self.tasks[index].append(task)
        self.check(index)

    @rule(index=st.integers(0, 1))
    def succeed(self, index: int) -> None:
        self.act(index, "succeed", {"score": 0.5}, 1.0)

    @rule(index=st.integers(0, 1))
    def fail(self, index: int) -> None:
        self.act(index, "fail", "bad")

    @rule(index=st.integers(0, 1))
    def lose(self, index: int) -> None:
        self.act(index, "worker_died", "killed")

    @rule(index=st.integers(0, 1))
    def release(self, index: int) -> None:
        self.act(index, "release")

    @rule(index=st.integers(0, 1), dies=st.booleans())
    def leave_and_come_back(self, index: int, dies: bool) -> None:
        if dies:  # without a word: only that it beats no more is seen, at once since the lease is over
            self.studies[1 - index].presence.lease = -1.0
        else:
            self.studies[index].close()
        self.tasks[index] = []
        self.studies[index] = self.open()
        self.check(index)

    def teardown(self) -> None:
        os.chdir(self.before)
        self.directory.cleanup()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_study_keeps_to_the_table() -> None:
    run_state_machine_as_test(
        StudyMachine,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    expected = {(None, TrialState.RUNNING), (TrialState.FREE, TrialState.RUNNING)}
    expected |= {
        (TrialState.RUNNING, state)
        for state in TrialState
        if state not in (TrialState.PRUNED, TrialState.FAILED_BEFORE)
    }
    assert expected <= SEEN, "the walk went through all of it"
