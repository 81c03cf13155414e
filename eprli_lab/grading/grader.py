r"""Response text -> correct? Spelling, structure and rational numbers here; algebra in processes with a hard limit.

An answer can neither hang nor crash a run: the parent watches the clock, kills a worker that is over time and starts
another; what timed out is counted (and graded wrong), what crashed a worker is an `error`, and so is a missing gold.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any

from eprli_lab.config.extensions import is_path, resolve
from eprli_lab.config.sandbox import SandboxSpec
from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading import tests
from eprli_lab.grading.answers import exact, extract_boxed, is_missing
from eprli_lab.grading.parser import read
from eprli_lab.grading.pool import Pool, Worker
from eprli_lab.records import Grade, GradeStatus, Problem

log = logging.getLogger(__name__)

LONGEST_ANSWER = 4096  # characters; longer extracted answers are right by their spelling only
CACHE_SIZE = 100_000
LOST_SHARE = 0.1  # of the time of grading: more lost to time-outs is said

Job = tuple[str, tuple[str, ...], str | None]  # an answer or a whole response, golds, whose function is asked (or none)


def boxed(response: str, answers: Sequence[str]) -> Grade:
    r"""The grade of the boxed answer, by the conventions of docs/grading.md.

    In this process and without a limit of time; `Grader` gives both, and decides what it can without a worker.
    """
    answer = resolve("format", "boxed")(response)
    golds = tuple(g for g in answers if not is_missing(g))
    if not golds:
        return Grade(False, "error", answer)
    if answer is None:
        return Grade(False, "no_answer")
    decided = exact(answer, golds)
    if decided is None and len(answer) <= LONGEST_ANSWER:
        right = any(_equal(answer, gold) for gold in golds)
        return Grade(right, "symbolic" if right else "wrong", answer)
    return Grade(bool(decided), "exact" if decided else "wrong", answer)


def _equal(answer: str, gold: str) -> bool:
    """By algebra; what cannot be read is not shown to be equal. No limit of time: see `_serve`."""
    from eprli_lab.grading import calculus
    from eprli_lab.grading.algebra import Algebra

    try:
        wanted, said = read(gold), read(answer)
        if wanted is not None and said is not None:
            return bool(Algebra().same(wanted, said))
        return calculus.equal(gold, answer)
    except Exception:
        return False


def _by_function(kind: str, name: str, response: str, answers: tuple[str, ...]) -> Grade:
    """The word of a user's grader, or of a verifier; one that raises, or says neither true nor false, is an error."""
    try:
        said = resolve(kind, name)(response, answers)
    except Exception:
        return Grade(False, "error")
    if isinstance(said, Grade):
        return said
    if isinstance(said, bool):
        return Grade(said, "exact" if said else "wrong", extract_boxed(response))
    return Grade(False, "error")


def warm_up() -> None:
    """Import what algebra needs and fill its caches, silently: most of a second."""
    import warnings

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _equal("\\frac{\\pi}{2}", "\\int_0^1 \\frac{\\pi}{2} dx")
    logging.disable(before)


def _prepare(verifier: str) -> None:
    """What goes wrong here goes wrong again, and is graded an error, when the verifier is asked."""
    with contextlib.suppress(Exception):
        getattr(resolve("verifier", verifier), "prepare", lambda: None)()


def _serve(pipe: Any, seconds: float, name: str, limits: SandboxSpec, verifiers: tuple[str, ...] = ()) -> None:
    """Worker process: grade until the pipe closes. The parent keeps the time.

    `verifiers`: what they import (`prepare`, where one has it) is imported before the first question.

    Should the parent be killed while a computation is stuck in C, where no Python code runs, SIGPROF ends this process:
    its default action, after processor time that no living parent would grant.
    """
    import signal
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    tests.configure(limits, seconds)
    if is_path(name):
        resolve("grader", name)
    else:
        warm_up()  # at once where the process was forked from a warm one
    for verifier in verifiers:
        _prepare(verifier)
    pipe.send("ready")
    while True:
        try:
            answer, golds, verifier = pipe.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, 2 * seconds + 5)
        if verifier is not None:
            grade = _by_function("verifier", verifier, answer, golds)
        elif is_path(name):
            grade = _by_function("grader", name, answer, golds)
        else:
            right = any(_equal(answer, gold) for gold in golds)
            grade = Grade(right, "symbolic" if right else "wrong", answer)
        signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            pipe.send(grade)
        except OSError:
            return  # the parent is gone


STRENGTH: tuple[GradeStatus, ...] = ("wrong", "no_answer", "timeout", "error", "symbolic", "exact")


