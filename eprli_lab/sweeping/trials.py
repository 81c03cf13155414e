"""What a study's trials say: which runs are done, under way or failed, why others are not started, who won."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eprli_lab.sweeping.look_state import Looked
from eprli_lab.sweeping.spec import PlannedRun, StudySpec
from eprli_lab.sweeping.states import UNDER_WAY, TrialState, state_of
from eprli_lab.tracking.description import Objective

Key = tuple[str, int]  # (arm, seed)


@dataclass
class Task:
    """A trial that this process holds: its runs one after another, and what the finished ones gave."""

    number: int
    name: str  # the arm, or t0003
    runs: tuple[PlannedRun, ...]
    results: list[dict[str, Any]] = field(default_factory=list)  # one a finished run: {"values", "seconds", "seed"}

    @property
    def run(self) -> PlannedRun:
        """The one to make next."""
        return self.runs[len(self.results)]

    @property
    def is_finished(self) -> bool:
        """Have all its runs given their result?"""
        return len(self.results) == len(self.runs)


def trial_name(number: int) -> str:
    """Name of a search's trial, `t0003`."""
    return f"t{number:04d}"


def key_of(trial: Any) -> Key | None:
    """(arm, seed) of a frozen trial; None for a search's."""
    return (trial.user_attrs["arm"], trial.user_attrs["seed"]) if "arm" in trial.user_attrs else None


def results_of(trial: Any) -> list[dict[str, Any]]:
    """What the finished runs of a frozen trial gave: {"values", "seconds", "seed"}, in the order of the seeds."""
    return list(json.loads(trial.user_attrs.get("results", "[]")))


class Trials:
    """All trials of a study at one moment, in order, as seen under one start of the command (its epoch)."""

    def __init__(
        self, frozen: Sequence[Any], epoch: int, exhausted: int | None = None, looked: Looked | None = None
    ) -> None:
        self.frozen = frozen
        self.epoch = epoch
        self.exhausted = exhausted  # how many trials a search's space gave, once it gave no more
        self.looked = looked  # how far the looks are; None of a study that is looked at once

    def __len__(self) -> int:
        return len(self.frozen)

    def state(self, trial: Any) -> TrialState:
        """State of one of them."""
        return state_of(trial, self.epoch)

    @cached_property
    def _state_of_each(self) -> list[TrialState]:
        return [self.state(t) for t in self.frozen]

    def in_state(self, *states: TrialState) -> list[Any]:
        """Those in any of these states, in order."""
        return [t for t, state in zip(self.frozen, self._state_of_each, strict=True) if state in states]

    @cached_property
    def states(self) -> dict[Key, TrialState]:
        """(arm, seed) -> its state. Of several trials of one run: the complete one, else the one under way.

        A run that only failed before this start of the command is left out: it counts as not begun.
        """
        out: dict[Key, TrialState] = {}
        for states in ((TrialState.FAILED,), tuple(UNDER_WAY), (TrialState.COMPLETE,)):
            for trial, state in zip(self.frozen, self._state_of_each, strict=True):
                key = key_of(trial) if state in states else None
                if key is not None:
                    out[key] = state
        return out

    @cached_property
    def failures(self) -> Counter[str]:
        """Arm -> how many of its runs failed for good since the command was started; a search's under ''."""
        return Counter((key_of(t) or ("",))[0] for t in self.in_state(TrialState.FAILED))

    def may_begin(self, key: Key) -> bool:
        """Has it not begun, and may it, as far as the looks go?"""
        return key not in self.states and (self.looked is None or key[1] in self.looked.open_seeds)

    def may_come(self, seed: int) -> bool:
        """May a run of this seed begin now, or after another look?"""
        return self.looked is None or self.looked.is_left(seed)

    def complete(self) -> dict[Key, dict[str, Any]]:
        """(arm, seed) -> {"objective": float, "metrics": {name: float}} of the arms' runs that are done."""
        return {
            key: {"objective": t.values[0], "metrics": t.user_attrs.get("metrics", {})}
            for t in self.in_state(TrialState.COMPLETE)
            if (key := key_of(t)) is not None
        }

    def failed(self, planned: Sequence[PlannedRun], spec: StudySpec, limit_reason: str) -> dict[Key, str]:
        """(arm, seed) of the plan -> why it failed for good or is not started. `limit_reason`: of all that is left."""
        runs = {run.key: run for run in planned}
        out: dict[Key, str] = {}
        for trial in self.in_state(TrialState.FAILED):
            key = key_of(trial)
            if key in runs and key is not None and self.states[key] is not TrialState.COMPLETE:
                out[key] = trial.user_attrs.get("error", "failed")
        for key, run in runs.items():
            state = self.states.get(key)
            if key in out or state is TrialState.COMPLETE or state in UNDER_WAY:
                continue
            reason = self.blocked_reason(run, runs, spec) or limit_reason
            if reason:
                out[key] = reason
        return out

    def failure_limit_reason(self, spec: StudySpec) -> str:
        """Why nothing more is started; empty when there is no reason."""
        failures = self.failures.total()
        if failures < spec.max_failures:
            return ""
        return f"not started: {failures} runs had failed (study.max_failures={spec.max_failures})"

    def early_end(self, spec: StudySpec) -> str:
        """Why a search ended, or stands, with fewer trials than `study.trials`; empty when it has them all."""
        done = len(self) - len(self.in_state(*UNDER_WAY))
        if done >= spec.trials:
            return ""
        if self.exhausted is not None and done >= self.exhausted:
            why = "the space holds no further point that can be run"
        else:
            why = self.failure_limit_reason(spec).removeprefix("not started: ") or "it was interrupted"
        return f"ended early, with {done} of {spec.trials} trials: {why}"

    def blocked_reason(self, run: PlannedRun, runs: Mapping[Key, PlannedRun], spec: StudySpec) -> str:
        """Why a run will not be started; empty when there is no reason. `runs`: all of the plan, by (arm, seed)."""
        failures = self.failures[run.arm]
        if failures >= spec.max_failures_per_arm:
            return (
                f"not started: {failures} runs of {run.arm} had failed "
                f"(study.max_failures_per_arm={spec.max_failures_per_arm})"
            )
        if run.after is None:
            return ""
        awaited = runs[run.after.arm, run.seed]
        state = self.states.get(awaited.key)
        if state is TrialState.COMPLETE or state in UNDER_WAY:
            return ""
        if state is TrialState.FAILED or self.blocked_reason(awaited, runs, spec):
            return f"waits for {awaited.arm} seed {awaited.seed}, which failed"
        return ""


def best_first(trials: Sequence[Any], objective: Objective) -> list[Any]:
    """Complete frozen trials, the best in the objective (their first value) first; the earlier of equals first."""
    sign = -1.0 if objective.direction == "maximize" else 1.0
    return sorted(trials, key=lambda t: (sign * t.values[0], t.number))


def winners(
    candidates: Sequence[Any], objectives: Sequence[Objective], count: int
) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, params) of the best `count` candidates; of several objectives: spread along the first.

    `candidates`: complete frozen trials; of several objectives, those of the Pareto front.
    """
    ranked = best_first(candidates, objectives[0])
    if len(objectives) > 1 and len(ranked) > count > 1:
        ranked = [ranked[round(i * (len(ranked) - 1) / (count - 1))] for i in range(count)]
    return [(trial_name(t.number), dict(t.params)) for t in ranked[:count]]
