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

from eprli_lab.config.extensions import is_path, resolve
from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading.answers import exact, extract_boxed
from eprli_lab.grading.spawn import main_module_hidden
from eprli_lab.records import Grade, GradeStatus

LONGEST_ANSWER = 4096  # characters; longer extracted answers are not sent to the symbolic grader
CACHE_SIZE = 100_000
STARTUP_SECONDS = 60.0  # a worker imports sympy before its first answer


Job = tuple[str, tuple[str, ...]]  # what a worker is asked: an answer or a whole response, and golds


def boxed(response: str, answers: Sequence[str]) -> Grade:
    r"""The content of the last complete `\boxed{...}`: exact match after normalisation, then math-verify.

    In this process and without a limit of time; `Grader` gives both, and decides what it can without a worker.
    """
    answer = extract_boxed(response)
    if answer is None:
        return Grade(False, "no_answer")
    decided = exact(answer, answers)
    if decided is None and answer.strip() and len(answer) <= LONGEST_ANSWER:
        right = any(_equal(answer, gold) for gold in answers)
        return Grade(right, "symbolic" if right else "wrong", answer)
    return Grade(bool(decided), "exact" if decided else "wrong", answer)


def _equal(answer: str, gold: str) -> bool:
    """math-verify's word; what cannot be parsed is not shown to be equal. Its own limits are off: see `_serve`."""
    from math_verify import parse, verify

    try:
        left = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
        right = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
        return bool(verify(left, right, timeout_seconds=None))
    except Exception:
        return False


def _by_function(name: str, response: str, answers: tuple[str, ...]) -> Grade:
    """The word of a user's grader; one that raises, or says neither true nor false, is an error."""
    try:
        said = resolve("grader", name)(response, answers)
    except Exception:
        return Grade(False, "error")
    if isinstance(said, Grade):
        return said
    if isinstance(said, bool):
        return Grade(said, "exact" if said else "wrong", extract_boxed(response))
    return Grade(False, "error")


def _serve(pipe: Any, seconds: float, name: str) -> None:
    """Worker process: grade until the pipe closes. The parent keeps the time.

    Should the parent be killed while a computation is stuck in C, where no Python code runs, SIGPROF ends this process:
    its default action, after processor time that no living parent would grant.
    """
    import logging
    import signal
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if is_path(name):
        resolve("grader", name)
    else:
        _equal("\\frac{1}{2}", "0.5")  # imports and caches
    pipe.send("ready")
    while True:
        try:
            answer, golds = pipe.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, 2 * seconds + 5)
        if is_path(name):
            grade = _by_function(name, answer, golds)
        else:
            right = any(_equal(answer, gold) for gold in golds)
            grade = Grade(right, "symbolic" if right else "wrong", answer)
        signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            pipe.send(grade)
        except OSError:
            return  # the parent is gone


class _Worker:
    """One grading process and the pipe to it."""

    def __init__(self, spec: VerifySpec) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, spec.timeout_seconds, spec.grader), daemon=True)
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


STRENGTH: tuple[GradeStatus, ...] = ("wrong", "no_answer", "timeout", "error", "symbolic", "exact")


def _note(results: dict[Job, Grade], key: Job, grade: Grade) -> None:
    """Keep the strongest word on an answer: equal to one accepted answer is right, whatever came of the others."""
    results[key] = max(results.get(key, grade), grade, key=lambda g: STRENGTH.index(g.status))


