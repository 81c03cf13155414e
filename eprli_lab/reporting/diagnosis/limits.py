"""Findings on response limits that never cut an answer: what differs by them does not differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eprli_lab.reporting.derived import generated_groups, sampled_levels
from eprli_lab.reporting.diagnosis.finding import Finding, param_of
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.tracking import names

LIMIT_GROUPS = 30  # groups of a level, over seeds: with 480 responses a limit that cuts 1 in 100 shows at 99%
BY_LENGTH_ALONE = ("none", "group_relative")  # length terms that do not look at Len_l

Limits = Mapping[str, int]  # arm -> its limit at a level, tokens


def unused_limits(study: StudyData) -> list[Finding]:
    """Limits that differ and never cut an answer.

    Between arms: at a level where two or more arms have different limits of which none ever bound, those arms do not
    differ by them; one finding a level. Else within arms: where limits differ from level to level and none in the whole
    study ever bound, once. One limit for all, or limits of which one binds (the others are then its reference), are no
    finding; nor is a limit that acts without cutting, as a divisor or in a length term.
    """
    limits: dict[str, Limits] = {}
    idle: dict[str, Limits] = {}
    for arm in study.arms:
        runs = study.of(arm)
        for level in sampled_levels(runs):
            limit = limit_of(runs, level)
            if limit is None:
                continue
            limits[level] = {**limits.get(level, {}), arm: limit}
            if never_cut(runs, level) and not acts_uncut(runs, level):
                idle[level] = {**idle.get(level, {}), arm: limit}
    alike = [(level, group) for level in idle for group in _by_strata(study, level, idle[level])]
    apart = [(level, group) for level, group in alike if len(set(group.values())) > 1]
    if apart:
        return [_between(level, group) for level, group in apart]
    several = any(len({limits[lv][arm] for lv in limits if arm in limits[lv]}) > 1 for arm in study.arms)
    return [_throughout(idle)] if several and idle == limits else []


def _between(level: str, limits: Limits) -> Finding:
    given = ", ".join(f"{arm} {limit}" for arm, limit in limits.items())
    sentence = (
        f"the response limits of level {level} never cut an answer in these arms ({given} tokens), so the arms do not "
        f"differ by curriculum.levels.{level}.max_response_tokens: lower it below the length of answers, or drop it"
    )
    return Finding("limit_never_binds", "", level, sentence)


def _throughout(idle: Mapping[str, Limits]) -> Finding:
    given = ", ".join(f"{level} {'/'.join(map(str, sorted(set(by_arm.values()))))}" for level, by_arm in idle.items())
    sentence = (
        f"no response limit ever cut an answer, in any arm ({given} tokens): max_response_tokens plays no part in this "
        "study, and no difference between levels or arms is one of response length allowed"
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


def _by_strata(study: StudyData, level: str, limits: Limits) -> list[Limits]:
    """The arms that have the same levels and the same problems at this one: only these are a comparison of limits."""
    keys = (f"curriculum.levels.{level}.quality_threshold", "curriculum.strata", "curriculum.order")
    groups: dict[tuple[object, ...], dict[str, int]] = {}
    for arm, limit in limits.items():
        runs = study.of(arm)
        given = [tuple(dict.fromkeys(r.params.get(key, "") for r in runs)) for key in keys]
        groups.setdefault((*given, *sampled_levels(runs)), {})[arm] = limit
    return list(groups.values())
