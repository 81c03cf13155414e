"""What a page says first: each comparison in a sentence that can be quoted, and the effect that could be detected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from eprli_lab.reporting.looked import StudyLooks
from eprli_lab.reporting.report.parts import Answer
from eprli_lab.reporting.stats.effects import last_by_seed
from eprli_lab.reporting.stats.paired import PairedDifference, paired_sd
from eprli_lab.reporting.stats.power import POWER, comparisons, minimum_detectable_effect
from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.reporting.tables.numbers import difference_text, fraction, signed
from eprli_lab.reporting.tables.verdicts import contrast_verdict, correction_of, examined, judgement, verdict

ANSWERS = 6  # comparisons that a headline holds; of more arms only the count stands there


class Detectable(NamedTuple):
    """One comparison, and the true difference that its seeds find in four studies of five."""

    arm: str
    reference: str
    difference: PairedDifference
    sd: float  # of the differences, over seeds
    effect: float  # nan: there is no spread to tell
    family: str  # what it is corrected over


def answers(table: Comparison) -> list[Answer]:
    """Of the contrasts that the study names; without any of its arms, where they are few."""
    objective, direction = table.study.objectives[0]
    looks = table.study.looks
    out = []
    for e in table.contrasts:
        arm, reference = e.contrast
        says = contrast_verdict(table, e)
        over = correction_of(e.family, "contrasts", looks)
        out.append(_answer(arm, reference, e.difference, e.p_holm, over, objective, direction, says, looks))
    compared = [r for r in table.rows if r.difference is not None]
    if out or len(compared) > ANSWERS:
        return out
    for r in compared:
        says = examined(table, (r.arm,)) + verdict(r, r.baseline, objective, direction, looks)
        over = correction_of(r.family, "arms", looks)
        if r.difference is not None:
            out.append(_answer(r.arm, r.baseline, r.difference, r.p_holm, over, objective, direction, says, looks))
    return out


def _answer(
    arm: str,
    reference: str,
    d: PairedDifference,
    p_holm: float,
    over: str,
    objective: str,
    direction: str,
    says: str,
    looks: StudyLooks | None,
) -> Answer:
    """`says`: the sentence of the table, where nothing can be quoted."""
    name = f"{arm} - {reference}"
    if not d.n or math.isnan(d.low) or d.identical or (looks is not None and looks.waits):
        return Answer(name, f"{name}: {says}", "")
    word, p = judgement(d, p_holm, over, reference, objective, direction)
    if p and over:
        p = p.replace(",", " uncorrected,", 1)
    more = "higher" if d.mean > 0 else "lower"
    size = fraction(abs(d.mean))
    what = f"scores {size} {more}" if objective == "score" else f"is {size} {more} in {objective}"
    interval = f"95% CI of the difference {signed(d.low)} to {signed(d.high)}"
    warned = f"{says.partition(': ')[0]}: " if says.startswith("examined differently") else ""
    return Answer(name, f"{warned}{arm} {what} than {reference} ({interval}; {d.n} common seeds)", word, p)


def detectable(table: Comparison) -> Iterator[Detectable]:
    """Of every contrast that the study names, then of every arm that is compared."""
    named = [(*e.contrast, e.difference) for e in table.contrasts]
    arms = [(r.arm, r.baseline, r.difference) for r in table.rows if r.difference is not None]
    for several, name in ((named, "contrasts"), (arms, "arms")):
        many = comparisons(d for _, _, d in several)
        family = f"{many} {name}" if many > 1 else ""
        for arm, reference, d in several:
            sd = paired_sd(*(last_by_seed(table.study, a, table.study.objective) for a in (arm, reference)))
            effect = minimum_detectable_effect(sd, d.n, comparisons=many) if sd > 0 else math.nan
            yield Detectable(arm, reference, d, sd, effect, family)


def detectable_block(table: Comparison) -> TableBlock | None:
    """What the figure of the effects shows, in numbers; None where no comparison has two seeds that differ."""
    found = [f for f in detectable(table) if math.isfinite(f.effect)]
    if not found:
        return None
    rows = []
    for f in found:
        d = f.difference
        rows.append([
            Cell(f"{f.arm} - {f.reference}"),
            Cell(difference_text(d), d.mean, parts={"low": d.low, "high": d.high}),
            Cell(fraction(f.effect), f.effect), Cell(f.family or "one comparison"),
        ])  # fmt: skip
    note = (
        "[95%]: each comparison by itself, uncorrected. Minimum detectable effect: the true difference that these "
        f"seeds find with power {fraction(POWER, 1)}, corrected over the comparisons that are named."
    )
    header = ["comparison", "difference [95%]", "minimum detectable effect", "corrected over"]
    return TableBlock("effects in numbers", header, rows, note=note)


def detectable_sentence(table: Comparison) -> str:
    """The headline's effect that could be detected; "" where none is known."""
    found = [f for f in detectable(table) if math.isfinite(f.effect)]
    if not found:
        return ""
    first = found[0]
    n = first.difference.n
    effects = sorted(f.effect for f in found)
    least, most = fraction(effects[0]), fraction(effects[-1])
    rest = f"; over all comparisons {least} to {most}" if len(found) > 1 and least != most else ""
    of = f" ({first.arm} - {first.reference}{rest})" if len(found) > 1 else ""
    return f"Minimum detectable effect {fraction(first.effect)} at power {fraction(POWER, 1)} with {n} seeds{of}."
