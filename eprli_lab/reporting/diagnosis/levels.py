"""Findings within a level: starved, skipped updates, clip bounds that never bind, reward variance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from eprli_lab.algorithm.starvation import REJECTIONS, main_rejection, remedy
from eprli_lab.reporting.derived import (
    admission_rate,
    clip_fractions,
    generated_groups,
    reward_variance,
    sampled_levels,
    verdict_counts,
)
from eprli_lab.reporting.diagnosis.finding import Finding, advice, current_value, number_of, param_of
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.tracking import names

SKIPPED_SHARE = 0.2  # steps of a level without an update; below, a fifth more sampling is the price, not a fault
SKIPPED_STEPS = 3  # at least, in one run: the default max_skipped_updates ends a level after so many
ADMITTED_SHARE = 0.1  # groups admitted / generated; below, nine tenths of the tokens teach nothing
CLIP_INERT = 1e-5  # fraction of tokens, mean over updates: under one token of 10^5, none at all in a small run
CLIP_UPDATES = 5  # updates, at least, before "never" means anything
VARIANCE_RATIO = 4.0  # of reward variance within groups: twice the standard deviation that group_norm divides by


def starved_levels(runs: Sequence[RunData], arm: str, level: str) -> list[Finding]:
    """Too many steps without an update, or next to nothing admitted; and the threshold that did it."""
    skipped = [skipped_updates(run, level) for run in runs]
    hit = sum(n >= SKIPPED_STEPS and n >= SKIPPED_SHARE * steps for n, steps in skipped)
    counts = verdict_counts(runs, level)
    generated = generated_groups(runs, level)
    rate = admission_rate(runs, level)
    if not hit and not rate < ADMITTED_SHARE:
        return []
    missing = sum(n for n, _ in skipped)
    steps = sum(n for _, n in skipped)
    rejection = main_rejection(counts) if generated else REJECTIONS[0]
    advice = remedy(level, rejection, partial(_value_now, runs, level))
    if rejection is None:
        why = f"more groups were admitted than rejected for any one reason: {advice}"
    else:
        share = counts[rejection] / generated if generated else math.nan
        why = f"{share:.0%} of all groups were {rejection.replace('_', ' ')}: {advice}"
    sentence = (
        f"{arm}: level {level} starved in {hit or len(runs)} of {len(runs)} runs ({missing} of {steps} steps without "
        f"an update, {rate:.0%} of groups admitted); {why}"
    )
    return [Finding("starved", arm, level, sentence)]


def _value_now(runs: Sequence[RunData], level: str, setting: str) -> str:
    path = f"curriculum.levels.{level}.{setting}"
    return ", ".join(dict.fromkeys(r.params[path] for r in runs if path in r.params))


def skipped_updates(run: RunData, level: str) -> tuple[int, int]:
    """(steps of a level whose buffer was not filled, steps); a last one alone is the budget's end and not counted."""
    fill = sorted(run.by_step(names.buffer(level, "fill_fraction")).items())
    short = [value < 1 for _, value in fill]
    if short and short[-1] and not any(short[-2:-1]):
        short = short[:-1]
    return sum(short), len(short)


def unused_clip_bounds(study: StudyData, runs: Sequence[RunData], arm: str, level: str) -> list[Finding]:
    """A clip bound that no token met."""
    path = f"curriculum.levels.{level}"
    out = []
    inert = []
    for side in ("low", "high"):
        values = clip_fractions(runs, level, side)
        if len(values) >= CLIP_UPDATES and mean(values) < CLIP_INERT:
            inert.append(f"{path}.clip.{side}{current_value(runs, f'{path}.clip.{side}')}")
    if inert:
        both = len(inert) == 2
        passes = [(key, partial(_more_passes, f"{path}.{key}")) for key in ("inner_iterations", "minibatches")]
        why = (
            f": one pass over fresh samples keeps the ratio at 1; {advice(study, arm, passes, 'see ')}" if both else ""
        )
        bounds = (
            f"the clip bounds {' and '.join(inert)} never bind" if both else f"the clip bound {inert[0]} never binds"
        )
        sentence = f"{arm}: {bounds}, so a sweep of {'them' if both else 'it'} shows nothing{why}"
        out.append(Finding("clip_never_binds", arm, level, sentence))
    return out


def _more_passes(path: str, run: RunData) -> bool:
    """Does a run make more than one update of a buffer, by this setting?"""
    return number_of(run, path) > 1


def unequal_variance(study: StudyData, runs: Sequence[RunData], arm: str) -> list[Finding]:
    """Levels whose groups spread so differently that a normalised advantage means different rewards."""
    if any(param_of(r, "algorithm.advantage", "group_norm") != "group_norm" for r in runs):
        return []
    within = {lv: reward_variance(runs, lv, "within") for lv in sampled_levels(runs)}
    known = {lv: v for lv, v in within.items() if math.isfinite(v)}
    if len(known) < 2:
        return []
    least = min(known, key=lambda lv: known[lv])
    most = max(known, key=lambda lv: known[lv])
    if known[most] <= VARIANCE_RATIO * known[least]:
        return []
    sentence = (
        f"{arm}: rewards vary within groups by {known[most]:.3g} at level {most} and {known[least]:.3g} at level "
        f"{least}: group_norm divides both to one, so the same advantage stands for a "
        f"{_times(known[most], known[least])} smaller reward at {least}; {advice(study, arm, MEAN_ONLY, 'compare ')}"
    )
    return [Finding("reward_variance", arm, least, sentence)]


MEAN_ONLY = (("algorithm.advantage=mean_only", lambda r: param_of(r, "algorithm.advantage", "") == "mean_only"),)


def _times(most: float, least: float) -> str:
    return f"{math.sqrt(most / least):.1f} times" if least > 0 else "infinitely"
