"""The three checks that readers of the paper ask for: one level against two, shared weights, what the buffer keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from eprli_lab.errors import UserError, nearest
from eprli_lab.reporting.diagnosis.finding import equivalence_margin
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import last_by_seed, suite_effects
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.reporting.stats.power import equivalence
from eprli_lab.reporting.tables.numbers import difference_text, fraction, number, p_text
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.reporting.tables.verdicts import ALPHA

# check -> its sweep, the arms that it is about (the first of each pair is the reference)
CHECKS = {"levels": ("levels", ("l1", "l2")), "sharing": ("sharing", ()), "buffer": ("levels", ())}


def restricted(study: StudyData, arms: Sequence[str]) -> StudyData:
    """The study with these arms only, its baseline the first of them. Raises UserError for an arm without runs."""
    for arm in arms:
        if arm not in study.arms:
            raise UserError(f"arms={arm}: {study.name} has no such arm{nearest(arm, study.arms)}")
        if not study.of(arm):
            raise UserError(f"arms={arm}: {study.name} has no finished run of it: run the sweep again, it goes on")
    named = {**study.description, "arms": list(arms), "baseline": arms[0], "arm_baselines": {}}
    runs = [r for r in study.runs if r.arm in arms]
    return replace(study, description=named, runs=runs, unfinished=[u for u in study.unfinished if u.arm in arms])


def compare(study: StudyData, margin: float | None = None) -> list[str]:
    """A line an arm and metric: paired difference, and whether a difference or its absence is shown.

    p is Holm-corrected: of the objective over the arms, of the suites over arms and suites.
    """
    table, by_suite, lines = ablation_table(study), suite_effects(study), []
    for row in table.rows:
        if row.difference is None:
            continue
        found = [(study.objective, row.difference, row.p_holm)]
        found += [(f"eval/{e.suite}/{e.metric}", e.difference, e.p_holm) for e in by_suite if e.arm == row.arm]
        for metric, d, p in found if row.difference.n else ():
            mine, theirs = (last_by_seed(study, a, metric) for a in (row.arm, row.baseline))
            least = equivalence_margin(study, metric, margin)
            same = equivalence(mine, theirs, least)
            said = "no difference shown" if d.n > 1 else "one seed shows nothing"
            if d.distinguishable:
                said = "different" if p < ALPHA else "different by itself, not after correction"
                said += f" (p {p_text(p)})"
            if d.identical:
                said = "identical at every seed"
            elif same.equivalent:
                said = f"{said}, but by less than {least:g}" if d.distinguishable else f"no difference beyond {least:g}"
            seeds = f"{d.n} common seed{'s' if d.n != 1 else ''}"
            lines.append(f"{row.arm} - {row.baseline}, {metric}: {difference_text(d)} over {seeds}: {said}")
        if not row.difference.n:
            lines.append(f"{row.arm} - {row.baseline}: no seed in common, so nothing is compared")
            continue
        updates = [mean(list(last_by_seed(study, a, "progress/updates").values())) for a in (row.arm, row.baseline)]
        lines.append(f"{row.arm} - {row.baseline}, updates made: {number(updates[0], 1)} and {number(updates[1], 1)}")
    return lines


def utilisation(study: StudyData) -> list[str]:
    """A line an arm and level: shares of the verdicts, and the variance of rewards within and between groups."""
    lines = []
    for arm in study.arms:
        runs = study.of(arm)
        for level in study.levels:
            counts = {
                v: math.fsum(t for r in runs if math.isfinite(t := r.total(f"buffer/{level}/groups/{v}")))
                for v in ("generated", "admitted", "too_hard", "too_easy", "no_signal")
            }
            if not counts["generated"]:
                continue
            generated = counts.pop("generated")
            shares = ", ".join(f"{v.replace('_', ' ')} {fraction(n / generated)}" for v, n in counts.items())
            kinds = ("within", "between")
            within, between = (mean([r.mean(f"buffer/{level}/reward_variance/{k}") for r in runs]) for k in kinds)
            groups = f"{arm}, level {level}: {generated:.0f} groups: {shares}"
            lines.append(f"{groups}; reward variance within {fraction(within)}, between {fraction(between)}")
    return lines
