"""What may be said of differences, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable

from eprli_lab.errors import counted
from eprli_lab.reporting.looked import StudyLooks
from eprli_lab.reporting.stats.effects import ContrastEffect
from eprli_lab.reporting.stats.paired import ALPHA, JUDGED, PairedDifference
from eprli_lab.reporting.tables.arm import ArmRow, Comparison
from eprli_lab.reporting.tables.numbers import difference_text, p_text, signed

NOT_JUDGED = "two seeds are shown, not judged"


def is_significant(row: ArmRow) -> bool:
    """Three common seeds, an interval without zero, p below 5% after Holm: the rule of every sentence on an arm."""
    return row.difference is not None and row.difference.distinguishable and row.p_holm < ALPHA


def verdict(
    row: ArmRow, baseline: str, objective: str, direction: str = "maximize", looks: StudyLooks | None = None
) -> str:
    """One sentence on an arm's difference; one that the interval cannot tell from zero is said to be so."""
    d = row.difference
    if d is None or d.n == 0:
        return f"no seed in common with {baseline}, so no comparison"
    if d.identical and row.is_identical:
        return f"{_measured(d, objective)}: identical in every logged metric, so what differs never acted on it"
    correction = correction_of(row.family, "arms", looks)
    return _unjudged(d, objective, looks) or _verdict(d, row.p_holm, correction, baseline, objective, direction)


def correction_of(family: int, what: str, looks: StudyLooks | None) -> str:
    """What p is corrected for, in words; "": one comparison at one look, whose p needs no correction."""
    holm = f"Holm over {family} {what}" if family > 1 else ""
    many = f"{len(looks.taken)} look{'s' if len(looks.taken) > 1 else ''}" if looks is not None else ""
    return " and ".join(filter(None, [many, holm]))


def _unjudged(d: PairedDifference, objective: str, looks: StudyLooks | None) -> str:
    """The sentence on a difference that the looks do not let judge; "" of all others."""
    if looks is None or not looks.waits:
        return ""
    return f"{signed(d.mean)} in {objective} over {counted(d.n, 'common seed')}: {looks.waits}"


def _verdict(
    d: PairedDifference, p_holm: float, correction: str, baseline: str, objective: str, direction: str = "maximize"
) -> str:
    """`correction`: what p is corrected for, in words; "": its p needs none."""
    if d.n == 1:
        return f"{signed(d.mean)} in {objective} on one common seed: no interval, so nothing can be said"
    if math.isnan(d.low):
        return f"{signed(d.mean)} in {objective} on each of {d.n} common seeds: without spread there is no interval"
    word, tests = judgement(d, p_holm, correction, baseline, objective, direction)
    return f"{_measured(d, objective)}: {word}" + (f" ({tests})" if tests else "")


def judgement(
    d: PairedDifference, p_holm: float, correction: str, baseline: str, objective: str, direction: str
) -> tuple[str, str]:
    """What may be said of a difference that has an interval, and its p; "" where it is not better or worse.

    `correction`: what p is corrected for, in words; "": its p needs none.
    """
    if d.identical:
        return f"equal in {objective} at every seed, not in every other metric", ""
    if not d.is_judged:
        return NOT_JUDGED, ""
    if not d.distinguishable and p_holm < ALPHA:
        return f"told apart from {baseline} at an earlier look (p {p_text(p_holm)}), not at this one", ""
    if not d.distinguishable:
        return "not distinguishable from zero", ""
    better = "better" if (d.mean > 0) == (direction == "maximize") else "worse"
    p = f"p {p_text(d.p)}" + (f", {p_text(p_holm)} after {correction}" if correction else "")
    than = f"than {baseline}" if p_holm < ALPHA else "by itself, not after correction"
    return f"{better} {than}", p


def _measured(d: PairedDifference, objective: str) -> str:
    return f"{difference_text(d)} in {objective} over {counted(d.n, 'common seed')}"


def verdicts(table: Comparison, row: ArmRow) -> str:
    """The headline's sentence, and a short one for each further objective."""
    objective, direction = table.study.objectives[0]
    out = examined(table, (row.arm,)) + verdict(row, row.baseline, objective, direction, table.study.looks)
    for metric, way in table.study.objectives[1:]:
        out += f"; {metric} {difference_text(row.secondary[metric])}: {_short_verdict(row, metric, way)}"
    return out


def _short_verdict(row: ArmRow, metric: str, direction: str) -> str:
    d = row.secondary[metric]
    if d.identical:
        return "equal at every seed"
    if math.isnan(d.low):
        return "no comparison"
    if not d.is_judged:
        return NOT_JUDGED
    if not d.distinguishable:
        return "not distinguishable from zero"
    better = "better" if (d.mean > 0) == (direction == "maximize") else "worse"
    p = row.secondary_p[metric]
    is_corrected = p != d.p  # of one comparison there is nothing to correct
    text = f"p {p_text(d.p)}" + (f", {p_text(p)} after Holm" if is_corrected else "")
    return f"{better} ({text})" if p < ALPHA else f"{better} by itself, not after correction ({text})"


