"""The persistent study: one trial for each (arm, seed) or each point of a search, ever, whoever works on it.

Every trial is claimed under the study's lock and belongs to one process, which beats while it lives. When that process
is gone (its host says so, or it was silent for `lease_seconds`), another one takes the same trial over and its run goes
on from the last checkpoint. Nothing is decided outside the lock: nothing is run twice, no count is overshot.
"""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Mapping
from typing import Any, Literal

from eprli_lab.sweeping.fingerprints import bind, code_digests
from eprli_lab.sweeping.leases import Presence
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.spec import storage_uri
from eprli_lab.sweeping.states import TrialState, check_transition, state_of
from eprli_lab.sweeping.storage import Storage
from eprli_lab.sweeping.strategies import NewTrial, SpaceExhaustedError
from eprli_lab.sweeping.trials import Key, Task, Trials, results_of, winners
from eprli_lab.tracking.process import ProcessIdentity

Outcome = Literal["complete", "pruned", "next"]


class LeaseLostError(Exception):
    """The trial belongs to another process by now: whatever this one has of it is to be forgotten."""


class Study:
    """One study in its storage, as one process sees it. Every method takes the lock.

    `data`: local files and directories that the runs read, with their digests. `process_id`: `host:pid:start` of who
    works on it; by default this process. Raises UserError when the study is bound to another configuration, code or
    data (the difference is named), unless `study.force=true`, which is recorded.
    """

    def __init__(self, plan: Plan, data: dict[str, str] | None = None, process_id: str | None = None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.plan = plan
        self.strategy = plan.strategy
        self.process_id = process_id or str(ProcessIdentity.current())
        self.failure_limit_reason = ""  # why this process starts nothing more
        self.held: set[int] = set()  # numbers of the trials that this process holds
        self.storage = Storage(storage_uri(plan.spec.storage), plan.study.removesuffix("-search"))
        with self.storage.exclusive():
            self.study = optuna.create_study(
                study_name=plan.study,
                storage=self.storage.optuna(),
                sampler=optuna.samplers.RandomSampler(seed=0),  # never used: points are suggested in sampler.py
                pruner=self.strategy.pruner(),
                directions=[o.direction for o in plan.objectives],
                load_if_exists=True,
            )
            binding = {**self.strategy.binding(), "code": code_digests(), "data": data or {}}
            outputs = f"outputs/{plan.study}"
            to_remove = f"{self.storage.where} and {outputs}" if self.storage.path else outputs
            bind(self.study, binding, force=plan.spec.force, to_remove=to_remove)
            self.study.set_user_attr("plan", plan.stored())
            self.presence = Presence(self.study, self.process_id, plan.spec.lease_seconds)

    # ------------------------------------------------------------------ claims

    def claim(self) -> Task | None:
        """Something to do now, held by this process from here on; None when there is nothing (see `left`).

        Raises UserError for a search whose space holds no point that can be run.
        """
        with self.storage.exclusive():
            self.presence.observe()
            task = self._take_over(self._trials())
            if task is not None:
                return task
            trials = self._trials()
            self.failure_limit_reason = trials.failure_limit_reason(self.plan.spec)
            if self.failure_limit_reason:
                return None
            try:
                new = self.strategy.next_trial(trials)
            except SpaceExhaustedError:
                self.study.set_user_attr("exhausted", len(trials))
                return None
            return None if new is None else self._add(new)

    def left(self) -> int:
        """Trials that are not finished and may still be, held by anybody or by nobody yet."""
        with self.storage.exclusive():
            trials = self._trials()
            return self.strategy.under_way(trials) if self.failure_limit_reason else self.strategy.left(trials)

    def release(self, task: Task) -> None:
        """Let go of an unfinished trial: whoever comes next goes on with it. Raises LeaseLostError."""
        with self.storage.exclusive():
            self._check_held(task)
            self._move(task.number, TrialState.FREE)

    def close(self) -> None:
        """Leave: what this process still holds is free."""
        with self.storage.exclusive():
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
                self._conclude(task)
                continue
            if owner and self._count_death(trial.number, "its process died"):
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
        with self.storage.exclusive():
            self._check_held(task)
            handle = self._handle(task.number)
            for name, value in self.strategy.kept_metrics(metrics).items():
                handle.set_user_attr(name, value)
            values = [metrics[o.metric] for o in self.plan.objectives]
            task.results.append({"values": values, "seconds": round(seconds, 3), "seed": task.run.seed})
            handle.set_user_attr("results", json.dumps(task.results))
            between_runs = self.strategy.prunes == "between runs"
            if between_runs:
                handle.report(values[0], len(task.results) - 1)
            if task.is_finished:
                self._conclude(task)
                return "complete"
            if between_runs and handle.should_prune():
                self._move(task.number, TrialState.PRUNED)
                return "pruned"
            return "next"

    def report(self, task: Task, value: float, point: int) -> bool:
        """An evaluation within a run, at point 1, 2, ...; True when the run is to be stopped. Raises LeaseLostError."""
        if self.strategy.prunes != "within a run" or point < 1:
            return False
        with self.storage.exclusive():
            self._check_held(task)
            handle = self._handle(task.number)
            if point not in self._frozen()[task.number].intermediate_values:  # a resumed run may repeat one
                handle.report(value, point)
            return bool(handle.should_prune())

    def prune(self, task: Task) -> None:
        """The run was stopped because `report` said so. Raises LeaseLostError."""
        with self.storage.exclusive():
            self._check_held(task)
            self._move(task.number, TrialState.PRUNED)

    def fail(self, task: Task, reason: str) -> bool:
        """A try failed: True when the run may be tried again, by this process. Raises LeaseLostError."""
        with self.storage.exclusive():
            self._check_held(task)
            handle = self._handle(task.number)
            failures = self._frozen()[task.number].user_attrs.get("failures", 0) + 1
            handle.set_user_attr("failures", failures)
            handle.set_user_attr("error", reason)
            if failures <= self.plan.spec.retries:
                return True
            self._move(task.number, TrialState.FAILED)
            return False

    def worker_died(self, task: Task, reason: str) -> bool:
        """The task's process died under it: True when the run may be tried again. Raises LeaseLostError."""
        with self.storage.exclusive():
            self._check_held(task)
            return not self._count_death(task.number, reason)

    def _conclude(self, task: Task) -> None:
        """All runs are done: the trial's values are the means over them."""
        count = len(self.plan.objectives)
        means = [statistics.fmean(result["values"][i] for result in task.results) for i in range(count)]
        self._move(task.number, TrialState.COMPLETE, means)

    def _count_death(self, number: int, reason: str) -> bool:
        """Count a death; True when it was one too many and the trial has failed."""
        losses = self._frozen()[number].user_attrs.get("losses", 0) + 1
        handle = self._handle(number)
        handle.set_user_attr("losses", losses)
        if losses <= self.plan.spec.max_lost:
            return False
        handle.set_user_attr("error", f"{reason}, {losses} times")
        self._move(number, TrialState.FAILED)
        return True

    def _check_held(self, task: Task) -> None:
        """Raises LeaseLostError when the trial is no longer this process's."""
        if not self._holds(task.number):
            self.held.discard(task.number)
            raise LeaseLostError(f"{task.name} was taken over by another process")

    def _holds(self, number: int) -> bool:
        trial = self._frozen()[number]
        running = state_of(trial, self.presence.epoch) is TrialState.RUNNING
        return running and trial.user_attrs.get("owner") == self.process_id

    def _move(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        """The one place where a trial changes its state. Raises TransitionError where that does not lead there."""
        import optuna

        check_transition(state_of(self._frozen()[number], self.presence.epoch), state)
        if state is TrialState.RUNNING:
            self._handle(number).set_user_attr("owner", self.process_id)
            self.held.add(number)
            return
        if state is TrialState.FREE:
            self._handle(number).set_user_attr("owner", "")
        elif state is TrialState.COMPLETE:
            self.study.tell(number, values)
        else:
            pruned = state is TrialState.PRUNED
            self.study.tell(number, state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.FAIL)
        self.held.discard(number)

    # ------------------------------------------------------------------ what is known

    def complete(self) -> dict[Key, dict[str, Any]]:
        """(arm, seed) -> {"objective": float, "metrics": {name: float}} of what is done; nothing of a search."""
        with self.storage.exclusive():
            return self._trials().complete()

    def failed(self) -> dict[Key, str]:
        """(arm, seed) of the plan -> reason, of what failed for good since the command was started."""
        with self.storage.exclusive():
            return self._trials().failed(self.plan.runs, self.plan.spec, self.failure_limit_reason)

    def finished(self) -> int:
        """Trials of the plan that need no more work, whatever became of them."""
        with self.storage.exclusive():
            return self.strategy.finished(self._trials())

    def points(self) -> list[Any]:
        """Copies of all trials, frozen, in order."""
        with self.storage.exclusive():
            return list(self.study.get_trials(deepcopy=True))

    def winners(self, count: int) -> list[tuple[str, Mapping[str, Any]]]:
        """(name, params) of the best `count` complete trials, spread over a front; none while trials are left."""
        with self.storage.exclusive():
            if self.strategy.left(self._trials()):
                return []
            complete = self._trials().in_state(TrialState.COMPLETE)
            candidates = self.study.best_trials if len(self.plan.objectives) > 1 else complete
            return winners(candidates, self.plan.objectives, count)

    def early_end(self) -> str:
        """Why the search has fewer trials than it was to have; empty when it has them all."""
        with self.storage.exclusive():
            return self._trials().early_end(self.plan.spec)

    def forced_changes(self) -> list[str]:
        """What was gone over with `study.force=true`, one line each."""
        with self.storage.exclusive():
            entries = json.loads(self.study.user_attrs.get("forced", "[]"))
            return [line for entry in entries for line in entry["changes"]]

    def heartbeat(self, fractions: dict[int, float]) -> None:
        """Say that this process lives, and how far its runs are: trial number -> fraction in [0, 1]."""
        with self.storage.exclusive():
            self.presence.heartbeat(fractions)

    def rejoin(self) -> None:
        """Take part in the newest start of the command: that of the jobs which this process launched and waited for."""
        with self.storage.exclusive():
            self.presence.rejoin()

    def _frozen(self) -> list[Any]:
        return list(self.study.get_trials(deepcopy=False))

    def _trials(self) -> Trials:
        return Trials(self._frozen(), self.presence.epoch, self.study.user_attrs.get("exhausted"))

    def _handle(self, number: int) -> Any:
        """Optuna's handle of a trial, which writes its attributes."""
        import optuna

        return optuna.trial.Trial(self.study, self._frozen()[number]._trial_id)
