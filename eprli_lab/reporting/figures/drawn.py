"""What was drawn when: the share of groups from each level over training, and how difficult their problems were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprli_lab.reporting.diagnosis.finding import Rows
from eprli_lab.reporting.figures.palette import INK, PAPER, ArmStyle, shade
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.rows import Row
from eprli_lab.reporting.figures.style import Canvas, Layout, grid, legend, look, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.tracking import names

BINS = 20  # of the token axis
AS_ALWAYS = {
    "curriculum.schedule": "sequential",
    "curriculum.selection": "uniform",
    "curriculum.remeasure.every": "None",
}


class Drawn(NamedTuple):
    """Groups of one arm by bin of the token axis, all seeds together; a step's are spread over the bins it spans."""

    counts: dict[str, NDArray[np.float64]]  # level -> groups in each bin
    difficulties: list[list[tuple[float, float]]]  # of each bin: (difficulty, groups of it), where it is known

    def shares(self) -> dict[str, NDArray[np.float64]]:
        """Level -> its share of each bin's groups; nan in a bin without groups."""
        total = sum(self.counts.values(), np.zeros(len(self.difficulties)))
        with np.errstate(invalid="ignore"):
            return {level: counts / total for level, counts in self.counts.items()}

    def mean(self) -> NDArray[np.float64]:
        """Each bin's mean difficulty; nan without any."""
        sums = [(math.fsum(d * n for d, n in of), math.fsum(n for _, n in of)) for of in self.difficulties]
        return np.array([total / count if count else math.nan for total, count in sums])

    def quantile(self, q: float) -> NDArray[np.float64]:
        """The difficulty that a share q of each bin's groups does not exceed; nan without any."""
        return np.array([_quantile(of, q) if of else math.nan for of in self.difficulties])


def _quantile(weighted: Sequence[tuple[float, float]], q: float) -> float:
    ordered = sorted(weighted)
    up_to = np.cumsum([weight for _, weight in ordered])
    return ordered[min(int(np.searchsorted(up_to, q * up_to[-1])), len(ordered) - 1)][0]


def is_chosen(study: StudyData) -> bool:
    """Does any arm choose levels or problems in another way than in order and uniformly?"""
    return any(r.params.get(key, usual) != usual for r in study.runs for key, usual in AS_ALWAYS.items())


def drawn_of(runs: Sequence[RunData], ledger: Rows, levels: Sequence[str], edges: Sequence[float]) -> Drawn:
    """What these runs drew, by their ledgers; `edges`: of the bins, in thousands of tokens."""
    counts = {level: np.zeros(len(edges) - 1) for level in levels}
    difficulties: list[list[tuple[float, float]]] = [[] for _ in edges[1:]]
    for run in runs:
        parts = _parts(run, edges)
        for row in ledger.get(run.run_id, ()):
            part = parts.get(row["step"])
            if part is None or row["level"] not in counts:
                continue
            counts[row["level"]] += part
            if row["difficulty"] is not None:
                for place in np.flatnonzero(part):
                    difficulties[place].append((float(row["difficulty"]), float(part[place])))
    return Drawn({level: n for level, n in counts.items() if n.any()}, difficulties)


def _parts(run: RunData, edges: Sequence[float]) -> dict[int, NDArray[np.float64]]:
    """Step -> the part of its tokens that lies in each bin; steps without tokens are left out."""
    tokens = run.histories.get(names.TOKENS)
    if tokens is None or not np.isfinite(tokens.values).all():
        return {}
    ends = tokens.values / 1000
    out = {}
    for step, left, right in zip(tokens.steps.tolist(), [0.0, *ends[:-1]], ends, strict=True):
        if right > left:
            inside = np.clip(np.minimum(edges[1:], right) - np.maximum(edges[:-1], left), 0, None)
            out[step] = inside / (right - left)
    return out


def drawn(study: StudyData, ledger: Rows, baseline: str | None = None) -> Picture | None:
    """A panel an arm: its levels' shares of the groups, stacked, and the difficulty of what was drawn (line).

    None where no arm chooses otherwise than always, or no ledger is there.
    """
    ends = [t for r in study.runs if math.isfinite(t := r.last(names.TOKENS))]
    if not is_chosen(study) or not ends:
        return None
    edges = np.linspace(0, max(ends) / 1000, BINS + 1)
    found = {a: drawn_of(study.of(a), ledger, study.levels, edges.tolist()) for a in shown_arms(study, baseline)}
    found = {arm: of for arm, of in found.items() if of.counts}
    if not found:
        return None
    styles = look(study)
    middles = (edges[1:] + edges[:-1]) / 2

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, len(found), 3, 1.6, sharex=True, sharey=True)
        labels = figure.short(found)
        for ax, (arm, of) in zip(axes.flat, found.items(), strict=False):
            _stack(ax, of, edges, study.levels, styles[arm])
            for outer in (0.1, 0.9):
                ax.plot(middles, of.quantile(outer), color=INK, linewidth=0.9, linestyle=":")
            ax.plot(middles, of.mean(), color=PAPER, linewidth=3.4)
            ax.plot(middles, of.mean(), color=INK, linewidth=1.6, label="difficulty (mean; dotted: 10, 90%)")
            ax.set_title(labels[arm])
        axes[0][0].set_ylim(0, 1)
        figure.supxlabel("generated training tokens (thousands)")
        figure.supylabel("share of groups; difficulty")
        legend(figure, axes)
        return figure

    alt = "; ".join(_words(arm, of) for arm, of in found.items())
    title = (
        "What was drawn when: groups by level (the harder, the stronger the arm's colour), and the difficulty of their "
        f"problems{some(study, list(found))}"
    )
    rows = [row for arm, of in found.items() for row in _rows(arm, of, middles)]
    return Picture("drawn", title, f"Share of all groups, and difficulty at first and last: {alt}.", draw, rows)


def _stack(ax: Any, of: Drawn, edges: NDArray[np.float64], levels: Sequence[str], style: ArmStyle) -> None:
    below = np.zeros(BINS)
    for level, share in of.shares().items():
        above = below + np.nan_to_num(share)
        ax.stairs(
            above, edges, baseline=below, fill=True, color=style.colour, linewidth=0,
            alpha=0.9 * shade(levels.index(level), len(levels)), label=f"level {level}",
        )  # fmt: skip
        below = above


def _rows(arm: str, of: Drawn, middles: NDArray[np.float64]) -> list[Row]:
    """Shares of each level, then the difficulty with its 10 and 90%."""
    places = middles.tolist()
    shares = [
        Row(arm, arm, f"level {level}", "", x, y)
        for level, share in of.shares().items()
        for x, y in zip(places, share.tolist(), strict=True)
    ]
    marks = zip(places, of.mean().tolist(), of.quantile(0.1).tolist(), of.quantile(0.9).tolist(), strict=True)
    return shares + [Row(arm, arm, "difficulty", "", x, y, low, high) for x, y, low, high in marks]


def _words(arm: str, of: Drawn) -> str:
    total = sum(counts.sum() for counts in of.counts.values())
    shares = ", ".join(f"level {level} {counts.sum() / total:.2f}" for level, counts in of.counts.items())
    known = [d for d in of.mean() if math.isfinite(d)]
    return f"{arm} {shares}" + (f", difficulty {known[0]:.2f} to {known[-1]:.2f}" if known else "")