class Grader:
    """Grades responses. Worker processes start at the first answer that exact matching cannot decide.

    A user's grader (`verify.grader=package.module:function`) is asked in the workers, under the same limit of time.
    """

    def __init__(self, spec: VerifySpec) -> None:
        self.spec = spec
        self.counters: Counter[GradeStatus] = Counter()
        self._workers: list[_Worker] = []
        self._cache: OrderedDict[Job, Grade] = OrderedDict()

    def grade(self, pairs: Sequence[tuple[str, tuple[str, ...]]]) -> list[Grade]:
        """One grade for each (response text, accepted answers), in order. Never raises for an answer."""
        grades: list[Grade | None] = []
        pending: dict[Job, list[int]] = {}
        for i, (text, golds) in enumerate(pairs):
            key, grade = self._quick(text, golds)
            grades.append(grade)
            if grade is None:
                pending.setdefault(key, []).append(i)
        if pending:
            for key, grade in self._by_workers(list(pending)).items():
                self._remember(key, grade)
                for i in pending[key]:
                    grades[i] = grade
        out = [g for g in grades if g is not None]
        self.counters.update(g.status for g in out)
        return out

    def _quick(self, text: str, golds: tuple[str, ...]) -> tuple[Job, Grade | None]:
        """What a worker would be asked, and the grade where none needs to be."""
        if is_path(self.spec.grader):
            return (text, golds), self._cache.get((text, golds))
        answer = extract_boxed(text)
        if answer is None:
            return (text, golds), Grade(False, "no_answer")
        key = (answer, golds)
        if key in self._cache:
            return key, self._cache[key]
        decided = exact(answer, golds)
        if decided is None and self.spec.symbolic and answer.strip() and len(answer) <= LONGEST_ANSWER:
            return key, None
        grade = Grade(bool(decided), "exact" if decided else "wrong", answer)
        self._remember(key, grade)
        return key, grade

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _remember(self, key: Job, grade: Grade) -> None:
        if grade.status == "error":
            return  # nothing is known: another time it may be
        self._cache[key] = grade
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)

    def _by_workers(self, keys: list[Job]) -> dict[Job, Grade]:
        """Every key by the workers, one each at a time, `timeout_seconds` for each question: an answer and one gold.

        A user's grader is asked once for a response and all its golds.
        """
        jobs: list[tuple[Job, tuple[str, ...]]] = []
        for key in reversed(keys):
            jobs += [(key, (gold,)) for gold in reversed(key[1])]
        if is_path(self.spec.grader):
            jobs = [(key, key[1]) for key in keys][::-1]
        results = {key: Grade(False, "wrong", key[0]) for key in keys if not key[1]}
        busy: dict[_Worker, tuple[Job, float]] = {}
        while len(self._workers) < min(self.spec.processes, len(jobs)):
            self._workers.append(_Worker(self.spec))
        try:
            self._run(jobs, busy, results)
        except BaseException:
            self.close()  # a worker's late answer must not be taken for the answer to the next question
            raise
        return results

    def _run(
        self, jobs: list[tuple[Job, tuple[str, ...]]], busy: dict[_Worker, Any], results: dict[Job, Grade]
    ) -> None:
        """Hand the jobs out until all are answered."""
        while jobs or busy:
            for i, worker in enumerate(self._workers):
                if worker in busy or not jobs:
                    continue
                key, golds = jobs.pop()
                if key in results and results[key].correct:
                    continue
                try:
                    worker.wait_ready()
                    worker.pipe.send((key[0].encode("utf-8", "replace").decode(), golds))
                    busy[worker] = (key, time.monotonic() + self.spec.timeout_seconds)
                except (EOFError, OSError):
                    _note(results, key, self._failed(key, "error"))
                    self._replace(i)
            self._collect(busy, results)

    def _collect(self, busy: dict[_Worker, Any], results: dict[Job, Grade]) -> None:
        """Wait for an answer, a death or the nearest deadline."""
        from multiprocessing.connection import wait

        if not busy:
            return
        patience = max(0.0, min(deadline for _, deadline in busy.values()) - time.monotonic())
        wait([w.pipe for w in busy], timeout=patience)
        for worker in list(busy):
            key, deadline = busy[worker]
            grade: Grade | None = None
            alive = True
            try:
                if worker.pipe.poll():
                    grade = worker.pipe.recv()
                elif time.monotonic() >= deadline:
                    grade, alive = self._failed(key, "timeout"), False
            except (EOFError, OSError):
                grade, alive = self._failed(key, "error"), False  # it died over this answer
            if grade is None:
                continue
            del busy[worker]
            _note(results, key, grade)
            if not alive:
                self._replace(self._workers.index(worker))

    def _failed(self, key: Job, status: GradeStatus) -> Grade:
        """The grade of an answer that no worker could grade."""
        return Grade(False, status, None if is_path(self.spec.grader) else key[0])

    def _replace(self, index: int) -> None:
        self._workers[index].stop()
        self._workers[index] = _Worker(self.spec)
