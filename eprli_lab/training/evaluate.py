"""Suites -> per-problem outcomes -> scores. The same problems and sampling seeds in every arm (docs/algorithm.md)."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.config.data import EvaluationSpec
from eprli_lab.data.strata import level_of
from eprli_lab.records import Grade, Problem, Response, Sampling
from eprli_lab.tracking import names
from eprli_lab.training.measures import pass_at_k


class Grading(Protocol):
    """What is needed of a grader."""

    counters: Counter[Any]  # answers by status, so far
    lost_before: float  # s of its processes, on answers that timed out, before it was made: of a resumed run

    @property
    def seconds_lost(self) -> float:
        """And so far, those included."""
        ...

    def grade(
        self, pairs: Sequence[tuple[str, tuple[str, ...]]], problems: Sequence[Problem] | None = None
    ) -> list[Grade]:
        """One grade for each (response text, accepted answers); `problems`: of each, where one says who grades it."""
        ...


class Answering(Protocol):
    """What is needed of an engine."""

    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, seed: int) -> Iterable[tuple[Response, ...]]:
        """n responses for each problem, in order; may hand groups over one by one."""
        ...


@dataclass(frozen=True)
class Outcome:
    """One problem of a suite at one stage of a run."""

    suite: str
    problem: str  # id
    difficulty: float | None
    samples: int  # n
    correct: int  # c, of n
    majority_correct: bool
    mean_tokens: float
    truncated: int  # of n
    valid_truncated: int | None = None  # of the truncated ones, right when gone on with; None: not asked


def majority_correct(grades: Sequence[Grade]) -> bool:
    """Is the most frequent extracted answer correct? Ties go to the answer that came first; no answer never wins."""
    votes = Counter(g.answer for g in grades if g.answer is not None)
    if not votes:
        return False
    winner = votes.most_common(1)[0][0]  # most_common keeps insertion order among equals
    return next(g.correct for g in grades if g.answer == winner)


def outcome(suite: str, problem: Problem, responses: Sequence[Response], grades: Sequence[Grade]) -> Outcome:
    """One problem's n samples, counted."""
    return Outcome(
        suite=suite,
        problem=problem.id,
        difficulty=problem.difficulty,
        samples=len(grades),
        correct=sum(g.correct for g in grades),
        majority_correct=majority_correct(grades),
        mean_tokens=statistics.fmean(len(r.tokens) for r in responses),
        truncated=sum(r.truncated for r in responses),
    )


def graded(
    groups: Iterable[tuple[Response, ...]], problems: Sequence[Problem], grader: Grading
) -> list[tuple[tuple[Response, ...], tuple[Grade, ...]]]:
    """Each problem's responses with their grades. Groups that come one by one are graded while others are sampled."""
    own = any(p.answer_format or p.verifier for p in problems)

    def grade(parts: Sequence[tuple[Problem, tuple[Response, ...]]]) -> list[tuple[Grade, ...]]:
        whose = [p for p, group in parts for _ in group] if own else None
        flat = iter(grader.grade([(r.text, p.answers) for p, group in parts for r in group], whose))
        return [tuple(next(flat) for _ in group) for _, group in parts]

    if isinstance(groups, list):
        return list(zip(groups, grade(list(zip(problems, groups, strict=True))), strict=True))
    with ThreadPoolExecutor(1) as beside:
        pairs = [(group, beside.submit(grade, [(p, group)])) for p, group in zip(problems, groups, strict=True)]
        return [(group, grades.result()[0]) for group, grades in pairs]


def right_when_continued(
    backend: Answering,
    grader: Grading,
    cut: Sequence[tuple[Problem, Response]],
    sampling: Sampling,
    *,
    limit: int,
    seed: int,
) -> list[bool]:
    """Is each response that was cut off right, when the policy goes on with it once, up to `limit` tokens in all?

    `sampling` drew them. Raises ValueError where `limit` is not above its own.
    """
    if limit <= sampling.max_tokens:
        raise ValueError(f"a response of {sampling.max_tokens} tokens cannot be gone on with up to {limit}")
    if not cut:
        return []
    begun = [dataclasses.replace(problem, begun=response.tokens) for problem, response in cut]
    more = dataclasses.replace(sampling, n=1, max_tokens=limit - sampling.max_tokens)
    groups = backend.sample(begun, more, seed=seed)
    return [grade.correct for _, (grade,) in graded(groups, begun, grader)]


