"""Tables of a report on levels and on compute: does Q order accuracy, and what would more tokens buy?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eprli_lab.reporting.compute import SHARE, compute_curves
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.aggregates import Estimate
from eprli_lab.reporting.stats.paired import mean, paired_difference
from eprli_lab.reporting.stats.scaling import Scaling
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.reporting.tables.numbers import fraction
from eprli_lab.tracking import names

Z = 1.96  # of a 95% interval
ENDS = {"before": RunData.first, "after": RunData.last}  # training


def thresholds(runs: Sequence[RunData]) -> dict[str, float]:
    """Level -> Q_l of the levels whose held-out accuracy these runs logged, from easy to hard."""
    known: dict[str, float] = {}
    for run in runs:
        for level in {names.level_of(k) for k in run.histories if names.is_heldout(k)} - {None}:
            text = run.params.get(f"curriculum.levels.{level}.quality_threshold", "")
            try:
                known[str(level)] = float(text)
            except ValueError:
                known[str(level)] = math.nan
    return dict(sorted(known.items(), key=lambda item: (math.isnan(item[1]), item[1], item[0])))


def falls(easier: Mapping[int, float], harder: Mapping[int, float], problems: tuple[float, float]) -> str:
    """yes, no or not shown: is accuracy lower on the harder level? By the wider of two 95% intervals.

    Binomial over the problems of each level, which all seeds share, and the paired t interval over seeds.
    """
    d = paired_difference(easier, harder)
    if not math.isfinite(d.mean) or not all(n > 0 for n in problems):
        return "-"
    shares = (mean(list(easier.values())), mean(list(harder.values())))
    variance = math.fsum(max(p * (1 - p), 1 / n) / n for p, n in zip(shares, problems, strict=True))
    half = Z * math.sqrt(variance)
    if math.isfinite(d.low):
        half = max(half, (d.high - d.low) / 2)
    return "yes" if d.mean > half else "no" if d.mean < -half else "not shown"


def levels_block(study: StudyData) -> TableBlock | None:
    """A row an arm and level: Q_l, held-out problems of D_l, accuracy before and after; None where none was logged."""
    rows = []
    ids = []
    of_arms: dict[str, dict[str, list[str]]] = {end: {} for end in ENDS}  # answer -> arms
    for arm in study.arms:
        runs = study.of(arm)
        tops = thresholds(runs)
        accuracy = {
            (lv, e): {r.seed: of(r, names.heldout_accuracy(lv)) for r in runs} for lv in tops for e, of in ENDS.items()
        }
        counts = {lv: mean([r.first(names.heldout(lv, "problems")) for r in runs]) for lv in tops}
        answers: dict[str, list[str]] = {end: [] for end in ENDS}
        easier = ""
        for level, top in tops.items():
            cells = [Cell("-")] * len(ENDS)
            if easier:
                for i, end in enumerate(ENDS):
                    answers[end].append(
                        falls(accuracy[easier, end], accuracy[level, end], (counts[easier], counts[level]))
                    )
                    cells[i] = Cell(answers[end][-1])
            before, after = (mean(list(accuracy[level, end].values())) for end in ENDS)
            rows.append([
                Cell(arm), Cell(level), Cell(fraction(top), top), Cell(f"{counts[level]:,.0f}", counts[level]),
                Cell(f"{fraction(before)} → {fraction(after)}", after), *cells,
            ])  # fmt: skip
            ids.append(" ".join(r.run_id for r in runs))
            easier = level
        for end, found in answers.items():
            if found:
                of_arms[end].setdefault(_together(found), []).append(arm)
    if not rows:
        return None
    header = [
        "arm",
        "level",
        "Q_l",
        "problems",
        "accuracy, before → after",
        "lower than l - 1, before",
        "lower than l - 1, after",
    ]
    return TableBlock("does Q order accuracy?", header, rows, ids, f"{_sentence(of_arms)}{NOTE}", filter=len(rows) > 6)


NOTE = (
    "Held-out problems of exactly D_l (Q_{l-1} < d <= Q_l), all suites together, means over seeds. lower than l - 1: "
    "is it lower than on the level before, by the wider of two 95% intervals, binomial over problems and t over seeds?"
)


def _together(answers: Sequence[str]) -> str:
    """yes where every step falls, no where one rises."""
    return "yes" if set(answers) == {"yes"} else "no" if "no" in answers else "not shown"


def _sentence(of_arms: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Does accuracy fall from each level to the next, before and after training, arm by arm?"""
    parts = []
    for end, arms in of_arms.items():
        said = [f"{answer} in {', '.join(arms[answer])}" for answer in ("yes", "no", "not shown") if answer in arms]
        parts += [f"{end.capitalize()} training: {'; '.join(said)}"] if said else []
    return f"Does accuracy fall from each level to the next? {'. '.join(parts)}. " if parts else ""


