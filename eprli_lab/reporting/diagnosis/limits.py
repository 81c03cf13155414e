"""Findings on response limits that never cut an answer: what differs by them alone does not differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from eprli_lab.reporting.derived import generated_groups, sampled_levels
from eprli_lab.reporting.diagnosis.finding import Finding, param_of
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.tracking import names

LIMIT_GROUPS = 30  # groups of a level, over seeds: with 480 responses a limit that cuts 1 in 100 shows at 99%
BY_LENGTH_ALONE = ("none", "group_relative")  # length terms that do not look at Len_l


@dataclass(frozen=True)
class ArmLimits:
    """The response limits of an arm."""

    arm: str
    limits: Mapping[str, int]  # level -> Len_l, tokens
    idle: frozenset[str]  # levels at which it cut nothing and acts in no other way
    strata: tuple[object, ...]  # arms with other strata are no comparison of limits


def unused_limits(study: StudyData) -> list[Finding]:
    """Limits that differ and never cut an answer.

    Arms on the same strata whose limits differ only where none of them ever bound do not differ by them: one finding
    for all arms that this ties together. Else, where limits differ from level to level and none in the whole study ever
    bound: one for the study. One limit for all, or one that binds (the others are its reference), are no finding.
    """
    arms = [a for arm in study.arms if (a := _limits_of(arm, study.of(arm))) is not None]
    groups = list(_tied(arms))
    if groups:
        return [_between(group) for group in groups]
    several = any(len(set(a.limits.values())) > 1 for a in arms)
    silent = len(arms) == len(study.arms) and all(a.idle == set(a.limits) for a in arms)
    return [_throughout(arms)] if several and silent else []


def _limits_of(arm: str, runs: Sequence[RunData]) -> ArmLimits | None:
    levels = sampled_levels(runs)
    limits = {level: limit for level in levels if (limit := limit_of(runs, level)) is not None}
    if not limits or len(limits) < len(levels):
        return None
    keys = [f"curriculum.levels.{level}.quality_threshold" for level in levels] + ["curriculum.strata"]
    given = [tuple(dict.fromkeys(r.params.get(key, "") for r in runs)) for key in keys]
    idle = frozenset(lv for lv in levels if never_cut(runs, lv) and not acts_uncut(runs, lv))
    return ArmLimits(arm, limits, idle, (*levels, *given))


def _tied(arms: Sequence[ArmLimits]) -> Iterator[list[ArmLimits]]:
    """Groups of arms that limits which never bound tell apart, and nothing else about limits does."""
    groups: list[set[int]] = []
    for i, j in combinations(range(len(arms)), 2):
        a, b = arms[i], arms[j]
        if a.strata != b.strata:
            continue
        different = {lv for lv in a.limits if a.limits[lv] != b.limits[lv]}
        if different and different <= a.idle & b.idle:
            touched = [g for g in groups if g & {i, j}]
            groups = [g for g in groups if g not in touched] + [{i, j}.union(*touched)]
    for group in groups:
        yield [arms[i] for i in sorted(group)]


def _between(arms: Sequence[ArmLimits]) -> Finding:
    levels = [lv for lv in arms[0].limits if len({a.limits[lv] for a in arms}) > 1]
    given = "; ".join(f"{lv}: " + ", ".join(f"{a.arm} {a.limits[lv]}" for a in arms) for lv in levels)
    sentence = (
        f"these arms have different response limits that never cut an answer ({given} tokens), so they do not differ "
        "by max_response_tokens: lower it below the length of answers, or drop it"
    )
    return Finding("limit_never_binds", "", levels[0] if len(levels) == 1 else "", sentence)


def _throughout(arms: Sequence[ArmLimits]) -> Finding:
    levels = dict.fromkeys(lv for a in arms for lv in a.limits)
    given = ", ".join(
        f"{lv} {'/'.join(str(n) for n in sorted({a.limits[lv] for a in arms if lv in a.limits}))}" for lv in levels
    )
    sentence = (
        f"no response limit ever cut an answer, in any arm ({given} tokens): max_response_tokens plays no part in this "
        "study, and no difference between its levels or arms comes from it"
    )
    return Finding("limit_never_binds", "", "", sentence)


def never_cut(runs: Sequence[RunData], level: str) -> bool:
    """Was no response of these runs truncated at this level, of enough to say so?"""
    rates = [v for r in runs for v in r.by_step(names.sampled(level, "all", "truncation_rate")).values()]
    known = [v for v in rates if math.isfinite(v)]
    return bool(known) and max(known) == 0.0 and generated_groups(runs, level) >= LIMIT_GROUPS


def limit_of(runs: Sequence[RunData], level: str) -> int | None:
    """Len_l of an arm, in tokens; None where its params do not say, or say several."""
    found = {param_of(r, f"curriculum.levels.{level}.max_response_tokens", None) for r in runs}
    one = found.pop() if len(found) == 1 else None
    return one if isinstance(one, int) else None


def acts_uncut(runs: Sequence[RunData], level: str) -> bool:
    """Does Len_l act although it cuts nothing: as the loss's divisor, in a length term, in a reward of the user's?"""
    path = f"curriculum.levels.{level}"
    for run in runs:
        divides = param_of(run, "algorithm.aggregation", "token_mean") == "constant"
        term = param_of(run, f"{path}.length_term", "none")
        shapes = param_of(run, f"{path}.length_coef", 0.0) > 0 and term not in BY_LENGTH_ALONE
        if shapes or param_of(run, f"{path}.reward", "outcome") != "outcome":
            return True
        if divides and param_of(run, "algorithm.constant_tokens", None) is None:
            return True
    return False
