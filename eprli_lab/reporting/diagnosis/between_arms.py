"""Findings between arms: arms that never acted, unequal updates, too few seeds."""

from __future__ import annotations

import math

from eprli_lab.errors import counted
from eprli_lab.reporting.diagnosis.finding import Finding, Rows
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import (
    baselines,
    corrected_p,
    difference,
    is_equivalent,
    is_identical,
    last_by_seed,
)
from eprli_lab.reporting.stats.paired import ALPHA, mean, paired_sd
from eprli_lab.reporting.stats.power import (
    POWER,
    comparisons,
    minimum_detectable_effect,
    seeds_needed,
    seeds_range,
    seeds_text,
)
from eprli_lab.reporting.tables.config_diff import config_differences
from eprli_lab.reporting.tables.numbers import difference_text
from eprli_lab.tracking import names

UNEQUAL_UPDATES = 0.10  # relative; 37% more updates explained half of a curriculum's gain in early runs
EQUAL_TOKENS = 0.05  # relative; arms that spent the same budget differ by the overshoot of a step


def inactive_arms(study: StudyData, baseline: str | None, outcomes: Rows) -> list[Finding]:
    """Arms whose runs are the baseline's, number for number: what they change never acted.

    Number for number: every logged metric but those of the clock, and where both are at hand the evaluated problems.
    """
    out = []
    for arm, base in baselines(study, baseline).items():
        pairs = [(a, b) for a in study.of(arm) for b in study.of(base) if a.seed == b.seed]
        differ = [
            a for a, b in pairs if {a.run_id, b.run_id} <= outcomes.keys() and outcomes[a.run_id] != outcomes[b.run_id]
        ]
        if any(a.histories for a, _ in pairs) and not differ and is_identical(study, arm, base):
            seeds = counted(len(pairs), "common seed")
            sentence = (
                f"{arm}: logged the numbers of {base} at all {seeds} (every metric but the clock's): what it changes "
                f"never acted, so it says nothing of it; see how the arms differ in their configuration"
            )
            out.append(Finding("inert_arm", arm, "", sentence))
    return out


def unequal_updates(study: StudyData, baseline: str | None) -> list[Finding]:
    """Arms that spent as many tokens as their baseline and made more or fewer updates."""
    out = []
    for arm, base in baselines(study, baseline).items():
        common = {r.seed for r in study.of(arm)} & {r.seed for r in study.of(base)}
        tokens, updates = (
            [mean([v for s, v in last_by_seed(study, a, metric).items() if s in common]) for a in (arm, base)]
            for metric in (names.TOKENS, names.UPDATES)
        )
        if not all(v > 0 for v in tokens + updates) or abs(tokens[0] / tokens[1] - 1) > EQUAL_TOKENS:
            continue
        ratio = updates[0] / updates[1] - 1
        over_seeds = difference(study, arm, base, names.UPDATES)
        # 13% apart were two arms of the same config at four seeds
        may_be_chance = not over_seeds.is_judged or over_seeds.low <= 0 <= over_seeds.high
        if abs(ratio) > UNEQUAL_UPDATES and not may_be_chance:
            sentence = (
                f"{arm} made {abs(ratio):.0%} {'more' if ratio > 0 else 'fewer'} updates than {base} ({updates[0]:.1f} "
                f"against {updates[1]:.1f}) on as many tokens: part of its difference may be the number of updates; "
                f"{_as_many_updates(study, arm, base, updates[0])}"
            )
            out.append(Finding("unequal_updates", arm, "", sentence))
    return out


def _as_many_updates(study: StudyData, arm: str, base: str, updates: float) -> str:
    """What to compare an arm with that made so many updates: the study's own arm, where it has one."""
    for other in study.arms:
        runs = study.of(other)
        if other in (arm, base) or not runs or not study.of(base):
            continue
        changes = config_differences(runs, study.of(base))
        is_base = bool(changes) and all(change.startswith("budget.") for change in changes)
        made = mean(list(last_by_seed(study, other, names.UPDATES).values()))
        if is_base and abs(made / updates - 1) <= UNEQUAL_UPDATES:
            d = difference(study, arm, other, study.objective)
            return f"{other} is {base} with as many ({made:.1f}): against it {arm} is at {difference_text(d)}"
    waiting = [
        other
        for other, values in study.description.after.items()
        if f"{arm} {names.UPDATES}" in values.values() and not study.of(other)
    ]
    if waiting:
        return f"{waiting[0]}, which is to make as many, has no finished run yet"
    return "compare an arm with as many updates"


def too_few_seeds(study: StudyData, baseline: str | None, margin: float) -> list[Finding]:
    """Arms of which neither a difference nor its absence is shown, and what it would take."""
    pairs = baselines(study, baseline)
    differences = {arm: difference(study, arm, base, study.objective) for arm, base in pairs.items()}
    compared = [(arm, base, study.objective) for arm, base in pairs.items()]
    p_holm = dict(zip(differences, corrected_p(study, compared, differences.values()), strict=True))
    out = []
    for arm, d in differences.items():
        by_seed, base_by_seed = (last_by_seed(study, a, study.objective) for a in (arm, pairs[arm]))
        is_same = d.is_judged and is_equivalent(study, arm, pairs[arm], study.objective, margin)
        if d.n == 0 or p_holm[arm] < ALPHA or is_same or is_identical(study, arm, pairs[arm]):
            continue
        head = f"{arm} against {pairs[arm]}: {d.mean:+.3f} in {study.objective} over {d.n} common seed"
        if not d.is_judged or math.isnan(d.p):
            why = "s without spread shows nothing"
            if not d.is_judged:
                few = ": one seed shows nothing" if d.n == 1 else "s: two seeds are shown, not judged"
                why = f"{few}; run three or more"
            out.append(Finding("few_seeds", arm, "", head + why))
            continue
        sd = paired_sd(by_seed, base_by_seed)
        many = comparisons(differences.values())
        least = minimum_detectable_effect(sd, d.n, comparisons=many)
        needed = seeds_needed(margin, sd, comparisons=many)
        low, high = seeds_range(margin, sd, d.n, many)
        sentence = (
            f"{head}s shows neither a difference nor, within {margin:g}, its absence: minimum detectable effect "
            f"{least:.3f} at power {POWER:g} with {d.n} seeds (after Holm over {many}); for {margin:g} "
            f"it takes about {seeds_text(needed)} seeds ({seeds_text(low)} to {seeds_text(high)}, as far as {d.n} "
            f"differences tell their spread)"
        )
        out.append(Finding("few_seeds", arm, "", sentence))
    return out
