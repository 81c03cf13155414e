"""What the arms do: the named contrasts first, then each arm against its baseline, with what the seeds could detect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from eprli_lab.reporting.figures.palette import PAPER, SOFT, ArmStyle
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import (
    MOST_ROWS,
    WIDE,
    Canvas,
    Layout,
    grid,
    look,
    panels,
    shortened,
    shown_arms,
    some,
)
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import baselines, contrast_effects, difference, last_by_seed
from eprli_lab.reporting.stats.paired import PairedDifference, paired_sd
from eprli_lab.reporting.stats.power import comparisons, minimum_detectable_effect
from eprli_lab.reporting.tables.numbers import difference_text, fraction
from eprli_lab.tracking import names

ROW = 0.36  # inches
BEYOND = 1.5  # of the largest mark: how far the axis follows what is detectable
BESIDE = 30  # characters of a name that may stand beside its row
GAP = 0.6  # rows between the contrasts and the arms


class Effect(NamedTuple):
    """One row: the first arm minus the second."""

    arm: str
    reference: str
    difference: PairedDifference
    seeds: dict[int, float]  # seed -> difference
    detectable: float  # at power .8, after Holm over its family; nan where the seeds know no spread
    is_contrast: bool

    @property
    def ends(self) -> list[float]:
        """What the axis must show."""
        d = self.difference
        return [v for v in (d.mean, d.low, d.high, *self.seeds.values()) if math.isfinite(v)]


def effects_of(study: StudyData, baseline: str | None = None) -> list[Effect]:
    """Contrasts in the study's order, unless another baseline is asked for; then arms in theirs."""
    contrasts = contrast_effects(study) if baseline is None else []
    arms = shown_arms(study, baseline, MOST_ROWS)
    compared_to = {a: b for a, b in baselines(study, baseline).items() if a in arms}
    versus = {(a, b): difference(study, a, b, study.objective) for a, b in compared_to.items()}
    family = comparisons(difference(study, a, b, study.objective) for a, b in baselines(study, baseline).items())
    many = comparisons(c.difference for c in contrasts)
    out = [_effect(study, c.contrast.arm, c.contrast.reference, c.difference, many, True) for c in contrasts]
    out += [_effect(study, a, b, d, family, False) for (a, b), d in versus.items()]
    return [e for e in out if e.difference.n or not e.is_contrast]


def _effect(
    study: StudyData, arm: str, reference: str, found: PairedDifference, family: int, is_contrast: bool
) -> Effect:
    sd = paired_sd(*(last_by_seed(study, a, study.objective) for a in (arm, reference)))
    least = minimum_detectable_effect(sd, found.n, comparisons=family) if sd > 0 else math.nan
    return Effect(arm, reference, found, _seeds(study, arm, reference, study.objective), least, is_contrast)


def effects(study: StudyData, baseline: str | None = None) -> Picture | None:
    """A forest in the first objective: t interval, every seed a tick, what the seeds could detect a grey bar."""
    found = effects_of(study, baseline)
    if not any(e.difference.n for e in found):
        return None
    versus = [e for e in found if not e.is_contrast]
    says_reference = len({e.reference for e in versus}) > 1  # then each arm says what it is compared to
    styles = look(study)

    def draw(layout: Layout) -> Canvas:
        return _forest(layout, study.objective, found, styles, says_reference)

    words = [
        f"{e.arm} - {e.reference} {difference_text(e.difference)}"
        + (f", detectable {fraction(e.detectable)}" if math.isfinite(e.detectable) else "")
        if e.difference.n
        else f"{e.arm}: no seed in common with {e.reference}"
        for e in found
    ]
    base = "" if says_reference or not versus else f" {versus[0].reference}"
    what = (
        "Effects: the named contrasts, then each arm minus" if len(versus) < len(found) else "Effects: each arm minus"
    )
    whose = f"its baseline{base}" if says_reference or not base else f"the baseline{base}"
    left_out = some(study, shown_arms(study, baseline, MOST_ROWS))
    title = (
        f"{what} {whose} in {study.objective}{left_out}; bars: 95% t intervals over common seeds, each comparison by "
        "itself (uncorrected); ticks: seeds; grey: smaller than what these seeds detect with power .8 after Holm"
    )
    rows = [row for e in found for row in _rows(study.objective, e)]
    return Picture("effects", title, f"Differences in {study.objective}: {'; '.join(words)}.", draw, rows)