def contrast_verdict(table: Comparison, effect: ContrastEffect) -> str:
    """One sentence on a contrast that the study names; p is corrected over its contrasts, a family of their own."""
    objective, direction = table.study.objectives[0]
    d = effect.difference
    if d.n == 0:
        missing = [arm for arm in effect.contrast if not table.study.of(arm)]
        why = f"no finished run of {' and none of '.join(missing)}" if missing else "no seed in common"
        return f"left out: {why}"
    looks = table.study.looks
    correction = correction_of(effect.family, "contrasts", looks)
    sentence = _unjudged(d, objective, looks) or _verdict(
        d, effect.p_holm, correction, effect.contrast.reference, objective, direction
    )
    return examined(table, effect.contrast) + sentence


def contrast_lines(table: Comparison) -> list[tuple[str, str]]:
    """(contrast, its sentence) of all that the study names."""
    return [(str(effect.contrast), contrast_verdict(table, effect)) for effect in table.contrasts]


def examined(table: Comparison, arms: Iterable[str]) -> str:
    """Goes before a sentence on arms that were examined differently; "" where they were not."""
    keys = dict.fromkeys(key for arm in arms for key in table.examined_differently(arm))
    if not keys and not table.study.description.varies_evaluation:
        return ""
    return f"examined differently{f' ({_few(list(keys))})' if keys else ''}: "


def examination_note(table: Comparison) -> str:
    """What every table of arms that are examined differently says first; "" of all others."""
    keys = dict.fromkeys(key for row in table.rows for key in table.examined_differently(row.arm))
    allowed = table.study.description.varies_evaluation
    if not keys and not allowed:
        return ""
    what = f"the arms differ in {_few(list(keys))}" if keys else "the arms may differ in how they are examined"
    by = " (study.varies_evaluation=true)" if allowed else ""
    return f"Examined differently: {what}{by}, so that a difference may be one of the examination."


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def looks_note(table: Comparison) -> str:
    """What every table of a study that is looked at early says of it; "" of all others."""
    return table.study.looks.line if table.study.looks is not None else ""


def headline(table: Comparison) -> str:
    """The contrasts that the study names; then how many arms it tells apart from their baselines, and which."""
    contrasts = [f"{name}: {sentence}." for name, sentence in contrast_lines(table)]
    parts = [examination_note(table), looks_note(table), *contrasts, arms_headline(table)]
    return " ".join(filter(None, parts))


def arms_headline(table: Comparison) -> str:
    """How many arms can be told apart from their baselines, and which."""
    compared = [r for r in table.rows if r.difference is not None and r.difference.n]
    if len(table.rows) < 2:
        return "There is one arm, so nothing is compared."
    if not compared:
        return "No arm has a seed in common with a baseline, so nothing is compared."
    is_more_better = table.study.objectives[0][1] == "maximize"
    bases = {r.baseline for r in compared}
    base = bases.pop() if len(bases) == 1 else "their baselines"
    if table.study.looks is not None and table.study.looks.waits:
        return f"Differences are shown, {table.study.looks.waits}."
    if not any(r.difference is not None and r.difference.is_judged for r in compared):
        return f"No arm has {JUDGED} seeds in common with {base}: differences are shown, none is judged."
    significant = [
        f"{r.arm} ({'better' if (r.difference.mean > 0) == is_more_better else 'worse'})"
        for r in compared
        if r.difference is not None and is_significant(r)
    ]
    arms = f"{len(significant) or 'None'} of {len(compared)} arms" if len(compared) > 1 else "The arm"
    is_not = "" if significant or len(compared) > 1 else "not"
    which = f": {', '.join(significant)}" if significant else ""
    return f"{arms} can{is_not} be told apart from {base} in {table.study.objective}{which}."


def family_note(table: Comparison) -> str:
    """Which comparisons the interval and the two p of a table are of; "" where nothing is compared."""
    many = max((row.family for row in table.rows), default=0)
    if not any(row.difference is not None and row.difference.n for row in table.rows):
        return ""
    looks = table.study.looks
    if looks is not None:
        over = f" and over {many} comparisons" if many > 1 else ""
        return (
            f"[95%]: repeated confidence intervals, each comparison by itself: they hold 95% over all looks together; "
            f"p (raw): of the newest look alone; p (Holm): corrected for the looks{over}, where there are {JUDGED} "
            "common seeds or more; better, worse and bold rest on it"
        )
    over = f"corrected over {counted(many, 'comparison')}" if many else "corrected"
    return (
        f"[95%] and p (raw): each comparison by itself, uncorrected; p (Holm): {over}, where there are {JUDGED} "
        "common seeds or more; better, worse and bold rest on it"
    )
