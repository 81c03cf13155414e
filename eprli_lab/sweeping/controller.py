"""Runs a plan on worker processes: nothing twice, nothing lost, one failure stops nobody else."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from eprli_lab.errors import UserError, nearest
from eprli_lab.spec import parse_spec
from eprli_lab.sweeping.plan import Plan, PlannedRun
from eprli_lab.sweeping.progress import Progress
from eprli_lab.sweeping.study import Key, Study
from eprli_lab.sweeping.workers import Job, Message, Worker, usable_cores

STOP_PATIENCE = 60.0  # s that workers may take to save after Ctrl-C


@dataclass
class StudyResult:
    """How a study ended."""

    complete: dict[Key, dict[str, Any]]
    failed: dict[Key, str] = field(default_factory=dict)  # for good, with the reason
    interrupted: bool = False


@dataclass
class _Busy:
    run: PlannedRun
    trial: int
    began: float


class _Controller:
    def __init__(self, plan: Plan, study: Study, executor: str, parent_run_id: str | None) -> None:
        self.plan, self.study, self.executor, self.parent = plan, study, executor, parent_run_id
        self.result = StudyResult(study.complete())
        self.waiting = [r for r in plan.runs if r.key not in self.result.complete]
        self.tries: Counter[Key] = Counter()
        self.busy: dict[Worker, _Busy] = {}
        self.idle: list[Worker] = []
        self.asked = 0  # how often somebody asked to stop
        planned = {r.key for r in plan.runs}
        self.progress = Progress(plan, len(planned & self.result.complete.keys()))

    def run(self, count: int) -> StudyResult:
        try:
            while (self.waiting or self.busy) and not self.asked:
                self._start_ready(count)
                if not self.busy:
                    self._give_up_blocked()
                    continue
                self._listen(0.5)
            if self.asked:
                self._stop()
        finally:
            self.progress.close()
            for worker in self.busy:
                worker.process.kill()
            for worker in self.idle:
                worker.give(None)
            for worker in [*self.idle, *self.busy]:
                worker.end()
        return self.result

    def ask_to_stop(self) -> None:
        """Called by a signal's handler, so at any instruction: it only counts."""
        self.asked += 1

    def _start_ready(self, count: int) -> None:
        """Give every free worker the first run that waits for nothing."""
        for run in list(self.waiting):
            if len(self.busy) >= count:
                return
            if run.after is not None and (run.after.arm, run.seed) not in self.result.complete:
                continue
            self.waiting.remove(run)
            try:
                spec_json = self._spec_json(run)
            except UserError as error:
                self._give_up(run, str(error))
                continue
            worker = self.idle.pop() if self.idle else Worker(self.executor)
            self.tries[run.key] += 1
            self.busy[worker] = _Busy(run, self.study.start(run), time.monotonic())
            worker.give(Job(spec_json, str(run.directory), self.parent))

    def _spec_json(self, run: PlannedRun) -> str:
        """The run's spec, with what it takes from the run it waited for. Raises UserError when that does not fit."""
        if run.after is None:
            return run.spec.model_dump_json()
        metrics = self.result.complete[run.after.arm, run.seed]["metrics"]
        tree = run.spec.model_dump(mode="json")
        for key, metric in run.after.set.items():
            if metric not in metrics:
                raise UserError(f"after: {run.after.arm} seed {run.seed} logs no '{metric}'{nearest(metric, metrics)}")
            node, parts, value = tree, key.split("."), metrics[metric]
            for part in parts[:-1]:
                node = node[part]
            whole = isinstance(node[parts[-1]], int) and float(value).is_integer()  # metrics are always floats
            node[parts[-1]] = int(value) if whole else value
        try:
            return parse_spec(tree).model_dump_json()
        except UserError as error:
            raise UserError(f"after {run.after.arm} seed {run.seed}: {error}") from None

    def _listen(self, seconds: float) -> None:
        wait([x for w in self.busy for x in (w.pipe, w.process.sentinel)], timeout=seconds)
        for worker in list(self.busy):
            for message in worker.heard():
                self._hear(worker, message)

    def _hear(self, worker: Worker, message: Message) -> None:
        job = self.busy.get(worker)
        if job is None:
            return
        if message.kind == "progress":
            self.progress.update(job.run, message.content)
            return
        del self.busy[worker]
        if message.kind in ("died", "interrupted"):  # who was interrupted leaves
            worker.end()
        else:
            self.idle.append(worker)
        if message.kind == "done" and math.isfinite(message.content["objective"]):
            self._succeed(job, message.content)
            return
        reason = str(message.content)
        if message.kind == "done":
            reason = f"its {job.run.spec.objective} is {message.content['objective']}"
        self.study.fail(job.trial, reason)
        if self.asked:
            return
        if self.tries[job.run.key] <= self.plan.node.retries:
            self.progress.trouble(job.run, f"{reason}; trying once more")
            self.waiting.insert(0, job.run)
        else:
            self._give_up(job.run, reason)

    def _succeed(self, job: _Busy, content: dict[str, Any]) -> None:
        objective, metrics = content["objective"], content["metrics"]
        self.study.succeed(job.trial, objective, metrics)
        self.result.complete[job.run.key] = {"objective": objective, "metrics": metrics}
        self.progress.finished(job.run, time.monotonic() - job.began, objective)
        for sentence in content.get("starved", ()):
            self.progress.say(f"  warning: {sentence}")

    def _give_up(self, run: PlannedRun, reason: str) -> None:
        self.progress.trouble(run, f"failed: {reason}")
        self.result.failed[run.key] = reason

    def _give_up_blocked(self) -> None:
        """Runs that wait for one that failed for good."""
        for run in self.waiting:
            assert run.after is not None
            self._give_up(run, f"waits for {run.after.arm} seed {run.seed}, which failed")
        self.waiting = []

    def _stop(self) -> None:
        """Let the workers save; at once when asked twice."""
        self.result.interrupted = True
        self.progress.say("stopping: the runs under way save their state (again to stop at once) ...")
        for worker in self.busy:
            worker.ask_to_stop()
        deadline = time.monotonic() + STOP_PATIENCE
        while self.busy and self.asked < 2 and time.monotonic() < deadline:
            self._listen(0.2)
        for job in self.busy.values():
            self.study.fail(job.trial, "stopped before it could save")


@contextlib.contextmanager
def _signals(controller: _Controller) -> Iterator[None]:
    """SIGINT and SIGTERM ask the controller to stop while it runs."""
    before = {n: signal.signal(n, lambda *_: controller.ask_to_stop()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_study(plan: Plan, study: Study, *, executor: str, parent_run_id: str | None) -> StudyResult:
    """Everything of the plan that the study does not hold yet, on `study.workers` processes (default: one a core)."""
    controller = _Controller(plan, study, executor, parent_run_id)
    count = min(plan.node.workers or usable_cores(), max(1, len(controller.waiting)))
    with _signals(controller):
        return controller.run(count)