def _rows(panel: str, e: Effect) -> list[Row]:
    name = f"{e.arm} - {e.reference}"
    d = e.difference
    kind = "contrast" if e.is_contrast else "difference"
    out = [Row(panel, name, kind, "", name, d.mean, d.low, d.high, d.n)]
    if math.isfinite(e.detectable):
        out.append(Row(panel, name, "detectable", "", name, e.detectable, -e.detectable, e.detectable, d.n))
    return out + [Row(panel, name, "seed", seed, name, value) for seed, value in e.seeds.items()]


def _forest(
    layout: Layout, objective: str, found: Sequence[Effect], styles: dict[str, ArmStyle], says_reference: bool
) -> Canvas:
    """Names to the left and numbers to the right; on a phone, and where names are long, both above their row."""
    labels = shortened((a for e in found for a in (e.arm, e.reference)), 18 if layout.is_narrow else 24)
    says = [
        f"{labels[e.arm]} − {labels[e.reference]}" if e.is_contrast or says_reference else labels[e.arm] for e in found
    ]
    numbers = [difference_text(e.difference) for e in found]
    is_stacked = layout.is_narrow or max(map(len, says)) > BESIDE
    is_long = any(len(name) + len(number) > layout.line for name, number in zip(says, numbers, strict=True))
    row = 1.0 if not is_stacked else 2.1 if is_long else 1.55
    first = sum(e.is_contrast for e in found)
    gap = GAP if 0 < first < len(found) else 0.0
    places = [i + (gap if i >= first else 0.0) for i in range(len(found))]
    figure, axes = panels(layout, 1, 1, ROW * row * (places[-1] + 1) + (0.25 if is_stacked else 0.45))
    figure.full |= {text: arm for arm, text in labels.items()}
    ax = axes[0][0]
    for place, e in zip(places, found, strict=True):
        _draw_row(ax, place, e, styles[e.arm], 1 / row)
    if gap:
        ax.axhline(first - 0.5 + gap / 2 - (0.15 if is_stacked else 0.0), color=SOFT, linewidth=0.6, linestyle=":")
    _set_range(ax, found)
    ax.set_yticks([])
    ax.set_xlabel(f"difference in {objective}")
    if is_stacked:
        _texts_above(ax, places, says, numbers, 2 if is_long else 1)
        ax.set_ylim(places[-1] + 0.45, -0.75)
        ax.spines["left"].set_visible(False)
        ax.grid(visible=False)
        ax.vlines([0] * len(places), [p - 0.24 for p in places], [p + 0.32 for p in places], color=SOFT, linewidth=0.9)
    else:
        _texts_beside(ax, places, [f"{name} (n={e.difference.n})" for name, e in zip(says, found, strict=True)], found)
        ax.set_ylim(places[-1] + 0.6, -0.6)
        ax.grid(visible=False, axis="y")
        ax.axvline(0, color=SOFT, linewidth=0.9)
    return figure


