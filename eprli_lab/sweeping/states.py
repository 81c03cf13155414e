"""The states of a trial, and which may follow which. docs/trial_states.md draws them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class TrialState(StrEnum):
    """Where a trial stands. The storage keeps Optuna's own state; two of these are told apart by attributes."""

    RUNNING = "running"  # Optuna's RUNNING; the attribute `owner` names the process that holds it
    FREE = "free"  # Optuna's RUNNING without an owner: it waits for a process to go on with it
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"  # for good, since the command was started (its attribute `epoch` is the present one)
    FAILED_BEFORE = "failed_before"  # under an earlier start of the command: an arm's run is tried again as a new trial


UNDER_WAY = frozenset({TrialState.RUNNING, TrialState.FREE})

# A trial begins as RUNNING: who adds it holds it. RUNNING to RUNNING is another process taking it over.
TRANSITIONS: dict[TrialState | None, frozenset[TrialState]] = {
    None: frozenset({TrialState.RUNNING}),
    TrialState.RUNNING: frozenset(
        {TrialState.RUNNING, TrialState.FREE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED}
    ),
    TrialState.FREE: frozenset({TrialState.RUNNING, TrialState.COMPLETE}),  # the last: all its results are there
    TrialState.COMPLETE: frozenset(),
    TrialState.PRUNED: frozenset(),
    TrialState.FAILED: frozenset({TrialState.FAILED_BEFORE}),  # the command is started anew: a new epoch
    TrialState.FAILED_BEFORE: frozenset(),
}


class TransitionError(RuntimeError):
    """A trial was to go where its state does not lead: a bug, never a user's mistake."""


def may(before: TrialState | None, after: TrialState) -> bool:
    """May a trial go from one state to the other? `before` None: there is no such trial yet."""
    return after in TRANSITIONS[before]


def check_transition(before: TrialState | None, after: TrialState) -> None:
    """Raises TransitionError when a trial may not go from one state to the other."""
    if not may(before, after):
        raise TransitionError(f"a trial that is {before or 'not there'} cannot become {after}")


def state_of(trial: Any, epoch: int) -> TrialState:
    """State of a frozen Optuna trial, as seen under the given start of the command."""
    name = trial.state.name
    if name == "COMPLETE":
        return TrialState.COMPLETE
    if name == "PRUNED":
        return TrialState.PRUNED
    if name == "FAIL":
        return TrialState.FAILED if trial.user_attrs.get("epoch") == epoch else TrialState.FAILED_BEFORE
    return TrialState.RUNNING if trial.user_attrs.get("owner") else TrialState.FREE
