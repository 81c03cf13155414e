"""Processes that answer questions under a hard limit of time: the parent watches the clock and ends who is over it.

While workers are stuck, spare ones take their places, so answers that time out do not queue before the others. Where
the system can fork, workers are forked from a process that has imported everything: one is there in milliseconds.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from eprli_lab.grading.spawn import main_module_hidden

STARTUP_SECONDS = 60.0  # a worker imports its libraries before its first answer
SPARES = 3  # more workers than asked for, while some are stuck
STUCK = 0.25  # of its time used: a worker may be stuck


def _context(preload: str | None) -> Any:
    """What starts workers: a fork server that has imported the module `preload`, else fresh interpreters.

    Should this process have a fork server already, its workers import what they need by themselves.
    """
    if preload is None or "forkserver" not in mp.get_all_start_methods():
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([preload])
    return context


class Worker:
    """One process and the pipe to it; `job` and `deadline` while it is asked something."""

    def __init__(self, serve: Callable[..., None], args: tuple[Any, ...], preload: str | None = None) -> None:
        context = _context(preload)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *args), daemon=True)
        with main_module_hidden():
            self.process.start()
        theirs.close()
        self.ready = False
        self.job: Any = None
        self.asked = 0.0
        self.deadline = time.monotonic() + STARTUP_SECONDS

    def ask(self, job: Any, question: Any, seconds: float) -> None:
        """Raises OSError when it is dead."""
        self.pipe.send(question)
        self.job = job
        self.asked = time.monotonic()
        self.deadline = self.asked + seconds

    def stop(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        self.process.kill()
        self.process.join()


class Pool:
    """`processes` workers, started when they are needed, and spare ones.

    `serve(pipe, *args)` runs in a worker: it sends "ready", then an answer for each question that it receives.
    `preload`: a module that imports what workers need.
    """

    def __init__(
        self, processes: int, serve: Callable[..., None], args: tuple[Any, ...], preload: str | None = None
    ) -> None:
        self.processes = processes
        self.serve = serve
        self.args = args
        self.preload = preload
        self.workers: list[Worker] = []
        self.seconds_lost = 0.0  # of answers that timed out

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.stop()
        self.workers = []

    def ask(
        self,
        jobs: list[Any],
        question: Callable[[Any], Any],
        seconds: Callable[[Any], float],
        done: Callable[[Any, str, Any], None],
        needed: Callable[[Any], bool],
    ) -> None:
        """Have every job answered: `done(job, "answer" | "timeout" | "error", the answer)`.

        Jobs that are no longer `needed` when their turn comes are left out.
        """
        waiting = list(reversed(jobs))
        try:
            while waiting or any(w.job is not None for w in self.workers):
                self._start(len(waiting))
                for worker in [w for w in self.workers if w.ready and w.job is None]:
                    while waiting and not needed(waiting[-1]):
                        waiting.pop()
                    if waiting:
                        self._hand(worker, waiting.pop(), question, seconds, done)
                self._collect(waiting, done)
        except BaseException:
            self.close()  # a late answer must not be taken for the answer to the next question
            raise

    def _start(self, waiting: int) -> None:
        """As many workers as are asked for, and a spare one for each that seems stuck."""
        now = time.monotonic()
        busy = [w for w in self.workers if w.job is not None]
        stuck = sum(now - w.asked > STUCK * (w.deadline - w.asked) for w in busy)
        most = self.processes + min(SPARES, stuck)
        while waiting and len(self.workers) < min(most, waiting + len(busy)):
            self.workers.append(Worker(self.serve, self.args, self.preload))

    def _hand(
        self, worker: Worker, job: Any, question: Callable[[Any], Any], seconds: Callable[[Any], float], done: Any
    ) -> None:
        try:
            worker.ask(job, question(job), seconds(job))
        except OSError:
            self._drop(worker)
            done(job, "error", None)

    def _collect(self, waiting: list[Any], done: Callable[[Any, str, Any], None]) -> None:
        """Wait for an answer, a death, a worker that is ready, or the nearest moment at which something is due."""
        active = [w for w in self.workers if w.job is not None or not w.ready]
        if not active:
            return
        now = time.monotonic()
        due = [w.deadline for w in active]
        if waiting and len(self.workers) < self.processes + SPARES:
            due += [w.asked + STUCK * (w.deadline - w.asked) + 0.01 for w in active if w.job is not None]
        wait([w.pipe for w in active], timeout=max(0.0, min([d for d in due if d > now] or [now]) - now))
        for worker in active:
            self._look(worker, waiting, done)

    def _look(self, worker: Worker, waiting: list[Any], done: Callable[[Any, str, Any], None]) -> None:
        job = worker.job
        try:
            if worker.pipe.poll():
                answer = worker.pipe.recv()
                worker.job = None
                if worker.ready:
                    done(job, "answer", answer)
                worker.ready = True
                return
            if time.monotonic() < worker.deadline:
                return
            outcome = "timeout" if worker.ready else "error"
        except (EOFError, OSError):
            outcome = "error"  # it died over this job, or over its imports
        if outcome == "timeout":
            self.seconds_lost += time.monotonic() - worker.asked
        if job is None and waiting:
            job = waiting.pop()  # no worker starts: every turn costs one job, so nothing waits for ever
        self._drop(worker)
        if job is not None:
            done(job, outcome, None)

    def _drop(self, worker: Worker) -> None:
        """End it; another starts in its place, and is ready before it is missed: one spare worker stays."""
        worker.stop()
        index = self.workers.index(worker)
        if len(self.workers) <= self.processes + 1:
            self.workers[index] = Worker(self.serve, self.args, self.preload)
        else:
            del self.workers[index]
