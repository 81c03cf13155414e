"""Findings between arms: arms that never acted, unequal updates, too few seeds."""

from __future__ import annotations

import math

from eprli_lab.reporting.diagnosis.finding import Finding
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import baselines, difference, last_by_seed
from eprli_lab.reporting.stats.paired import ALPHA, holm, mean, paired_sd
from eprli_lab.reporting.stats.power import (
    comparisons,
    equivalence,
    minimum_detectable_effect,
    seeds_needed,
    seeds_range,
    seeds_text,
)
from eprli_lab.tracking import names

UNEQUAL_UPDATES = 0.10  # relative; 37% more updates explained half of a curriculum's gain in early runs
EQUAL_TOKENS = 0.05  # relative; arms that spent the same budget differ by the overshoot of a step


def inactive_arms(study: StudyData, baseline: str | None) -> list[Finding]:
    """Arms whose runs are the baseline's, number for number: what they change never acted."""
    out = []
    metrics = [study.objective, *map(names.accuracy, study.suites), names.TOKENS, names.UPDATES]
    for arm, base in baselines(study, baseline).items():
        pairs = [(last_by_seed(study, arm, m), last_by_seed(study, base, m)) for m in metrics]
        common = pairs[0][0].keys() & pairs[0][1].keys()
        known = [(a[s], b[s]) for a, b in pairs for s in common if not math.isnan(a[s]) or not math.isnan(b[s])]
        if known and all(a == b for a, b in known):
            seeds = f"{len(common)} common seed{'s' if len(common) > 1 else ''}"
            sentence = (
                f"{arm}: ended with the numbers of {base} at all {seeds} (scores, tokens, updates): what it changes "
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
        # 13% apart were two arms of the same config at four seeds; one seed shows nothing
        may_be_chance = over_seeds.n < 2 or over_seeds.low <= 0 <= over_seeds.high
        if abs(ratio) > UNEQUAL_UPDATES and not may_be_chance:
            sentence = (
                f"{arm} made {abs(ratio):.0%} {'more' if ratio > 0 else 'fewer'} updates than {base} ({updates[0]:.1f} "
                f"against {updates[1]:.1f}) on as many tokens: part of its difference may be the number of updates; "
                f"compare an arm with as many updates"
            )
            out.append(Finding("unequal_updates", arm, "", sentence))
    return out


def too_few_seeds(study: StudyData, baseline: str | None, margin: float) -> list[Finding]:
    """Arms of which neither a difference nor its absence is shown, and what it would take."""
    pairs = baselines(study, baseline)
    differences = {arm: difference(study, arm, base, study.objective) for arm, base in pairs.items()}
    corrected = dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))
    out = []
    for arm, d in differences.items():
        by_seed, base_by_seed = (last_by_seed(study, a, study.objective) for a in (arm, pairs[arm]))
        if d.n == 0 or corrected[arm] < ALPHA or equivalence(by_seed, base_by_seed, margin).equivalent:
            continue
        head = f"{arm} against {pairs[arm]}: {d.mean:+.3f} in {study.objective} over {d.n} common seed"
        if d.n == 1 or math.isnan(d.p):
            why = ": one seed shows nothing; run three or more" if d.n == 1 else "s without spread shows nothing"
            out.append(Finding("few_seeds", arm, "", head + why))
            continue
        sd = paired_sd(by_seed, base_by_seed)
        many = comparisons(differences.values())
        least = minimum_detectable_effect(sd, d.n, comparisons=many)
        needed = seeds_needed(margin, sd, comparisons=many)
        low, high = seeds_range(margin, sd, d.n, many)
        sentence = (
            f"{head}s shows neither a difference nor, within {margin:g}, its absence: so few seeds find one of "
            f"{least:.3f} in four studies of five (after Holm over {many}); for {margin:g} it takes about "
            f"{seeds_text(needed)} seeds ({seeds_text(low)} to {seeds_text(high)}, as far as {d.n} differences know "
            f"their spread)"
        )
        out.append(Finding("few_seeds", arm, "", sentence))
    return out