class Grader:
    """Grades responses. Worker processes start at the first answer that exact comparison cannot decide.

    A user's grader (`verify.grader=package.module:function`) is asked in the workers, under the same limit of time.
    """

    def __init__(self, spec: VerifySpec) -> None:
        self.spec = spec
        self.counters: Counter[GradeStatus] = Counter()
        self.seconds = 0.0  # of grading, so far
        self.lost_before = 0.0  # s lost before this process, of a run that was taken up again
        self._own = is_path(spec.grader)
        self._extract = resolve("format", spec.format)
        preload = None if self._own else "eprli_lab.grading.preloaded"
        self._pool = Pool(spec.processes, _serve, (spec.timeout_seconds, spec.grader, spec.sandbox, ()), preload)
        self._cache: OrderedDict[Job, Grade] = OrderedDict()
        self._warned = 0.0  # seconds lost at the last warning

    @property
    def seconds_lost(self) -> float:
        """Of workers: spent on answers that timed out, so far."""
        return self.lost_before + self._pool.seconds_lost

    @property
    def _workers(self) -> list[Worker]:
        return self._pool.workers

    def grade(
        self, pairs: Sequence[tuple[str, tuple[str, ...]]], problems: Sequence[Problem] | None = None
    ) -> list[Grade]:
        """One grade for each (response text, accepted answers), in order. Never raises for an answer.

        `problems`: of each response, where one has an `answer_format` or a `verifier` of its own. A verifier is asked
        in the workers, as a user's grader is, with the problem's `checks` in the place of the answers where it has any.
        """
        began = time.monotonic()
        grades: list[Grade | None] = []
        pending: dict[Job, list[int]] = {}
        for i, (text, golds) in enumerate(pairs):
            key, grade = self._quick(text, golds, problems[i] if problems else None)
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
        self.seconds += time.monotonic() - began
        self._report_lost(out)
        return out

    def _report_lost(self, grades: Sequence[Grade]) -> None:
        """Say it when a large share of grading goes to answers that time out; again when that has doubled."""
        lost = self._pool.seconds_lost
        if lost > max(self.spec.timeout_seconds, 2 * self._warned):
            self._warned = lost
            example = next((g.answer for g in grades if g.status == "timeout" and g.answer), "")
            share = min(1.0, lost / max(self.seconds * self.spec.processes, 1e-9))
            if share > LOST_SHARE:
                count, limit = self.counters["timeout"], f"verify.timeout_seconds={self.spec.timeout_seconds:g}"
                log.warning(
                    f"{share:.0%} of the time of grading ({lost:.0f} s) went to {count} answers that took "
                    f"over {limit} and count as wrong, such as {example[:60]!r}"
                )

    def _quick(self, text: str, golds: tuple[str, ...], problem: Problem | None) -> tuple[Job, Grade | None]:
        """What a worker would be asked, and the grade where none needs to be."""
        form = problem.answer_format if problem is not None else None
        if problem is not None and problem.verifier is not None:
            return self._of_verifier(text, (problem.checks,) if problem.checks else golds, problem.verifier, form)
        if self._own:
            return (text, golds, None), self._cache.get((text, golds, None))
        try:
            answer = self._extract(text) if form is None else resolve("format", form)(text)
        except Exception:  # of a user's function
            return (text, golds, None), Grade(False, "error")
        if answer is None:
            missing = all(map(is_missing, golds))
            return (text, golds, None), Grade(False, "error" if missing else "no_answer")
        key: Job = (answer, golds, None)
        if key in self._cache:
            return key, self._cache[key]
        decided = exact(answer, golds)
        if decided is None and self.spec.symbolic and answer.strip() and len(answer) <= LONGEST_ANSWER:
            return key, None
        if not decided and all(map(is_missing, golds)):
            return key, Grade(False, "error", answer)
        grade = Grade(bool(decided), "exact" if decided else "wrong", answer)
        self._remember(key, grade)
        return key, grade

    def _of_verifier(
        self, text: str, given: tuple[str, ...], verifier: str, form: str | None
    ) -> tuple[Job, Grade | None]:
        """What a verifier is asked: the response, or the answer in it, where it has `reads_answer`."""
        *others, verifiers = self._pool.args
        if verifier not in verifiers:
            self._pool.args = (*others, (*verifiers, verifier))
            self._pool.close()  # the next ones come prepared
        if getattr(resolve("verifier", verifier), "reads_answer", False):
            try:
                answer = self._extract(text) if form is None else resolve("format", form)(text)
            except Exception:  # of a user's function
                return (text, given, verifier), Grade(False, "error")
            if answer is None:
                return (text, given, verifier), Grade(False, "no_answer")
            text = answer
        key = (text, given, verifier)
        return key, self._cache.get(key)

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

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
        """Every key by the workers, in `timeout_seconds` each: an answer's golds are asked one by one and share them.

        A user's grader, or a verifier, is asked once for a response and all its golds.
        """
        results: dict[Job, Grade] = {}

        def note(job: tuple[Job, tuple[str, ...]], outcome: str, answer: Any) -> None:
            key = job[0]
            status: GradeStatus = "timeout" if outcome == "timeout" else "error"
            grade = answer if outcome == "answer" else Grade(False, status, None if whole(key) else key[0])
            results[key] = max(results.get(key, grade), grade, key=lambda g: STRENGTH.index(g.status))

        def whole(key: Job) -> bool:
            """Is a function asked for the whole response?"""
            return self._own or key[2] is not None

        def golds_of(key: Job) -> list[tuple[str, ...]]:
            return [key[1]] if whole(key) else [(g,) for g in key[1] if not is_missing(g)]

        self._pool.ask(
            [(key, golds) for key in keys for golds in golds_of(key)],
            question=lambda job: (job[0][0].encode("utf-8", "replace").decode(), job[1], job[0][2]),
            seconds=lambda job: self.spec.timeout_seconds / len(golds_of(job[0])),
            done=note,
            needed=lambda job: not (job[0] in results and results[job[0]].correct),
        )
        return results
