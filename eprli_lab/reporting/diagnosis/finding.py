"""What a diagnosis is made of: the finding, the smallest difference that matters, and how runs are asked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
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


def advice(study: StudyData, arm: str, options: Sequence[tuple[str, Callable[[RunData], bool]]], verb: str = "") -> str:
    """`a, b or c` of the options that no other arm of the study is; of the others, which arm is one.

    An option is what to do in words, and whether a run of another arm does it.
    """
    open_options = []
    followed = []
    for text, does in options:
        others = [a for a in study.arms if a != arm and study.of(a) and all(map(does, study.of(a)))]
        if others:
            followed.append(f"{text} ({others[0]})")
        else:
            open_options.append(text)
    listed = ", ".join(open_options[:-1]) + (" or " if len(open_options) > 1 else "") + "".join(open_options[-1:])
    known = f"the study's own arms: {', '.join(followed)}" if followed else ""
    return "; ".join(filter(None, [verb + listed if listed else "", known]))


def number_of(run: RunData, path: str) -> float:
    """A param that is a number; nan where it is none."""
    value = param_of(run, path, None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def current_value(runs: Sequence[RunData], path: str) -> str:
    """` (now 0.2)`, or nothing when no param says."""
    values = list(dict.fromkeys(r.params[path] for r in runs if path in r.params))
    return f" (now {', '.join(values)})" if values else ""
