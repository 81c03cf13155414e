"""The user's own functions, tried before anything starts: found, of the right form, pure where they must be.

Each is called twice on the same small group; it must answer in its form, the same both times, and leave what it was
given, and the random streams of the process, as they were. docs/extending.md says what each kind is given.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

from eprli_lab.algorithm.admission import AdmissionRule
from eprli_lab.algorithm.progress import LevelProgress, Progress
from eprli_lab.algorithm.schedule import Schedule
from eprli_lab.config.extensions import is_path, resolve, takes_context
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.samplers import ProblemSampler
from eprli_lab.data.tasks import AnyTask, Family
from eprli_lab.errors import UserError
from eprli_lab.records import VERDICTS, Grade, Group, Problem, Response

CORRECT = (True, False, True, False)  # of the group on which everything is tried
PROBLEMS = tuple(Problem(f"trial-{i}", f"{i}a+1?", (str(i + 1),), (i + 1) / 8, "trial") for i in range(8))
RESPONSES = tuple(
    Response(f"\\boxed{{{1 - i % 2}}}", (2, 4), (5,) * n, (-0.5,) * n, n == 9) for i, n in enumerate((3, 5, 7, 9))
)
METHODS = {  # what a class must have beside its constructor: its kind's base has them all but the first
    "admission": (AdmissionRule, ("verdict", "observe", "state", "metrics")),
    "schedule": (Schedule, ("choose", "pass_end", "observe", "state", "metrics")),
    "sampler": (ProblemSampler, ("take", "observe", "state", "metrics")),
    "family": (Family, ("draw", "worked", "steps")),
}


class _BadAnswer(Exception):
    """The function answered in another form; the text says which it should be."""


def check_extensions(spec: RunSpec) -> None:
    """Try every function of the user's that a spec names. Raises UserError with its config key and what is wrong."""
    tried: set[tuple[str, str, Any]] = set()
    for key, (kind, name) in spec.extensions().items():
        level = _level_of(spec, key)
        if is_path(name) and (kind, name, level) not in tried:
            tried.add((kind, name, level))
            _check(key, kind, name, spec, level)


def _level_of(spec: RunSpec, key: str) -> str:
    """The level that a key belongs to; the first one for what is common to all."""
    parts = key.split(".")
    return parts[2] if parts[:2] == ["curriculum", "levels"] else next(iter(spec.curriculum.levels))


def _check(key: str, kind: str, name: str, spec: RunSpec, level: str) -> None:
    try:
        function = resolve(kind, name)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    where = f"{key}: {name}"
    _check_form(where, kind, function)
    before = _streams()
    try:
        answers = [_TRIALS[kind](function, spec, level) for _ in range(2)]
    except _BadAnswer as error:
        raise UserError(f"{where} {error}") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}{_place(error, function)}"
        raise UserError(f"{where} failed on a trial: {reason}") from None
    if repr(answers[0]) != repr(answers[1]):
        raise UserError(
            f"{where} answered {answers[0]!r} and then {answers[1]!r} to the same question: a run must be repeatable, "
            "so draw from the seed that you are given"
        )
    after = _streams()
    if any(after[name] != state for name, state in before.items()):
        raise UserError(
            f"{where} draws from the process's own random stream: draw from random.Random(seed), of a seed that you "
            "are given, so that a run can be repeated"
        )


def _check_form(where: str, kind: str, function: Any) -> None:
    """A class with its kind's methods, or a function, that other processes find under the same path."""
    module, _, attribute = where.rpartition(": ")[2].partition(":")
    if kind in METHODS:
        base, methods = METHODS[kind]
        if not inspect.isclass(function):
            raise UserError(f"{where} is no class: derive one from {base.__module__}.{base.__name__}")
        missing = [m for m in methods if not callable(getattr(function, m, None))]
        if missing:
            raise UserError(f"{where} has no method {missing[0]}: derive it from {base.__module__}.{base.__name__}")
    elif not callable(function):
        raise UserError(f"{where} is no function")
    if getattr(function, "__qualname__", attribute) != getattr(function, "__name__", attribute):
        raise UserError(
            f"{where} is made inside another function, so no other process finds it: define it at the top of {module}"
        )
    if kind in METHODS:
        return
    asked = {"context": None} if kind == "objective" and takes_context(function) else {}
    try:
        inspect.signature(function).bind(*[None] * _ARGUMENTS[kind][0], **asked)
    except TypeError:
        raise UserError(f"{where} does not take ({_ARGUMENTS[kind][1]}), which is what a run gives it") from None
    except ValueError:  # of C: it has no signature to ask
        return


