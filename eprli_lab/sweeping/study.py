"""The persistent study: one trial for each (arm, seed) or each point of a search, ever, whoever works on it.

Every trial is claimed under the study's lock and belongs to one process, which beats while it lives. When that process
is gone (its host says so, or it was not heard for `lease_seconds`), another one takes the same trial over and its run
goes on from the last checkpoint. Nothing is decided outside the lock: nothing is run twice, no count is overshot.
"""

# longer than 300 lines: to be taken apart next
from __future__ import annotations

import json
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.sweeping import locks as locks
from eprli_lab.sweeping.fingerprints import code_digests, differences, summarize
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.sampler import make_pruner, suggest
from eprli_lab.sweeping.spec import PlannedRun
from eprli_lab.sweeping.storage import Storage

Key = tuple[str, int]
RECENT = 300.0  # s; a process of another machine that beat since then is taken for alive when a study is opened


@dataclass
class Task:
    """A trial that this process holds: its runs one after another, and what the first of them gave."""

    number: int
    name: str  # the arm, or t0003
    runs: tuple[PlannedRun, ...]
    results: list[dict[str, Any]] = field(default_factory=list)  # one a finished run: {"values", "seconds"}
    taken_over: bool = False

    @property
    def run(self) -> PlannedRun:
        """The one to make next."""
        return self.runs[len(self.results)]


class LeaseLostError(Exception):
    """The trial belongs to another process by now: whatever this one has of it is to be forgotten."""


