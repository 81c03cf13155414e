"""What a diagnosis is made of: the finding, the smallest difference that matters, and how runs are asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.tracking import names

Rows = Mapping[str, Sequence[Mapping[str, Any]]]  # run id -> rows of its artifact ledger or outcomes
MARGIN = 0.03  # score; the smallest difference that matters: one binomial standard error of 256 problems
FRACTIONS = ("score", "avg_at_k", "pass_at_k", "maj_at_k", "accuracy", "truncation_rate", "valid_truncation_rate")


@dataclass(frozen=True)
class Finding:
    """One thing to look at. `arm` or `level` is empty where it concerns all."""

    kind: str  # one of KINDS
    arm: str
    level: str
    sentence: str


def equivalence_margin(study: StudyData, metric: str, given: float | None = None) -> float:
    """The margin that was given, else MARGIN: of a fraction as it is, of any other metric as a share of its mean."""
    if given is not None:
        return given
    if names.measure_of(metric) in FRACTIONS:
        return MARGIN
    size = abs(mean([r.last(metric) for r in study.runs]))
    return MARGIN * size if size > 0 else MARGIN


KINDS = (
    "starved",
    "entropy_collapse",
    "forgetting",
    "inert_arm",
    "clip_never_binds",
    "limit_never_binds",
    "reward_variance",
    "unequal_updates",
    "few_seeds",
    "difficulty_order",
)


def problem_count(run: RunData, suite: str, *, partial: bool) -> int:
    """How many problems an evaluation of a suite had, from the params; 0 when they do not say."""
    path = f"evaluation.suites.{suite}"
    sizes = [param_of(run, f"{path}.{key}", None) for key in ("generated.problems", "source.limit")]
    known = [int(s) for s in sizes if isinstance(s, int | float)]
    few = param_of(run, "evaluation.boundary_problems", 0)
    if partial and isinstance(few, int) and few > 0:
        return min([few, *known])
    return known[0] if known else 0


def param_of(run: RunData, path: str, default: Any) -> Any:
    """A param as the value that was dumped; the text where it is no JSON."""
    text = run.params.get(path)
    if text is None:
        return default
    try:
        return json.loads(text)
    except ValueError:
        return text


def current_value(runs: Sequence[RunData], path: str) -> str:
    """` (now 0.2)`, or nothing when no param says."""
    values = list(dict.fromkeys(r.params[path] for r in runs if path in r.params))
    return f" (now {', '.join(values)})" if values else ""