_ARGUMENTS = {
    "reward": (4, "problem, responses, correct, level"),
    "length_term": (3, "correct, tokens, level"),
    "advantage": (1, "rewards"),
    "objective": (5, "logp_new, logp_old, advantages, clip_low, clip_high"),
    "grader": (2, "response, answers"),
    "format": (1, "response"),
}


def _given(*values: Any) -> tuple[list[Any], Callable[[], None]]:
    """Copies to hand over, and a check that they were left as they were."""
    handed = copy.deepcopy(list(values))

    def unchanged() -> None:
        if repr(handed) != repr(list(values)):
            raise _BadAnswer("changes what it is given: make a copy")

    return handed, unchanged


def _numbers(answer: Any, count: int) -> list[float]:
    """An answer as `count` finite floats."""
    if isinstance(answer, str) or not isinstance(answer, Sequence) or len(answer) != count:
        raise _BadAnswer(f"answered {answer!r} for a group of {count}: one number a response is needed")
    if not all(isinstance(a, int | float) and math.isfinite(a) for a in answer):
        raise _BadAnswer(f"answered {answer!r}: every number must be finite")
    return [float(a) for a in answer]


def _reward(function: Any, spec: RunSpec, level: str) -> Any:
    given, unchanged = _given(PROBLEMS[0], RESPONSES, CORRECT)
    answer = _numbers(function(*given, spec.curriculum.levels[level]), len(CORRECT))
    unchanged()
    return answer


def _length_term(function: Any, spec: RunSpec, level: str) -> Any:
    given, unchanged = _given(list(CORRECT), [len(r.tokens) for r in RESPONSES])
    answer = _numbers(function(*given, spec.curriculum.levels[level]), len(CORRECT))
    unchanged()
    return answer


def _advantage(function: Any, spec: RunSpec, level: str) -> Any:
    given, unchanged = _given((1.0, 0.0, 1.0, 0.5))
    answer = _numbers(function(*given), 4)
    unchanged()
    return answer


def _objective(function: Any, spec: RunSpec, level: str) -> Any:
    from eprli_lab.backends.trial import try_objective  # torch, only where an objective is tried

    clip = spec.curriculum.levels[level].clip
    problem = try_objective(function, clip.low, clip.high)
    if isinstance(problem, str):
        raise _BadAnswer(problem)
    return problem


def _grader(function: Any, spec: RunSpec, level: str) -> Any:
    answers = [function(r.text, ("1",)) for r in RESPONSES[:2]]
    if not all(isinstance(a, bool | Grade) for a in answers):
        raise _BadAnswer(f"answered {answers[0]!r}: true, false or a Grade (eprli_lab.records) is needed")
    return answers


def _format(function: Any, spec: RunSpec, level: str) -> Any:
    answers = [function(r.text) for r in RESPONSES[:2]]
    if not all(a is None or isinstance(a, str) for a in answers):
        raise _BadAnswer(f"answered {answers[0]!r}: the answer's text, or None where there is none, is needed")
    return answers


def _group(level: str) -> Group:
    grades = tuple(Grade(c, "exact" if c else "wrong", "1") for c in CORRECT)
    return Group(PROBLEMS[0], level, RESPONSES, grades, tuple(map(float, CORRECT)), 0, "admitted")


def _remembers(made: Any, again: Callable[[Any], Any]) -> None:
    """State and metrics in their forms; what is made from the state says the same of itself."""
    state, metrics = made.state(), made.metrics()
    if not isinstance(metrics, dict) or not all(isinstance(v, int | float) for v in metrics.values()):
        raise _BadAnswer(f"has metrics {metrics!r}: name -> number is needed")
    try:
        plain = json.loads(json.dumps(state))
    except (TypeError, ValueError):
        raise _BadAnswer(f"has a state {state!r} that is no plain data (dicts, lists, numbers, strings)") from None
    back = again(plain).state()
    if json.loads(json.dumps(back)) != plain:
        raise _BadAnswer(f"remembers {back!r} where {state!r} was saved: take `state` back in the constructor")


