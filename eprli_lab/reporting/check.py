"""The three checks that readers of the paper ask for: one level against two, shared weights, what the buffer keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eprli_lab.errors import UserError, counted, nearest
from eprli_lab.records import Verdict
from eprli_lab.reporting.derived import generated_groups, reward_variance, verdict_counts
from eprli_lab.reporting.diagnosis.finding import equivalence_margin
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import is_equivalent, last_by_seed, suite_effects
from eprli_lab.reporting.stats.paired import ALPHA, PairedDifference, mean
from eprli_lab.reporting.tables.arm import ArmRow
from eprli_lab.reporting.tables.numbers import difference_text, fraction, number, p_text
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.reporting.tables.verdicts import NOT_JUDGED, contrast_lines, examination_note, looks_note
from eprli_lab.tracking import names
from eprli_lab.tracking.description import Contrast

# check -> its sweep, the arms that it is about (the first of each pair is the reference)
CHECKS = {"levels": ("levels", ("l1", "l2")), "sharing": ("sharing", ()), "buffer": ("levels", ())}
SHOWN: tuple[Verdict, ...] = ("admitted", "too_hard", "too_easy", "no_signal")  # verdicts of a line of `utilisation`


def restricted(study: StudyData, arms: Sequence[str]) -> StudyData:
    """The study with these arms only, its baseline the first of them. Raises UserError for an arm without runs."""
    for arm in arms:
        if arm not in study.arms:
            raise UserError(f"arms={arm}: {study.name} has no such arm{nearest(arm, study.arms)}")
        if not study.of(arm):
            raise UserError(f"arms={arm}: {study.name} has no finished run of it: run the sweep again, it goes on")
    contrasts = tuple(c for c in study.description.contrasts if set(Contrast.of(c)) <= set(arms))
    changed = {"arms": tuple(arms), "baseline": arms[0], "arm_baselines": {}, "contrasts": contrasts}
    description = study.description.model_copy(update=changed)
    runs = [r for r in study.runs if r.arm in arms]
    return replace(study, description=description, runs=runs, unfinished=[u for u in study.unfinished if u.arm in arms])


def compare(study: StudyData, margin: float | None = None) -> list[str]:
    """A line an arm and metric: paired difference, and whether a difference or its absence is shown.

    Interval and first p are of the comparison by itself; the second p is Holm-corrected: of the objective over the
    arms, of the suites over arms and suites.
    """
    table = ablation_table(study)
    by_suite = suite_effects(study)
    lines = list(filter(None, [examination_note(table), looks_note(table)]))
    lines += [f"{name}, {study.objective}: {sentence}" for name, sentence in contrast_lines(table)]
    for row in table.rows:
        if row.difference is None:
            continue
        pair = f"{row.arm} - {row.baseline}"
        if not row.difference.n:
            lines.append(f"{pair}: no seed in common, so nothing is compared")
            continue
        compared = [(study.objective, row.difference, row.p_holm)]
        compared += [
            (names.evaluation(e.suite, e.metric), e.difference, e.p_holm) for e in by_suite if e.arm == row.arm
        ]
        for metric, d, p in compared:
            seeds = counted(d.n, "common seed")
            shown = _what_is_shown(study, row, metric, d, p, margin)
            lines.append(f"{pair}, {metric}: {difference_text(d)} over {seeds}: {shown}")
        updates = [mean(list(last_by_seed(study, a, names.UPDATES).values())) for a in (row.arm, row.baseline)]
        lines.append(f"{pair}, updates made: {number(updates[0], 1)} and {number(updates[1], 1)}")
    return lines


def _what_is_shown(
    study: StudyData, row: ArmRow, metric: str, difference: PairedDifference, p: float, margin: float | None
) -> str:
    """A difference, its absence within the margin, or neither. `p`: Holm-corrected."""
    if difference.identical:
        return "identical in every logged metric" if row.is_identical else "equal at every seed"
    if not difference.is_judged:
        return "one seed shows nothing" if difference.n == 1 else NOT_JUDGED
    out = "no difference shown"
    if difference.distinguishable:
        out = "different" if p < ALPHA else "different by itself, not after correction"
        out += f" (p {p_text(difference.p)}, {p_text(p)} after Holm)"
    least = equivalence_margin(study, metric, margin)
    if is_equivalent(study, row.arm, row.baseline, metric, least):
        return f"{out}, but by less than {least:g}" if difference.distinguishable else f"no difference beyond {least:g}"
    return out


def utilisation(study: StudyData) -> list[str]:
    """A line an arm and level: shares of the verdicts, and the variance of rewards within and between groups."""
    lines = []
    for arm in study.arms:
        runs = study.of(arm)
        for level in study.levels:
            counts = verdict_counts(runs, level)
            generated = generated_groups(runs, level)
            if not generated:
                continue
            shares = ", ".join(f"{v.replace('_', ' ')} {fraction(counts[v] / generated)}" for v in SHOWN)
            within, between = (reward_variance(runs, level, kind) for kind in ("within", "between"))
            groups = f"{arm}, level {level}: {generated:.0f} groups: {shares}"
            lines.append(f"{groups}; reward variance within {fraction(within)}, between {fraction(between)}")
    return lines
