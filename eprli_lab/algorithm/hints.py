"""Hints: the first worked steps of the gold solution, given as the beginning of the answer (docs/algorithm.md, Hints).

POPE (arXiv 2601.18779), GHPO (arXiv 2507.10628), StepHint (arXiv 2507.02841).
"""

from __future__ import annotations

import dataclasses
import math

from eprli_lab.config.curriculum import HintSpec
from eprli_lab.records import Problem

ROUNDING = 1e-9  # what floats may leave of a whole number of steps


def hint_share(hint: HintSpec, fraction: float) -> float:
    """h(f) in [0, 1], the share of the worked steps that is given at f = `fraction` of the level's own budget.

    `fade: none`: hint.fraction; `linear`: hint.fraction max(0, 1 - f / fade_until).
    """
    fade = max(0.0, 1.0 - fraction / hint.fade_until) if hint.fade == "linear" else 1.0
    return hint.fraction * fade


def hinted_steps(share: float, steps: int) -> int:
    """ceil(h n): how many of n worked steps are given."""
    return math.ceil(share * steps - ROUNDING)


def with_hint(problem: Problem, steps: int) -> Problem:
    """The problem with its first worked steps as its hint; the very same one without any."""
    return dataclasses.replace(problem, hint="".join(problem.steps[:steps])) if steps else problem