def _admission(function: Any, spec: RunSpec, level: str) -> Any:
    admission = spec.curriculum.levels[level].admission
    rule = function(admission, None)
    verdict = rule.verdict(PROBLEMS[0], list(CORRECT), [float(c) for c in CORRECT])
    if verdict not in VERDICTS:
        raise _BadAnswer(f"gave the verdict {verdict!r}: admitted, too_hard or too_easy is needed")
    rule.observe([_group(level)])
    _remembers(rule, lambda state: function(admission, state))
    return verdict, rule.state()


def _schedule(function: Any, spec: RunSpec, level: str) -> Any:
    amount, names = spec.budget.amount, list(spec.curriculum.levels)
    schedule = function(spec.curriculum, amount, spec.rng_seed, None)
    chosen = []
    for spent in (0.0, 0.3 * amount, 0.9 * amount):
        progress = Progress(levels={n: LevelProgress() for n in names})
        chosen.append(schedule.choose(names, progress, spent))
        if chosen[-1] is not None and chosen[-1] not in names:
            raise _BadAnswer(f"chose {chosen[-1]!r}: one of {', '.join(names)}, or None for the end, is needed")
        ends = [schedule.pass_end(n) for n in names]
        if not all(isinstance(e, int | float) and 0 < e <= amount for e in ends):
            raise _BadAnswer(f"ends its levels at {ends}: numbers up to {amount:g} (the budget) are needed")
    if chosen[0] is None:
        raise _BadAnswer("chose no level at the start, so nothing would be trained")
    weights = spec.curriculum.weights
    if weights != "shared" and not schedule.boundaries:
        raise _BadAnswer(f"has no boundaries between levels, which weights={weights} needs: set boundaries = True")
    schedule.observe([_group(level)])
    _remembers(schedule, lambda state: function(spec.curriculum, amount, spec.rng_seed, state))
    return chosen, schedule.state()


def _sampler(function: Any, spec: RunSpec, level: str) -> Any:
    sampler = function(PROBLEMS, "trial", spec.curriculum, None)
    taken = []
    for fraction in (0.0, 0.5, 1.0):
        drawn = sampler.take(3, fraction)
        if not isinstance(drawn, list) or len(drawn) != 3 or any(p not in PROBLEMS for p in drawn):
            raise _BadAnswer(f"took {drawn!r} where 3 problems of the stratum were asked for")
        taken += [p.id for p in drawn]
        sampler.observe([_group(level)])
    _remembers(sampler, lambda state: function(PROBLEMS, "trial", spec.curriculum, state))
    return taken, sampler.state()


def _family(function: Any, spec: RunSpec, level: str) -> Any:
    family = function()
    drawn: list[AnyTask] = [family.draw(n, random.Random(f"trial-{n}")) for n in (1, 8)]
    for task in drawn:
        if not all(hasattr(task, a) for a in ("family", "operations", "prompt", "answer", "digest", "split")):
            raise _BadAnswer(f"drew {task!r}: a Task (eprli_lab.data.tasks) is needed")
        if not str(task.prompt) or not str(task.answer):
            raise _BadAnswer(f"drew {task!r}: prompt and answer must not be empty")
        steps = family.steps(task)
        if not isinstance(steps, tuple | list) or not all(isinstance(s, str) and s for s in steps):
            raise _BadAnswer(f"has the worked steps {steps!r}: texts, none of them empty, are needed")
    return [(t.prompt, str(t.answer), list(family.steps(t))) for t in drawn]


_TRIALS: dict[str, Callable[[Any, RunSpec, str], Any]] = {
    "reward": _reward,
    "length_term": _length_term,
    "advantage": _advantage,
    "objective": _objective,
    "grader": _grader,
    "format": _format,
    "admission": _admission,
    "schedule": _schedule,
    "sampler": _sampler,
    "family": _family,
}


def _streams() -> dict[str, Any]:
    """Where the process's own random streams are, of the libraries that are imported."""
    out: dict[str, Any] = {"random": random.getstate()}
    if "numpy" in sys.modules:
        kind, keys, *rest = sys.modules["numpy"].random.get_state()
        out["numpy"] = (kind, keys.tolist(), *rest)
    if "torch" in sys.modules:
        out["torch"] = sys.modules["torch"].get_rng_state().tolist()
    return out


def _place(error: BaseException, function: Any) -> str:
    """The line of the user's file in which a trial failed."""
    trace, line = error.__traceback__, None
    file = inspect.getsourcefile(function)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""
