r"""Response text -> correct? Exact match after normalisation first, math-verify second, in processes with a hard limit.

An answer can neither hang nor crash a run: the parent watches the clock, kills a worker that is over time and starts
another; what timed out is counted (and graded wrong), what crashed a worker is an `error`.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any

from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading.answers import exact, extract_boxed
from eprli_lab.grading.spawn import main_module_hidden
from eprli_lab.records import Grade, GradeStatus

LONGEST_ANSWER = 4096  # characters; longer extracted answers are not sent to the symbolic grader
CACHE_SIZE = 100_000
STARTUP_SECONDS = 60.0  # a worker imports sympy before its first answer


def _serve(pipe: Any, seconds: float) -> None:
    """Worker process: grade pairs until the pipe closes. The parent keeps the time; math-verify's own limits are off.

    Should the parent be killed while a computation is stuck in C, where no Python code runs, SIGPROF ends this process:
    its default action, after processor time that no living parent would grant.
    """
    import logging
    import signal
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from math_verify import parse, verify

    verify(parse("$\\frac{1}{2}$"), parse("\\boxed{0.5}"))  # imports and caches
    pipe.send("ready")
    while True:
        try:
            answer, gold = pipe.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, 2 * seconds + 5)
        try:
            left = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
            right = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
            equal = bool(verify(left, right, timeout_seconds=None))
        except Exception:
            equal = False  # cannot be parsed: not shown to be equal
        signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            pipe.send(equal)
        except OSError:
            return  # the parent is gone


class _Worker:
    """One grading process and the pipe to it."""

    def __init__(self, seconds: float) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, seconds), daemon=True)
        with main_module_hidden():
            self.process.start()
        theirs.close()
        self.ready = False
        self.started = time.monotonic()

    def wait_ready(self) -> None:
        """Block until the imports are done. Raises EOFError when the process died over them."""
        if not self.ready:
            if not self.pipe.poll(STARTUP_SECONDS):
                raise EOFError
            self.pipe.recv()
            self.ready = True

    def stop(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        self.process.kill()
        self.process.join()


STRENGTH: tuple[GradeStatus, ...] = ("wrong", "timeout", "error", "symbolic")


def _note(results: dict[Any, GradeStatus], key: Any, status: GradeStatus) -> None:
    """Keep the strongest word on an answer: equal to one accepted answer is right, whatever came of the others."""
    results[key] = max(results.get(key, status), status, key=STRENGTH.index)


class Grader:
    """Grades responses. Worker processes start at the first answer that exact matching cannot decide."""

    def __init__(self, spec: VerifySpec) -> None:
        self.spec = spec
        self.counters: Counter[GradeStatus] = Counter()
        self._workers: list[_Worker] = []
        self._cache: OrderedDict[tuple[str, tuple[str, ...]], GradeStatus] = OrderedDict()

    def grade(self, pairs: Sequence[tuple[str, tuple[str, ...]]]) -> list[Grade]:
        """One grade for each (response text, accepted answers), in order. Never raises for an answer."""
        grades: list[Grade | None] = []
        pending: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for i, (text, golds) in enumerate(pairs):
            answer = extract_boxed(text)
            grades.append(None)
            if answer is None:
                grades[i] = Grade(False, "no_answer")
                continue
            key = (answer, golds)
            status = self._cache.get(key)
            if status is None:
                decided = exact(answer, golds)
                if decided is None and self.spec.symbolic and answer.strip() and len(answer) <= LONGEST_ANSWER:
                    pending.setdefault(key, []).append(i)
                    continue
                status = "exact" if decided else "wrong"
                self._remember(key, status)
            grades[i] = Grade(status in ("exact", "symbolic"), status, answer)
        if pending:
            for key, status in self._symbolic(list(pending)).items():
                self._remember(key, status)
                for i in pending[key]:
                    grades[i] = Grade(status == "symbolic", status, key[0])
        out = [g for g in grades if g is not None]
        self.counters.update(g.status for g in out)
        return out

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _remember(self, key: tuple[str, tuple[str, ...]], status: GradeStatus) -> None:
        if status == "error":
            return  # nothing is known: another time it may be
        self._cache[key] = status
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)

    def _symbolic(self, keys: list[tuple[str, tuple[str, ...]]]) -> dict[tuple[str, tuple[str, ...]], GradeStatus]:
        """math-verify on every key, one worker each at a time, `timeout_seconds` for each pair."""
        jobs = [(key, gold) for key in keys for gold in key[1]][::-1]
        results: dict[tuple[str, tuple[str, ...]], GradeStatus] = {key: "wrong" for key in keys if not key[1]}
        busy: dict[_Worker, tuple[tuple[str, tuple[str, ...]], float]] = {}
        while len(self._workers) < min(self.spec.processes, len(jobs)):
            self._workers.append(_Worker(self.spec.timeout_seconds))
        try:
            self._run(jobs, busy, results)
        except BaseException:
            self.close()  # a worker's late answer must not be taken for the answer to the next question
            raise
        return results

    def _run(self, jobs: list[Any], busy: dict[_Worker, Any], results: dict[Any, GradeStatus]) -> None:
        """Hand the jobs out until all are answered."""
        while jobs or busy:
            for i, worker in enumerate(self._workers):
                if worker in busy or not jobs:
                    continue
                key, gold = jobs.pop()
                if results.get(key) == "symbolic":
                    continue
                try:
                    worker.wait_ready()
                    worker.pipe.send((key[0].encode("utf-8", "replace").decode(), gold))
                    busy[worker] = (key, time.monotonic() + self.spec.timeout_seconds)
                except (EOFError, OSError):
                    _note(results, key, "error")
                    self._replace(i)
            self._collect(busy, results)

    def _collect(self, busy: dict[_Worker, Any], results: dict[Any, GradeStatus]) -> None:
        """Wait for an answer, a death or the nearest deadline."""
        from multiprocessing.connection import wait

        if not busy:
            return
        patience = max(0.0, min(deadline for _, deadline in busy.values()) - time.monotonic())
        wait([w.pipe for w in busy], timeout=patience)
        for worker in list(busy):
            key, deadline = busy[worker]
            status: GradeStatus | None = None
            try:
                if worker.pipe.poll():
                    status = "symbolic" if worker.pipe.recv() else "wrong"
                elif time.monotonic() >= deadline:
                    status = "timeout"
            except (EOFError, OSError):
                status = "error"  # it died over this answer
            if status is None:
                continue
            del busy[worker]
            _note(results, key, status)
            if status in ("timeout", "error"):
                self._replace(self._workers.index(worker))

    def _replace(self, index: int) -> None:
        self._workers[index].stop()
        self._workers[index] = _Worker(self.spec.timeout_seconds)