def compute_block(study: StudyData) -> TableBlock | None:
    """A row an arm: asymptote, tokens to half of the gain, tokens to a score, or why not; None without evaluations."""
    curves = compute_curves(study)
    if not curves.of:
        return None
    rows = []
    for arm, found in curves.of.items():
        nothing = Estimate(math.nan, math.nan, math.nan, len(curves.runs[arm]))
        asymptote, midpoint, reached = nothing, nothing, nothing
        if isinstance(found, Scaling):
            asymptote, midpoint, reached = found.asymptote, found.midpoint, found.tokens_to(curves.target)
        points = min(len(r.tokens) for r in curves.runs[arm])
        rows.append([
            Cell(arm), Cell(f"{nothing.n} x {points}", nothing.n * points),
            Cell(_accuracy(asymptote), asymptote.value), Cell(_tokens(midpoint), midpoint.value),
            Cell(_tokens(reached), reached.value), Cell(_remark(found), words=True),
        ])  # fmt: skip
    score = fraction(curves.target)
    header = ["arm", "seeds x evaluations", "asymptote [95%]", "tokens to half the gain [95%]"]
    header += [f"tokens to {score} [95%]" if curves.slowest else "tokens to x", "remark"]
    return TableBlock(
        "what more compute would buy", header, rows, note=_compute_note(curves.slowest, score, curves.metric)
    )


def _compute_note(slowest: str, score: str, metric: str) -> str:
    x = f" {score}: {SHARE:.0%} of the way that {slowest} came, which gained least of the arms with a curve."
    return (
        "R(C) = R0 + (A - R0) / (1 + (C_mid / C)^B) over generated training tokens C (arXiv 2510.13786), through the "
        f"evaluations of all seeds of an arm ({metric}); R0 is measured. [95%]: whole seeds resampled, t for their "
        "number; nothing is corrected for the number of arms. A curve without an asymptote holds between its "
        f"evaluations only.{x if slowest else ''} An asymptote lies beyond what was measured: it is that of this run "
        "going on as it did, and no forecast for a curriculum, whose levels a larger budget would all make longer."
    )


def _remark(found: Scaling | str) -> str:
    if isinstance(found, str):
        return f"no curve: {found}"
    if found.open_end:
        return found.open_end
    if found.midpoint.value < found.first:
        return f"half of the gain came before the first evaluation ({found.first:,.0f} tokens)"
    return ""


def _accuracy(e: Estimate) -> str:
    return "-" if math.isnan(e.value) else f"{fraction(e.value)} [{fraction(e.low)}, {fraction(e.high)}]"


def _tokens(e: Estimate) -> str:
    """12,300 [9,800, 15,400]; three digits that mean something."""
    if math.isnan(e.value):
        return "-"
    if math.isinf(e.value):
        return "never"
    low = "-" if math.isnan(e.low) else _round(e.low)
    return f"{_round(e.value)} [{low}, {'no end' if math.isinf(e.high) else _round(e.high)}]"


def _round(value: float) -> str:
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{round(value, digits):,.0f}"