def _texts_beside(ax: Any, places: Sequence[float], says: Sequence[str], found: Sequence[Effect]) -> None:
    """Names before the rows; behind them their numbers, and what the seeds detect."""
    ax.set_yticks(places, says)
    ax.tick_params(axis="y", length=0)
    numbers = [difference_text(e.difference) for e in found]
    least = [f"±{fraction(e.detectable)}" if math.isfinite(e.detectable) else "-" for e in found]
    right = 10.0  # units from the panel
    for cells in (["mean [95%]", *numbers], ["detectable", *least]):
        for place, text in zip([places[0] - 0.85, *places], cells, strict=True):
            ax.annotate(
                text, (1, place), (right, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                va="center", annotation_clip=False,
            )  # fmt: skip
        right += 0.58 * WIDE.size * max(map(len, cells)) + 8


def _texts_above(ax: Any, places: Sequence[float], says: Sequence[str], numbers: Sequence[str], lines: int) -> None:
    """Name to the left and number to the right above each row, in one line or two."""
    of = {"xycoords": ("axes fraction", "data"), "va": "center"}
    for place, name, number in zip(places, says, numbers, strict=True):
        ax.annotate(name, (0, place - (0.42 if lines == 1 else 0.52)), **of)
        ax.annotate(number, (1, place - (0.42 if lines == 1 else 0.31)), ha="right", **of)


def _draw_row(ax: Any, place: float, e: Effect, style: ArmStyle, thick: float = 1.0) -> None:
    """`thick`: the marks in rows, less of them where a row holds texts too."""
    d = e.difference
    if math.isfinite(e.detectable):
        ends = [-e.detectable, e.detectable]
        ax.fill_between(ends, place - 0.22 * thick, place + 0.22 * thick, color=SOFT, alpha=0.16, linewidth=0)
        ax.plot(ends, [place] * 2, "|", color=SOFT, markersize=9, markeredgewidth=1.2)
    if math.isfinite(d.low):
        ax.plot([d.low, d.high], [place] * 2, color=style.colour, linewidth=2.0, solid_capstyle="butt")
    seeds = list(e.seeds.values())
    ax.plot(seeds, [place + 0.3 * thick] * len(seeds), "|", color=style.colour, markersize=5, alpha=0.8)
    ax.plot(
        [d.mean], [place], style.marker, color=style.colour, markersize=6.5, markeredgecolor=PAPER, markeredgewidth=0.7
    )


def _set_range(ax: Any, found: Sequence[Effect]) -> None:
    """Every mark, and what is detectable where it does not push them together."""
    ends = [0.0] + [v for e in found for v in e.ends]
    least = max((e.detectable for e in found if math.isfinite(e.detectable)), default=0.0)
    reach = min(least, BEYOND * max(map(abs, ends)))
    low, high = min(*ends, -reach), max(*ends, reach)
    room = 0.04 * (high - low) or 0.05
    ax.set_xlim(low - room, high + room)


def effects_by_suite(study: StudyData, baseline: str | None = None) -> Picture | None:
    """The same in every further objective and every suite: a panel each, a row an arm."""
    arms = shown_arms(study, baseline, MOST_ROWS)
    compared_to = {a: b for a, b in baselines(study, baseline).items() if a in arms}
    metrics = {m: m for m, _ in study.objectives[1:]} | {s: names.accuracy(s) for s in study.suites}
    found = _of_metrics(study, compared_to, metrics)
    if not any(e.difference.n for of in found.values() for e in of):
        return None
    styles = look(study)
    is_mixed = len(set(compared_to.values())) > 1

    def draw(layout: Layout) -> Canvas:
        height = 0.26 * len(compared_to) + 0.75
        figure, axes = grid(layout, len(found), 4, height, sharey=True)
        labels = figure.short([*compared_to, *compared_to.values()], 20)
        says = [f"{labels[a]} − {labels[b]}" if is_mixed else labels[a] for a, b in compared_to.items()]
        for ax, (panel, of) in zip(axes.flat, found.items(), strict=False):
            ax.axvline(0, color=SOFT, linewidth=0.9)
            for place, e in enumerate(of):
                _draw_row(ax, place, e, styles[e.arm])
            ax.set_title(panel)
            ax.set_yticks(range(len(of)), says)
            ax.set_ylim(len(of) - 0.4, -0.6)
            ax.grid(visible=False, axis="y")
        figure.supxlabel("difference to the baseline")
        return figure

    words = [
        f"{panel}: " + ", ".join(f"{e.arm} {difference_text(e.difference)}" for e in of if e.difference.n)
        for panel, of in found.items()
    ]
    title = (
        f"Effects by suite: each arm minus its baseline{some(study, arms)}; bars: 95% t intervals over common seeds, "
        "uncorrected; ticks: seeds"
    )
    rows = [row for panel, of in found.items() for e in of for row in _rows(panel, e)]
    return Picture("effects_by_suite", title, f"Differences. {'; '.join(words)}.", draw, rows)


def _of_metrics(study: StudyData, compared_to: dict[str, str], metrics: dict[str, str]) -> dict[str, list[Effect]]:
    """Panel -> a row an arm, in the panel's metric."""
    return {
        panel: [
            Effect(a, b, difference(study, a, b, metric), _seeds(study, a, b, metric), math.nan, False)
            for a, b in compared_to.items()
        ]
        for panel, metric in metrics.items()
    }


def _seeds(study: StudyData, arm: str, reference: str, metric: str) -> dict[int, float]:
    """Common seed -> the difference of the metric's last values, where both are finite."""
    ours, others = (last_by_seed(study, a, metric) for a in (arm, reference))
    found = {seed: ours[seed] - others[seed] for seed in sorted(ours.keys() & others.keys())}
    return {seed: value for seed, value in found.items() if math.isfinite(value)}
