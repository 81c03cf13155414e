"""Responses that met their limit: what they would have become, and updates of which they leave nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.conversation import at_level
from eprli_lab.records import Group, Sampling
from eprli_lab.tracking import names
from eprli_lab.training.evaluate import Answering, Grading, right_when_continued

CONTINUED = 64  # truncated responses of a step that are gone on with at most: a standard error of .06 a step


def valid_truncation(
    spec: RunSpec, backend: Answering, grader: Grading, level: str, groups: Sequence[Group], step: int
) -> tuple[dict[str, float], float]:
    """({name: value}, seconds): the share of a step's truncated responses that are right when they are gone on with.

    0 where none was truncated; nothing at all unless `evaluation.continue_truncated` asks for it. At most CONTINUED of
    them, evenly spaced over the step. A measurement: its tokens are in no budget, its seconds in no training time, its
    randomness is its own.
    """
    limit = spec.evaluation.continue_truncated
    if limit is None or not groups:
        return {}, 0.0
    began, settings = time.perf_counter(), spec.curriculum.levels[level]
    asked = at_level([g.problem for g in groups], settings.prompts)
    cut = [(problem, r) for problem, g in zip(asked, groups, strict=True) for r in g.responses if r.truncated]
    count = min(len(cut), CONTINUED)
    chosen = [cut[i * len(cut) // count] for i in range(count)]
    sampling = Sampling(settings.group_size, settings.max_response_tokens, spec.algorithm.temperature)
    seed = derive_seed(spec.rng_seed, "continue", step)
    right = right_when_continued(backend, grader, chosen, sampling, limit=limit, seed=seed)
    seconds = time.perf_counter() - began
    rate = sum(right) / len(right) if right else 0.0
    out = {names.sampled(level, "all", "valid_truncation_rate"): rate, names.seconds("continue"): seconds}
    return out, seconds


def nothing_left(level: str, limit: int) -> str:
    """One sentence for a level whose updates found nothing to train on, since all that was admitted is masked."""
    return (
        f"level {level} starved: every response of the admitted groups met the limit, and algorithm.truncated=masked "
        f"trains on none of them: raise curriculum.levels.{level}.max_response_tokens (now {limit})"
    )