class Study:
    """One study in its storage, as one process sees it. Every method takes the lock.

    Raises UserError when the study is bound to another configuration, code or data (the difference is shown), unless
    `study.force=true`, which is recorded.
    """

    def __init__(self, plan: Plan, data: dict[str, str] | None = None, process_id: str | None = None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.plan, self.process_id, self.failure_limit_reached = plan, process_id or locks.process_id(), ""
        self.storage = Storage(plan.spec.storage, plan.study.removesuffix("-search"))
        self._state, self._optuna = optuna.trial.TrialState, optuna
        self._heard: dict[str, tuple[int, float]] = {}  # other processes: last beat, when we saw it change
        self._heartbeat = 0
        self.mine: set[int] = set()  # trials that this process holds
        points = plan.sample.evaluation.curve_points + 1
        with self.storage.exclusive():
            self.study = optuna.create_study(
                study_name=plan.study,
                storage=self.storage.optuna(),
                sampler=optuna.samplers.RandomSampler(seed=0),  # never asked: points are drawn in draw.py
                pruner=make_pruner(plan.search.spec, points) if plan.kind == "search" and plan.search else None,
                directions=[o.direction for o in plan.objectives],
                load_if_exists=True,
            )
            self._bind(plan, data or {})
            self._open()

    # ------------------------------------------------------------------ claims

    def claim(self) -> Task | None:
        """Something to do now, held by this process from here on; None when there is nothing (see `left`)."""
        with self.storage.exclusive():
            self._listen()
            trials = self._trials()
            taken = self._take_over(trials)
            if taken is not None:
                return taken
            self.failure_limit_reached = self.failure_limit(trials)
            if self.failure_limit_reached:
                return None
            return self._next_point(trials) if self.plan.kind == "search" else self._next_run(trials)

    def left(self) -> int:
        """Trials that are not finished and may still be, held by anybody or by nobody yet."""
        with self.storage.exclusive():
            trials = self._trials()
            running: int = sum(t.state == self._state.RUNNING and self._ours(t) for t in trials)
            if self.failure_limit_reached:
                return running
            if self.plan.kind == "search":
                return running + max(0, self._target() - len(trials))
            states = self._by_key(trials)
            return sum(
                states.get(r.key) in (None, "RUNNING") and not self.blocked_reason(r, trials) for r in self.plan.runs
            )

    def _ours(self, trial: Any) -> bool:
        """Is it a trial of this plan (the study may know more arms and seeds)?"""
        return self.plan.kind == "search" or self._key(trial) in {r.key for r in self.plan.runs}

    def _take_over(self, trials: Sequence[Any]) -> Task | None:
        """A trial whose process is gone, or that nobody holds; one whose processes died too often has failed."""
        for trial in trials:
            who = trial.user_attrs.get("owner", "")
            if trial.state != self._state.RUNNING or trial.number in self.mine or not self._ours(trial):
                continue
            if who and not self.is_stale(who):
                continue
            task = self._task(trial)
            if len(task.results) == len(task.runs):  # it died between the last result and the word that it was the last
                self._conclude(task)
                continue
            if who and self._lose(trial.number, "its process died"):
                continue
            self._handle(trial.number).set_user_attr("owner", self.process_id)
            self.mine.add(trial.number)
            task.taken_over = True
            return task
        return None

    def _next_run(self, trials: Sequence[Any]) -> Task | None:
        """The first (arm, seed) of the plan that has no trial yet and waits for nothing."""
        states = self._by_key(trials)
        for run in self.plan.runs:
            if run.key in states or self.blocked_reason(run, trials):
                continue
            if run.after is not None and states.get((run.after.arm, run.seed)) != "COMPLETE":
                continue
            return self._add({}, {}, {"arm": run.arm, "seed": run.seed, "directory": str(run.directory)})
        return None

    def _next_point(self, trials: Sequence[Any]) -> Task | None:
        """A new point while the trials are fewer than the target."""
        search = self.plan.search
        assert search is not None
        if len(trials) >= self._target():
            return None
        first = max((t.user_attrs.get("draw", 0) for t in trials), default=-1) + 1
        start = search.start() if not trials else None
        drawn = (start, 0) if start is not None else None
        if drawn is None:
            drawn = suggest(
                search.spec,
                search.dimensions,
                trials,
                [o.direction for o in self.plan.objectives],
                target=self.plan.spec.trials,
                first=first,
                usable=search.usable,
            )
        if drawn is None:
            if not trials:
                raise UserError("study.search: no point of the space validates and keeps every requirement: widen it")
            self.study.set_user_attr("exhausted", len(trials))
            return None
        distributions = {d.key: d.distribution() for d in search.dimensions}
        return self._add(drawn[0], distributions, {"draw": drawn[1]})

    def _target(self) -> int:
        """How many trials a search makes; fewer when its space holds no more."""
        most: int = self.study.user_attrs.get("exhausted", self.plan.spec.trials)
        return min(self.plan.spec.trials, most)

    def _add(self, params: dict[str, Any], distributions: dict[str, Any], attributes: dict[str, Any]) -> Task:
        """A new trial, running and ours, in one write."""
        template = self._optuna.trial.create_trial(
            state=self._state.RUNNING,
            params=params,
            distributions=distributions,
            user_attrs={**attributes, "owner": self.process_id, "epoch": self._epoch},
        )
        self.study.add_trial(template)
        trial = self._trials()[-1]
        self.mine.add(trial.number)
        return self._task(trial)

    def _task(self, trial: Any) -> Task:
        results = json.loads(trial.user_attrs.get("results", "[]"))
        if self.plan.kind == "search":
            assert self.plan.search is not None
            name = f"t{trial.number:04d}"
            return Task(trial.number, name, self.plan.search.runs(name, trial.params), results)
        key = self._key(trial)
        return Task(trial.number, key[0], tuple(r for r in self.plan.runs if r.key == key), results)

    # ------------------------------------------------------------------ results

    def succeed(self, task: Task, metrics: dict[str, float], seconds: float) -> str:
        """Book a finished run of the task: "complete", "pruned", or "next" (another seed of the point). Raises Lost."""
        with self.storage.exclusive():
            handle = self._held(task)
            if self.plan.kind == "arms":
                handle.set_user_attr("metrics", metrics)
            values = [metrics[o.metric] for o in self.plan.objectives]
            task.results.append({"values": values, "seconds": round(seconds, 3), "seed": task.run.seed})
            handle.set_user_attr("results", json.dumps(task.results))
            search = self.plan.search.spec if self.plan.kind == "search" and self.plan.search else None
            if search and search.pruner == "wilcoxon":
                handle.report(values[0], len(task.results) - 1)
            if len(task.results) == len(task.runs):
                return self._conclude(task)
            if search and search.pruner == "wilcoxon" and handle.should_prune():
                return self._tell(task, None)
            return "next"

    def report(self, task: Task, value: float, point: int) -> bool:
        """An evaluation within a run, at point 1, 2, ...; True when the run is to be stopped. Raises Lost."""
        search = self.plan.search
        if (
            self.plan.kind != "search"
            or search is None
            or search.spec.pruner not in ("median", "hyperband")
            or point < 1
        ):
            return False
        with self.storage.exclusive():
            handle = self._held(task)
            if point not in self._trials()[task.number].intermediate_values:  # a resumed run may repeat one
                handle.report(value, point)
            return bool(handle.should_prune())

    def prune(self, task: Task) -> None:
        """The run was stopped because `report` said so. Raises Lost."""
        with self.storage.exclusive():
            self._held(task)
            self._tell(task, None)

    def fail(self, task: Task, reason: str) -> bool:
        """A try failed: True when the run may be tried again, by this process. Raises Lost."""
        with self.storage.exclusive():
            handle = self._held(task)
            failures = self._trials()[task.number].user_attrs.get("failures", 0) + 1
            handle.set_user_attr("failures", failures)
            handle.set_user_attr("error", reason)
            if failures <= self.plan.spec.retries:
                return True
            self.study.tell(task.number, state=self._state.FAIL)
            self.mine.discard(task.number)
            return False

    def worker_died(self, task: Task, reason: str) -> bool:
        """The task's process died under it: True when the run may be tried again. Raises Lost."""
        with self.storage.exclusive():
            self._held(task)
            again = not self._lose(task.number, reason)
            if not again:
                self.mine.discard(task.number)
            return again

    def release(self, task: Task) -> None:
        """Let go of an unfinished trial: whoever comes next goes on with it. Raises Lost."""
        with self.storage.exclusive():
            self._held(task).set_user_attr("owner", "")
            self.mine.discard(task.number)

    def _conclude(self, task: Task) -> str:
        """All runs are done: the trial's value is the mean over them."""
        count = len(self.plan.objectives)
        return self._tell(task, [statistics.fmean(r["values"][i] for r in task.results) for i in range(count)])

    def _tell(self, task: Task, values: list[float] | None) -> str:
        if values is None:
            self.study.tell(task.number, state=self._state.PRUNED)
        else:
            self.study.tell(task.number, values)
        self.mine.discard(task.number)
        return "pruned" if values is None else "complete"

    def _lose(self, number: int, reason: str) -> bool:
        """Count a death; True when it was one too many and the trial has failed."""
        losses = self._trials()[number].user_attrs.get("losses", 0) + 1
        handle = self._handle(number)
        handle.set_user_attr("losses", losses)
        if losses <= self.plan.spec.max_lost:
            return False
        handle.set_user_attr("error", f"{reason}, {losses} times")
        self.study.tell(number, state=self._state.FAIL)
        return True

    def _held(self, task: Task) -> Any:
        """The trial, if it is still ours."""
        trial = self._trials()[task.number]
        if trial.state != self._state.RUNNING or trial.user_attrs.get("owner") != self.process_id:
            self.mine.discard(task.number)
            raise LeaseLostError(f"{task.name} was taken over by another process")
        return self._handle(task.number)

    # ------------------------------------------------------------------ what is known

    def complete(self) -> dict[Key, dict[str, Any]]:
        """(arm, seed) -> {"objective", "metrics"} of what is done."""
        with self.storage.exclusive():
            return {
                self._key(t): {"objective": t.values[0], "metrics": t.user_attrs.get("metrics", {})}
                for t in self._trials()
                if t.state == self._state.COMPLETE
            }

    def failed(self) -> dict[Key, str]:
        """(arm, seed) of the plan -> reason, of what failed for good since the command was started."""
        with self.storage.exclusive():
            trials = self._trials()
            states = self._by_key(trials)
            done = {k for k, s in states.items() if s == "COMPLETE"}
            out = {self._key(t): t.user_attrs.get("error", "failed") for t in trials if self._failed_now(t)}
            for run in self.plan.runs:
                if run.key in done or run.key in out or states.get(run.key) == "RUNNING":
                    continue
                reason = self.blocked_reason(run, trials) or self.failure_limit_reached
                if reason:
                    out[run.key] = reason
            keys = {r.key for r in self.plan.runs}
            return {k: v for k, v in out.items() if k not in done and k in keys}

    def finished(self) -> int:
        """Trials of the plan that need no more work, whatever became of them."""
        with self.storage.exclusive():
            return sum(t.state.is_finished() and self._ours(t) and not self._failed_before(t) for t in self._trials())

    def points(self) -> list[Any]:
        """The trials of a search, frozen, in order."""
        with self.storage.exclusive():
            return list(self.study.get_trials(deepcopy=True))

    def winners(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The best `count` complete trials (of several objectives: of the Pareto front, spread along the first)."""
        done = [t for t in self.points() if t.state == self._state.COMPLETE]
        if len(self.plan.objectives) > 1:
            with self.storage.exclusive():
                done = list(self.study.best_trials)
        sign = -1.0 if self.plan.objectives[0].direction == "maximize" else 1.0
        done.sort(key=lambda t: (sign * t.values[0], t.number))
        if len(self.plan.objectives) > 1 and len(done) > count > 1:
            done = [done[round(i * (len(done) - 1) / (count - 1))] for i in range(count)]
        return [(f"t{t.number:04d}", dict(t.params)) for t in done[:count]]

    def rejoin(self) -> None:
        """Take part in the newest start of the command: that of the jobs which this process launched and waited for."""
        with self.storage.exclusive():
            self._epoch = self.study.user_attrs["epoch"]

    def forced_changes(self) -> list[str]:
        """What was overridden with `study.force=true`, one line each."""
        with self.storage.exclusive():
            return [
                line for entry in json.loads(self.study.user_attrs.get("forced", "[]")) for line in entry["changes"]
            ]

    def _trials(self) -> list[Any]:
        return list(self.study.get_trials(deepcopy=False))

    def _handle(self, number: int) -> Any:
        return self._optuna.trial.Trial(self.study, self._trials()[number]._trial_id)

    def _key(self, trial: Any) -> Key:
        return trial.user_attrs.get("arm", ""), trial.user_attrs.get("seed", -1)

    def _by_key(self, trials: Sequence[Any]) -> dict[Key, str]:
        """(arm, seed) -> COMPLETE, RUNNING, or FAIL of this start of the command."""
        out = {self._key(t): "FAIL" for t in trials if self._failed_now(t)}
        out |= {self._key(t): "RUNNING" for t in trials if t.state == self._state.RUNNING}
        return out | {self._key(t): "COMPLETE" for t in trials if t.state == self._state.COMPLETE}

    def _failed_now(self, trial: Any) -> bool:
        """Failed since the command was started; what failed before that is tried again."""
        return bool(trial.state == self._state.FAIL and trial.user_attrs.get("epoch") == self._epoch)

    def _failed_before(self, trial: Any) -> bool:
        """Failed under an earlier start of the command; of an arm it is tried again, of a search it stays."""
        return self.plan.kind == "arms" and trial.state == self._state.FAIL and not self._failed_now(trial)

    def _failures(self, trials: Sequence[Any]) -> Counter[str]:
        return Counter(self._key(t)[0] for t in trials if self._failed_now(t))

    def failure_limit(self, trials: Sequence[Any]) -> str:
        """Why nothing more is started; empty when there is no reason."""
        failures = self._failures(trials).total()
        if failures < self.plan.spec.max_failures:
            return ""
        return f"not started: {failures} runs had failed (study.max_failures={self.plan.spec.max_failures})"

    def blocked_reason(self, run: PlannedRun, trials: Sequence[Any]) -> str:
        """Why a run will not be started; empty when there is no reason."""
        node, failures = self.plan.spec, self._failures(trials)[run.arm]
        if failures >= node.max_failures_per_arm:
            return (
                f"not started: {failures} runs of {run.arm} had failed "
                f"(study.max_failures_per_arm={node.max_failures_per_arm})"
            )
        states = self._by_key(trials)
        if run.after is None or states.get((run.after.arm, run.seed)) in ("COMPLETE", "RUNNING"):
            return ""
        waited = next(r for r in self.plan.runs if r.key == (run.after.arm, run.seed))
        if states.get(waited.key) == "FAIL" or self.blocked_reason(waited, trials):
            return f"waits for {waited.arm} seed {waited.seed}, which failed"
        return ""

    # ------------------------------------------------------------------ who is there

    def heartbeat(self, fractions: dict[int, float]) -> None:
        """Say that this process lives, and how far its runs are."""
        with self.storage.exclusive():
            self._heartbeat += 1
            self._say({"beat": self._heartbeat, "runs": {str(k): round(v, 3) for k, v in fractions.items()}})

    def close(self) -> None:
        """Leave: what this process still holds is free."""
        with self.storage.exclusive():
            for number in sorted(self.mine):
                trial = self._trials()[number]
                if trial.state == self._state.RUNNING and trial.user_attrs.get("owner") == self.process_id:
                    self._handle(number).set_user_attr("owner", "")
            self.mine.clear()
            self._say({"beat": -1})

    def _say(self, note: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.study.set_user_attr(f"process:{self.process_id}", {**note, "at": now, "epoch": self._epoch})

    def _others(self) -> dict[str, dict[str, Any]]:
        """Processes that did not leave by themselves."""
        notes = {k.removeprefix("process:"): v for k, v in self.study.user_attrs.items() if k.startswith("process:")}
        return {who: note for who, note in notes.items() if who != self.process_id and note["beat"] >= 0}

    def _listen(self) -> None:
        """Remember when each of the others was last heard, by our own clock."""
        for who, note in self._others().items():
            if who not in self._heard or self._heard[who][0] != note["beat"]:
                self._heard[who] = (note["beat"], time.monotonic())

    def is_stale(self, who: str) -> bool:
        """Is that process known to be dead, or silent for a whole lease?"""
        if who == self.process_id or not locks.is_alive(who, elsewhere=True):
            return True
        if locks.is_local(who):
            return False
        note = self.study.user_attrs.get(f"process:{who}")
        if note is None or note["beat"] < 0:
            return True
        return time.monotonic() - self._heard[who][1] > self.plan.spec.lease_seconds

    def _open(self) -> None:
        """Join those who are at work, or start anew: then what failed before is tried again."""
        others = self._others()
        there = [
            n for who, n in others.items() if locks.is_alive(who) and (locks.is_local(who) or _age(n["at"]) < RECENT)
        ]
        attrs = self.study.user_attrs
        self._epoch = max((n["epoch"] for n in there), default=attrs.get("epoch", 0) + 1)
        if self._epoch != attrs.get("epoch"):
            self.study.set_user_attr("epoch", self._epoch)
        self._listen()
        self._say({"beat": 0, "runs": {}})

    # ------------------------------------------------------------------ binding

    def _bind(self, plan: Plan, data: dict[str, str]) -> None:
        """Remember what the name stands for, or compare with what is remembered. Raises UserError."""
        now = json.loads(json.dumps({**plan.binding(), "code": code_digests(), "data": data}))
        known = self.study.user_attrs if self._trials() else {}  # nothing ran: nothing binds
        bound: dict[str, dict[str, Any]] = json.loads(known.get("binding", "{}"))
        changes = differences(bound, now)
        if changes and not plan.spec.force:
            path = f"{self.storage.where} and outputs/{plan.study}" if self.storage.path else f"outputs/{plan.study}"
            raise UserError(
                f"the study {plan.study} was started with another configuration, code or data ({summarize(changes)}): "
                f"give this one its own name (study.name=...), remove {path} to start over, or go on with "
                "study.force=true, which is recorded"
            )
        if changes:
            entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "changes": changes}
            self.study.set_user_attr("forced", json.dumps([*json.loads(known.get("forced", "[]")), entry]))
        kept = {"kind": plan.kind, "arms": plan.description.get("arms", []), "seeds": plan.description["seeds"]}
        self.study.set_user_attr("plan", kept | {"trials": plan.spec.trials})  # for who asks how far it is
        merged = {**bound, **now, "data": {**bound.get("data", {}), **now["data"]}}
        if merged != bound:
            self.study.set_user_attr("binding", json.dumps(merged))


def _age(stamp: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
