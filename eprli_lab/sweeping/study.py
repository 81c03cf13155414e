"""The persistent study: one trial for each (arm, seed) or each point of a search, ever, whoever works on it.

Every trial is claimed under the study's lock and belongs to one process, which beats while it lives. When that process
is gone (its host says so, or it was silent for `lease_seconds`), another one takes the same trial over and its run goes
on from the last checkpoint. Nothing is decided outside the lock: nothing is run twice, no count is overshot.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from typing import Any, Literal

from eprli_lab.sweeping.look_state import TAKEN
from eprli_lab.sweeping.looks import take_looks
from eprli_lab.sweeping.opened import OpenStudy, step
from eprli_lab.sweeping.states import TrialState, check_transition
from eprli_lab.sweeping.strategies import NewTrial, SpaceExhaustedError
from eprli_lab.sweeping.trials import Key, Task, Trials, results_of, winners

Outcome = Literal["complete", "pruned", "next"]


class Study(OpenStudy):
    """One study in its storage, as one process sees it. Every method takes the lock.

    `data`: local files and directories that the runs read, with their digests. `process_id`: `host:pid:start` of who
    works on it; by default this process. Raises UserError when the study is bound to another configuration, code or
    data (the difference is named), unless `study.force=true`, which is recorded.
    """

    # ------------------------------------------------------------------ claims

    def claim(self) -> Task | None:
        """Something to do now, held by this process from here on; None when there is nothing (see `left`).

        Raises UserError for a search whose space holds no point that can be run.
        """
        self._deaths.clear()
        return self._claim()

    @step
    def _claim(self) -> Task | None:
        if self._interruptions != self.storage.interruptions:  # the others could not be heard meanwhile
            self._interruptions = self.storage.interruptions
            self.presence.start_over()
        self.presence.observe()
        task = self._take_over(self._trials())
        if task is not None:
            return task
        trials = self._trials()
        self.failure_limit_reason = trials.failure_limit_reason(self.plan.spec)
        if self.failure_limit_reason:
            return None
        self._look(trials)
        try:
            new = self.strategy.next_trial(trials)
        except SpaceExhaustedError:
            self.study.set_user_attr("exhausted", len(trials))
            return None
        return None if new is None else self._add(new)

    @step
    def left(self) -> int:
        """Trials that are not finished and may still be, held by anybody or by nobody yet."""
        trials = self._trials()
        if not self.failure_limit_reason:
            self._look(trials)
        return self.strategy.under_way(trials) if self.failure_limit_reason else self.strategy.left(trials)

    def _look(self, trials: Trials) -> None:
        """Take the looks that are due (sweeping/looks.py)."""
        for sentence in take_looks(self.study, self.plan, trials):
            self.say(sentence)

    @step
    def release(self, task: Task) -> None:
        """Let go of an unfinished trial: whoever comes next goes on with it. Raises LeaseLostError."""
        if task.number in self.held and self._state(task.number) is TrialState.FREE:  # done, before an interruption
            self.held.discard(task.number)
            return
        self._check_held(task)
        self._move(task.number, TrialState.FREE)

    def close(self) -> None:
        """Leave: what this process still holds is free. Nothing more is tried where the storage is gone for good."""
        if not self.storage.is_lost:
            self._leave()
        self.storage.close()

    @step
    def _leave(self) -> None:
        for number in sorted(self.held):
            if self._holds(number):
                self._move(number, TrialState.FREE)
        self.held.clear()
        self.presence.leave()

    def _take_over(self, trials: Trials) -> Task | None:
        """A trial whose process is gone, or that nobody holds; one whose processes died too often has failed."""
        for trial in trials.in_state(TrialState.RUNNING, TrialState.FREE):
            if trial.number in self.held or not self.strategy.runs_of(trial):
                continue
            owner = trial.user_attrs.get("owner", "")
            if owner and not self.presence.is_stale(owner):
                continue
            task = self._task(trial)
            if task.is_finished:  # its process died between the last result and the conclusion
                self._conclude(task.number, task.results)
                continue
            interrupted = owner == self.process_id  # this very step had taken or added it
            if owner and not interrupted and self._count_death(trial.number, "its process died"):
                continue
            self._move(trial.number, TrialState.RUNNING)
            return task
        return None

    def _add(self, new: NewTrial) -> Task:
        """A new trial, running and ours, in one write."""
        import optuna

        check_transition(None, TrialState.RUNNING)
        template = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict(new.params),
            distributions=dict(new.distributions),
            user_attrs={**new.attributes, "owner": self.process_id, "epoch": self.presence.epoch},
        )
        self.study.add_trial(template)
        trial = self._frozen()[-1]
        self.held.add(trial.number)
        return self._task(trial)

    def _task(self, trial: Any) -> Task:
        return Task(trial.number, self.strategy.name_of(trial), self.strategy.runs_of(trial), results_of(trial))

    # ------------------------------------------------------------------ results

    def succeed(self, task: Task, metrics: dict[str, float], seconds: float) -> Outcome:
        """Book a finished run of the task and what became of its trial; "next": another of its runs is to be made.

        `metrics` holds every objective. Raises LeaseLostError.
        """
        values = [metrics[o.metric] for o in self.plan.objectives]
        result = {"values": values, "seconds": round(seconds, 3), "seed": task.run.seed}
        outcome = self._book(task, [*task.results, result], self.strategy.kept_metrics(metrics))
        task.results.append(result)
        return outcome

    @step
    def _book(self, task: Task, results: list[dict[str, Any]], kept: dict[str, Any]) -> Outcome:
        ended = self._ended(task)
        if ended is not None:
            return "pruned" if ended is TrialState.PRUNED else "complete"
        self._check_held(task)
        handle = self._handle(task.number)
        for name, value in kept.items():
            handle.set_user_attr(name, value)
        handle.set_user_attr("results", json.dumps(results))
        between_runs = self.strategy.prunes == "between runs"
        if between_runs:
            handle.report(results[-1]["values"][0], len(results) - 1)
        if len(results) == len(task.runs):
            self._conclude(task.number, results)
            return "complete"
        if between_runs and handle.should_prune():
            self._move(task.number, TrialState.PRUNED)
            return "pruned"
        return "next"

    def report(self, task: Task, value: float, point: int) -> bool:
        """An evaluation within a run, at point 1, 2, ...; True when the run is to be stopped. Raises LeaseLostError."""
        if self.strategy.prunes != "within a run" or point < 1:
            return False
        return self._report(task, value, point)

    @step
    def _report(self, task: Task, value: float, point: int) -> bool:
        self._check_held(task)
        handle = self._handle(task.number)
        if point not in self._frozen()[task.number].intermediate_values:  # a resumed run may repeat one
            handle.report(value, point)
        return bool(handle.should_prune())

    @step
    def prune(self, task: Task) -> None:
        """The run was stopped because `report` said so. Raises LeaseLostError."""
        if self._ended(task) is None:
            self._check_held(task)
            self._move(task.number, TrialState.PRUNED)

    def fail(self, task: Task, reason: str) -> bool:
        """A try failed: True when the run may be tried again, by this process. Raises LeaseLostError."""
        return self._fail(task, reason, [])

    @step
    def _fail(self, task: Task, reason: str, count: list[int]) -> bool:
        """`count`: empty; from the first time on that this is done, how many failures there are with this one."""
        if self._ended(task) is not None:
            return False
        self._check_held(task)
        count = count or _remember(count, self._frozen()[task.number].user_attrs.get("failures", 0) + 1)
        handle = self._handle(task.number)
        handle.set_user_attr("failures", count[0])
        handle.set_user_attr("error", reason)
        if count[0] <= self.plan.spec.retries:
            return True
        self._move(task.number, TrialState.FAILED)
        return False

    def worker_died(self, task: Task, reason: str) -> bool:
        """The task's process died under it: True when the run may be tried again. Raises LeaseLostError."""
        self._deaths.clear()
        return self._worker_died(task, reason)

    @step
    def _worker_died(self, task: Task, reason: str) -> bool:
        if self._ended(task) is not None:
            return False
        self._check_held(task)
        return not self._count_death(task.number, reason)

    def _conclude(self, number: int, results: list[dict[str, Any]]) -> None:
        """All runs are done: the trial's values are the means over them."""
        count = len(self.plan.objectives)
        means = [statistics.fmean(result["values"][i] for result in results) for i in range(count)]
        self._move(number, TrialState.COMPLETE, means)

    def _count_death(self, number: int, reason: str) -> bool:
        """Count a death, once a step; True when it was one too many and the trial has failed."""
        attributes = self._frozen()[number].user_attrs
        key = (number, attributes.get("owner", ""))
        losses = self._deaths.setdefault(key, attributes.get("losses", 0) + 1)
        handle = self._handle(number)
        handle.set_user_attr("losses", losses)
        if losses <= self.plan.spec.max_lost:
            return False
        handle.set_user_attr("error", f"{reason}, {losses} times")
        self._move(number, TrialState.FAILED)
        return True

    # ------------------------------------------------------------------ what is known

    @step
    def complete(self) -> dict[Key, dict[str, Any]]:
        """(arm, seed) -> {"objective": float, "metrics": {name: float}} of what is done; nothing of a search."""
        return self._trials().complete()

    @step
    def failed(self) -> dict[Key, str]:
        """(arm, seed) of the plan -> reason, of what failed for good since the command was started."""
        trials = self._trials()
        runs = [run for run in self.plan.runs if trials.may_come(run.seed)]
        return trials.failed(runs, self.plan.spec, self.failure_limit_reason)

    @step
    def looks(self) -> str:
        """The looks that were taken, as the tracking parent keeps them; empty of a study that is looked at once."""
        return str(self.study.user_attrs.get(TAKEN, "")) if self.plan.spec.looks > 1 else ""

    @step
    def finished(self) -> int:
        """Trials of the plan that need no more work, whatever became of them."""
        return self.strategy.finished(self._trials())

    @step
    def points(self) -> list[Any]:
        """Copies of all trials, frozen, in order."""
        return list(self.study.get_trials(deepcopy=True))

    @step
    def winners(self, count: int) -> list[tuple[str, Mapping[str, Any]]]:
        """(name, params) of the best `count` complete trials, spread over a front; none while trials are left."""
        if self.strategy.left(self._trials()):
            return []
        complete = self._trials().in_state(TrialState.COMPLETE)
        candidates = self.study.best_trials if len(self.plan.objectives) > 1 else complete
        return winners(candidates, self.plan.objectives, count)

    @step
    def early_end(self) -> str:
        """Why the search has fewer trials than it was to have; empty when it has them all."""
        return self._trials().early_end(self.plan.spec)

    @step
    def forced_changes(self) -> list[str]:
        """What was gone over with `study.force=true`, one line each."""
        entries = json.loads(self.study.user_attrs.get("forced", "[]"))
        return [line for entry in entries for line in entry["changes"]]

    @step
    def heartbeat(self, fractions: dict[int, float]) -> set[int]:
        """Say that this process lives, and how far its runs are: trial number -> fraction in [0, 1].

        Numbers of those among them that another process has taken over by now.
        """
        self.presence.heartbeat(fractions)
        if not fractions:
            return set()
        trials = self._trials()
        held = {t.number for t in trials.in_state(TrialState.RUNNING) if t.user_attrs["owner"] == self.process_id}
        return fractions.keys() - held

    @step
    def silent(self) -> list[str]:
        """Processes of this machine that hold runs, live, and were not heard for a lease: a sentence each, once."""
        self.presence.observe()
        owners = {t.user_attrs.get("owner", "") for t in self._trials().in_state(TrialState.RUNNING)}
        return self.presence.silent(owners - {self.process_id})

    @step
    def rejoin(self) -> None:
        """Take part in the newest start of the command: that of the jobs which this process launched and waited for."""
        self.presence.rejoin()


def _remember(count: list[int], value: int) -> list[int]:
    count.append(value)
    return count