def evaluate(
    backend: Answering,
    grader: Grading,
    suites: Mapping[str, Sequence[Problem]],
    spec: EvaluationSpec,
    *,
    full: bool,
) -> list[Outcome]:
    """Sample every suite and grade it. `full=False` uses the first `boundary_problems` of each suite.

    With `continue_truncated` a full evaluation also goes on with every truncated response.
    """
    out = []
    for name, problems in suites.items():
        chosen = problems if full or spec.boundary_problems == 0 else problems[: spec.boundary_problems]
        groups = backend.sample(chosen, spec.sampling(), seed=derive_seed(spec.seed, "evaluate", name))
        answered = list(zip(chosen, graded(groups, chosen, grader), strict=True))
        counted = [outcome(name, problem, group, grades) for problem, (group, grades) in answered]
        if full and spec.continue_truncated is not None:
            cut = [(problem, r) for problem, (group, _) in answered for r in group if r.truncated]
            seed = derive_seed(spec.seed, "continue", name)
            limit = spec.continue_truncated
            right = iter(right_when_continued(backend, grader, cut, spec.sampling(), limit=limit, seed=seed))
            counted = [
                dataclasses.replace(o, valid_truncated=sum(next(right) for _ in range(o.truncated))) for o in counted
            ]
        out += counted
    return out


def scores(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """eval/{suite}/..., and over the suites `score`, the mean of avg_at_k, and `response_tokens`, the mean length."""
    out: dict[str, float] = {}
    suites = list(dict.fromkeys(o.suite for o in outcomes))
    for suite in suites:
        rows = [o for o in outcomes if o.suite == suite]
        out[names.accuracy(suite)] = statistics.fmean(o.correct / o.samples for o in rows)
        out[names.evaluation(suite, "pass_at_k")] = statistics.fmean(
            pass_at_k(o.samples, o.correct, o.samples) for o in rows
        )
        out[names.evaluation(suite, "maj_at_k")] = statistics.fmean(float(o.majority_correct) for o in rows)
        out[names.evaluation(suite, "response_tokens")] = statistics.fmean(o.mean_tokens for o in rows)
        out[names.evaluation(suite, "truncation_rate")] = sum(o.truncated for o in rows) / sum(o.samples for o in rows)
        valid = [o.valid_truncated for o in rows if o.valid_truncated is not None]
        if valid:
            cut = sum(o.truncated for o in rows)
            out[names.evaluation(suite, "valid_truncation_rate")] = sum(valid) / cut if cut else 0.0
    out[names.SCORE] = statistics.fmean(out[names.accuracy(suite)] for suite in suites)
    out[names.RESPONSE_TOKENS] = statistics.fmean(out[names.evaluation(suite, "response_tokens")] for suite in suites)
    return out


def heldout_levels(suites: Mapping[str, Sequence[Problem]], curriculum: CurriculumSpec) -> dict[tuple[str, str], str]:
    """(suite, problem id) -> the level l with Q_{l-1} < d <= Q_l, Q_0 = -inf, whatever `strata` says of training.

    Each problem once: one that several suites hold is the first's. Problems without a difficulty and those above Q_L
    are of no level. Difficulties are the held-out problems' own: `data.label_noise` shuffles those of training alone.
    """
    out: dict[tuple[str, str], str] = {}
    seen: set[tuple[Any, ...]] = set()
    for suite, problems in suites.items():
        for p in problems:
            content = (p.prompt, p.messages, p.answers)
            level = None if p.difficulty is None else level_of(curriculum, p.difficulty)
            if level is None or content in seen:
                continue
            seen.add(content)
            out[suite, p.id] = level
    return out


def asked_always(suites: Mapping[str, Sequence[Problem]], spec: EvaluationSpec) -> set[tuple[str, str]]:
    """(suite, problem id) of the problems that every evaluation asks, at boundaries too."""
    first = spec.boundary_problems or None
    return {(suite, p.id) for suite, problems in suites.items() for p in problems[:first]}


def level_scores(
    outcomes: Sequence[Outcome], levels: Mapping[tuple[str, str], str], always: Collection[tuple[str, str]]
) -> dict[str, float]:
    """heldout/{l}/... of the levels that have problems here, and the score over the problems of `always`.

    `levels`: of `heldout_levels`; `always`: of `asked_always`. From the outcomes at hand: nothing is sampled for it.
    """
    accuracies: dict[str, list[float]] = {}
    common: dict[str, list[float]] = {}
    by_suite: dict[str, list[float]] = {}
    for o in outcomes:
        key = (o.suite, o.problem)
        level = levels.get(key)
        share = o.correct / o.samples
        if key in always:
            by_suite.setdefault(o.suite, []).append(share)
        if level is not None:
            accuracies.setdefault(level, []).append(share)
            if key in always:
                common.setdefault(level, []).append(share)
    out = {names.heldout_accuracy(level): statistics.fmean(shares) for level, shares in accuracies.items()}
    out |= {names.heldout(level, "problems"): float(len(shares)) for level, shares in accuracies.items()}
    out |= {names.common_accuracy(level): statistics.fmean(shares) for level, shares in common.items()}
    if by_suite:
        out[names.COMMON_SCORE] = statistics.fmean(map(statistics.fmean, by_suite.values()))
    return out


def rows(stage: str, step: int, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Rows of the per-problem table artifact; `valid_truncated` only where it was asked for."""
    out = [{"stage": stage, "step": step, **asdict(o)} for o in outcomes]
    return [{k: v for k, v in row.items() if k != "valid_truncated" or v is not None} for row in out]
