"""Difficulty measured anew: pass rates of the policy in training, after every so many updates; the strata follow.

The tokens are generated ones: they are counted in the run's progress and budget, as those of training are, so that an
arm that measures pays for it. They are in no level's own books, whose mean tokens a group plan the next round.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence

from eprli_lab.algorithm.progress import Progress
from eprli_lab.algorithm.schedule import affordable_problems
from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.remeasured import Remeasured, in_turn
from eprli_lab.data.samplers import on_other_problems
from eprli_lab.data.strata import Strata, by_thresholds
from eprli_lab.records import Problem, Sampling
from eprli_lab.tracking import names
from eprli_lab.training.evaluate import Answering, Grading, graded
from eprli_lab.training.state import TrainState, sampler_seed

log = logging.getLogger(__name__)


def is_due(spec: RunSpec, progress: Progress, before: int) -> bool:
    """Is it time to measure, after a step that began with `before` updates? Never where `every` is null."""
    every = spec.curriculum.remeasure.every
    return every is not None and progress.updates > before and progress.updates % every == 0


def remeasure(
    spec: RunSpec, backend: Answering, grader: Grading, loaded: Strata, state: TrainState
) -> dict[str, float]:
    """Measure the problems whose turn it is, redraw the strata, give the samplers their new ones; the metrics of it.

    `loaded`: the strata that the run began with. Near the end of a token budget fewer are measured, and none (no
    metrics) where none can be paid. A problem of which a response could not be graded keeps its difficulty.
    """
    began = time.perf_counter()
    rule, before = spec.curriculum.remeasure, state.remeasured or Remeasured()
    chosen = in_turn(before.problems(loaded.levels), rule.problems, before.count, spec.rng_seed)
    chosen = chosen[: _affordable(spec, state.progress, len(chosen))]
    if not chosen:
        return {}
    measured, tokens, responses = _measured(spec, backend, grader, chosen, before.count)
    state.progress.tokens += tokens
    state.progress.responses += responses
    after = before.redrawn(measured, spec.curriculum, loaded.levels)
    state.remeasured = after
    strata = after.strata(loaded.levels)
    for name, sampler in state.samplers.items():
        seed = sampler_seed(spec, name, after)
        state.samplers[name] = on_other_problems(sampler, spec.curriculum, strata[name], seed)
    return _metrics(spec, loaded, before, after, measured) | {
        names.remeasured("tokens"): float(tokens),
        names.seconds("remeasure"): time.perf_counter() - began,
    }


def _affordable(spec: RunSpec, progress: Progress, wanted: int) -> int:
    """How many problems the rest of the budget pays for, at the run's mean tokens a response so far."""
    if spec.budget.unit != "tokens":
        return wanted
    mean = spec.curriculum.remeasure.samples * progress.tokens / progress.responses
    return affordable_problems(spec.budget.amount - progress.tokens, mean, 1, wanted)


def _measured(
    spec: RunSpec, backend: Answering, grader: Grading, problems: Sequence[Problem], count: int
) -> tuple[dict[str, float], int, int]:
    """(difficulty by problem, generated tokens, responses), with the run's prompts and the longest response limit."""
    longest = max(level.max_response_tokens for level in spec.curriculum.levels.values())
    sampling = Sampling(spec.curriculum.remeasure.samples, longest, spec.algorithm.temperature)
    answers = backend.sample(problems, sampling, seed=derive_seed(spec.rng_seed, "remeasure", count))
    measured, tokens, responses = {}, 0, 0
    for problem, (group, grades) in zip(problems, graded(answers, problems, grader), strict=True):
        tokens += sum(len(r.tokens) for r in group)
        responses += len(group)
        if all(g.status != "error" for g in grades):
            measured[problem.id] = sum(not g.correct for g in grades) / len(grades)  # 1 - 0.7 is not 0.3
    return measured, tokens, responses


def _metrics(
    spec: RunSpec, loaded: Strata, before: Remeasured, after: Remeasured, measured: dict[str, float]
) -> dict[str, float]:
    """curriculum/...; a level that keeps its stratum is said, since its band is empty now."""
    strata, drawn = after.strata(loaded.levels), by_thresholds(after.problems(loaded.levels), spec.curriculum)
    out: dict[str, float] = {names.remeasured("measured"): len(measured)}
    if measured:
        out[names.remeasured("pass_rate")] = 1.0 - statistics.fmean(measured.values())
    was = {n: set(ids) for n, ids in before.levels.items()}
    was = was or {n: {p.id for p in problems} for n, problems in loaded.levels.items()}
    now = {n: set(ids) for n, ids in after.levels.items()}
    out[names.remeasured("moved")] = sum(any((i in was[n]) != (i in now[n]) for n in now) for i in measured)
    inside = {i for ids in after.levels.values() for i in ids}
    out[names.remeasured("outside")] = sum(p.id not in inside for p in after.problems(loaded.levels))
    for name, problems in strata.items():
        kept = not drawn[name]
        out[names.stratum(name, "problems")] = len(problems)
        out[names.stratum(name, "difficulty")] = statistics.fmean(p.difficulty or 0.0 for p in problems)
        out[names.stratum(name, "kept")] = kept
        if kept:
            log.warning(
                "curriculum.remeasure: no problem has a difficulty in the band of level %s any more: it keeps its "
                "%d problems; move curriculum.levels.%s.quality_threshold if it should have others",
                name, len(problems), name,
            )  # fmt: skip
    return {k: float(v) for k, v in out.items()}
