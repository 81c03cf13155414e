"""Runs what a study has left on worker processes: nothing twice, nothing lost, one failure stops nobody else."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from eprli_lab.config.parse import parse_spec
from eprli_lab.errors import UserError, nearest
from eprli_lab.sweeping.occupancy import Record
from eprli_lab.sweeping.opened import LeaseLostError
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.progress import Progress
from eprli_lab.sweeping.spec import PlannedRun, factor_and_metric
from eprli_lab.sweeping.study import Study
from eprli_lab.sweeping.trials import Key, Task
from eprli_lab.sweeping.workers import Job, Message, Worker, end_all, runs_at_once
from eprli_lab.tracking import names

STOP_PATIENCE = 60.0  # s that workers may take to save after Ctrl-C
LOOK_AGAIN = 1.0  # s between two looks for work while there is none
BEATS_A_LEASE = 6


@dataclass
class StudyResult:
    """How a study ended, as far as this process knows."""

    complete: dict[Key, dict[str, Any]]  # {"objective", "metrics"} by (arm, seed); a search has none
    failed: dict[Key, str] = field(default_factory=dict)  # for good, with the reason
    interrupted: bool = False


@dataclass
class _Busy:
    task: Task
    run: PlannedRun
    began: float
    fraction: float = 0.0
    pruning: bool = False
    stopping: bool = False  # another process took it over


class _Controller:
    def __init__(self, plan: Plan, study: Study, executor: str, parent_run_id: str | None, idle: list[Worker]) -> None:
        self.plan = plan
        self.study = study
        self.executor = executor
        self.parent_run_id = parent_run_id
        self.idle = idle
        self.retry_queue: list[Task] = []  # ours, to be tried once more or with the next seed
        self.busy: dict[Worker, _Busy] = {}
        self.stop_requests = 0
        self.next_heartbeat = 0.0  # monotonic, s
        self.next_claim = 0.0  # monotonic, s; later than now after there was nothing to claim
        self.is_waiting = False  # for other processes
        self.record = Record(1)
        self.progress = Progress(plan, plan.strategy.total, study.finished())
        if study.note:
            self.progress.say(study.note)
        study.say = study.storage.on_wait = self.progress.say
        study.storage.give_up = lambda: self.stop_requests > 0

    def run(self, count: int) -> bool:
        """To the end, or until asked to stop; False when it was interrupted."""
        self.record = Record(count)
        try:
            while not self.stop_requests:
                self._fill(count)
                if not self.busy and self._over():
                    break
                self._heartbeat()
                self._read_messages(0.5)
            if self.stop_requests:
                self._stop()
        except UserError:  # the study's storage is gone or damaged: what the runs have so far stays
            self._save()
            raise
        finally:
            self.progress.close()
            if self.record.stretches:
                self.progress.say(self.record.occupancy().line())
            for worker in self.busy:
                worker.process.kill()
                worker.end()
        return not self.stop_requests

    def ask_to_stop(self) -> None:
        """Called by a signal's handler, so at any instruction: it only counts."""
        self.stop_requests += 1

    def _fill(self, count: int) -> None:
        """Give every free worker something to do, as long as there is something."""
        while len(self.busy) < count and not self.stop_requests:
            if self.retry_queue:
                task: Task | None = self.retry_queue.pop(0)
            elif time.monotonic() < self.next_claim:
                return
            else:
                task = self.study.claim()
            if task is None:
                self.next_claim = time.monotonic() + LOOK_AGAIN
                self.record.nothing_to_claim()
                return
            self._begin(task)

    def _begin(self, task: Task) -> None:
        try:
            spec_json = self._spec_json(task.run)
        except UserError as error:
            self._failed(task, task.run, str(error))
            return
        worker = self.idle.pop() if self.idle else Worker(self.executor)
        self.busy[worker] = _Busy(task, task.run, time.monotonic())
        self.record.begin(worker)
        self.progress.begin(task.run)
        worker.give(Job(spec_json, str(task.run.directory), self.parent_run_id))

    def _over(self) -> bool:
        """Nothing is left for anybody; while others work, stay: their runs may fall to us."""
        if self.retry_queue or self.study.left():
            if not self.retry_queue and not self.is_waiting:
                self.is_waiting = True
                self.progress.say("waiting for the runs of other processes ...")
            for sentence in self.study.silent():
                self.progress.say(sentence)
            time.sleep(0.0 if self.retry_queue else 0.2)
            return False
        return True

    def _heartbeat(self) -> None:
        if time.monotonic() >= self.next_heartbeat:
            self.next_heartbeat = time.monotonic() + self.plan.spec.lease_seconds / BEATS_A_LEASE
            lost = self.study.heartbeat({b.task.number: b.fraction for b in self.busy.values()})
            for worker, busy in self.busy.items():
                if busy.task.number in lost and not busy.stopping:  # another process goes on with it, once it is saved
                    busy.stopping = True
                    worker.ask_to_stop()

    def _spec_json(self, run: PlannedRun) -> str:
        """The run's spec, with what it takes from the run it waited for. Raises UserError when that does not fit."""
        planned = self.plan.strategy.planned(run)
        if run.after is None:
            return run.spec.model_copy(update={"planned": planned}).model_dump_json()
        metrics = self.study.complete()[run.after.arm, run.seed]["metrics"]
        tree = run.spec.model_dump(mode="json")
        for key, text in run.after.set.items():
            factor, metric = factor_and_metric(text)
            if metric not in metrics:
                raise UserError(f"after: {run.after.arm} seed {run.seed} logs no '{metric}'{nearest(metric, metrics)}")
            value = factor * metrics[metric]
            *path, name = key.split(".")
            node = tree
            for part in path:
                node = node[part]
            whole = isinstance(node[name], int) and float(value).is_integer()  # metrics are always floats
            node[name] = int(value) if whole else value
        try:
            return parse_spec({**tree, "planned": planned}).model_dump_json()
        except UserError as error:
            raise UserError(f"after {run.after.arm} seed {run.seed}: {error}") from None

    # ------------------------------------------------------------------ messages of workers

    def _read_messages(self, seconds: float) -> None:
        wait([source for worker in self.busy for source in (worker.pipe, worker.process.sentinel)], timeout=seconds)
        for worker in list(self.busy):
            for message in worker.messages():
                self._handle(worker, message)

    def _handle(self, worker: Worker, message: Message) -> None:
        busy = self.busy.get(worker)
        if busy is None:
            return
        if message.kind == "progress":
            busy.fraction = message.content["fraction"]
            self.progress.update(busy.run, message.content)
            return
        with self._unless_lost(busy):
            if message.kind == "evaluation":
                self.progress.evaluated(busy.run, message.content["value"])
                value, point = message.content["value"], message.content["point"]
                if not busy.pruning and self.study.report(busy.task, value, point):
                    busy.pruning = True
                    worker.prune()
                return
        del self.busy[worker]
        metrics = message.content["metrics"] if message.kind == "done" else {}
        self.record.end(worker, metrics.get(names.TOTAL_SECONDS, 0.0))
        if message.kind == "died" or (message.kind == "interrupted" and not busy.pruning):  # who was interrupted leaves
            worker.end()
        else:
            self.idle.append(worker)
        with self._unless_lost(busy):
            self._finish(busy, message)

    def _finish(self, busy: _Busy, message: Message) -> None:
        task, run = busy.task, busy.run
        self.next_claim = 0.0  # what waited for this run may begin
        if message.kind == "done":
            reason = self._unusable(message.content)
            if not reason:
                self._succeeded(busy, message.content)
                return
            self._failed(task, run, reason)
        elif message.kind == "interrupted" and busy.pruning:
            self.study.prune(task)
            self.progress.finished(self.study.finished(), run, time.monotonic() - busy.began, "pruned")
        elif message.kind == "interrupted":
            if not self.stop_requests:  # somebody stopped the worker, not us
                self.progress.trouble(run, f"{message.content}; it goes on")
            self.study.release(task)
        elif message.kind in ("died", "held"):
            if self.study.worker_died(task, str(message.content)):
                self.progress.trouble(run, f"{message.content}; it goes on from its last checkpoint")
                self.retry_queue.append(task)
            else:
                self.progress.trouble(run, f"failed: {message.content}, too often (study.max_lost)")
        else:
            self._failed(task, run, str(message.content))

    def _unusable(self, content: dict[str, Any]) -> str:
        """Why a result cannot be booked; empty when it can."""
        for o in self.plan.objectives:
            if o.metric not in content["metrics"]:
                return f"it logs no '{o.metric}'{nearest(o.metric, content['metrics'])}"
            if not math.isfinite(content["metrics"][o.metric]):
                return f"its {o.metric} is {content['metrics'][o.metric]}"
        return ""

    def _succeeded(self, busy: _Busy, content: dict[str, Any]) -> None:
        metrics = content["metrics"]
        seconds = time.monotonic() - busy.began
        outcome = self.study.succeed(busy.task, metrics, seconds)
        result = "  ".join(f"{o.metric} {metrics[o.metric]:.3f}" for o in self.plan.objectives)
        count = len(busy.task.results)
        if outcome == "next":
            self.retry_queue.append(busy.task)
        if outcome == "pruned":
            result += f"  pruned after {count} of {len(busy.task.runs)} seeds"
        self.progress.finished(self.study.finished(), busy.run, seconds, result, counted=outcome != "next")
        for sentence in content.get("starved", ()):
            self.progress.say(f"  warning: {sentence}")

    def _failed(self, task: Task, run: PlannedRun, reason: str) -> None:
        if self.study.fail(task, reason):
            self.progress.trouble(run, f"{reason}; trying once more")
            self.retry_queue.append(task)
        else:
            self.progress.trouble(run, f"failed: {reason}")

    @contextlib.contextmanager
    def _unless_lost(self, busy: _Busy) -> Iterator[None]:
        try:
            yield
        except LeaseLostError as error:
            self.progress.trouble(busy.run, str(error))

    def _stop(self) -> None:
        """Let the workers save; at once when asked twice."""
        self.progress.say("stopping: the runs under way save their state (again to stop at once) ...")
        self._save(self._heartbeat_and_read)

    def _save(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Ask the workers to save and leave, and wait for them; a second request to stop ends the waiting."""
        for worker in self.busy:
            worker.ask_to_stop()
        deadline = time.monotonic() + STOP_PATIENCE
        while self.busy and self.stop_requests < 2 and time.monotonic() < deadline:
            if meanwhile is not None:
                meanwhile()
            elif any(worker.process.is_alive() for worker in self.busy):
                time.sleep(0.1)
            else:
                break

    def _heartbeat_and_read(self) -> None:
        self._heartbeat()
        self._read_messages(0.2)


@contextlib.contextmanager
def _signals(controller: _Controller) -> Iterator[None]:
    """SIGINT and SIGTERM ask the controller to stop while it runs. Only a main thread can hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, lambda *_: controller.ask_to_stop()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_study(
    plan: Plan, study: Study, *, executor: str, parent_run_id: str | None, pool: list[Worker] | None = None
) -> StudyResult:
    """Everything of the plan that the study does not hold yet, on `study.workers` processes (default: one a core).

    `executor`: `package.module:function` that makes a run in a worker. `pool`: idle workers of an earlier study, taken
    from and given back; without one they are ended. What comes back of a search has no arms.
    """
    idle: list[Worker] = [] if pool is None else pool
    controller = _Controller(plan, study, executor, parent_run_id, idle)
    count = min(runs_at_once(plan), max(1, study.left()))
    try:
        with _signals(controller):
            finished = controller.run(count)
    finally:
        if pool is None:
            end_all(idle)
    return StudyResult(study.complete(), study.failed(), interrupted=not finished)
