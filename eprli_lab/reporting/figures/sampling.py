"""pass@k over k, before and after training: does training find answers, or only sharpen those that were there?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from eprli_lab.reporting.diagnosis.finding import Rows
from eprli_lab.reporting.figures.curves import SPREAD, Curve, band, band_rows, draw_curves, value_range
from eprli_lab.reporting.figures.palette import SOFT
from eprli_lab.reporting.figures.picture import Picture
from eprli_lab.reporting.figures.style import Canvas, Layout, grid, legend, look, shown_arms, some
from eprli_lab.reporting.load import StudyData
from eprli_lab.training.measures import pass_at_k

Row = Mapping[str, Any]  # of the artifact outcomes: suite, step, samples, correct


def over_k(rows: Sequence[Row]) -> Curve:
    """(k, mean of unbiased pass@k over problems) for k = 1 to the fewest samples of a problem; empty of no rows."""
    counts = Counter((int(r["samples"]), int(r["correct"])) for r in rows)
    most = min((n for n, _ in counts), default=0)
    problems = counts.total()
    return [
        (float(k), math.fsum(m * pass_at_k(n, c, k) for (n, c), m in counts.items()) / problems)
        for k in range(1, most + 1)
    ]


def passk(study: StudyData, outcomes: Rows, baseline: str | None = None) -> Picture | None:
    """A panel a suite: the policy before training (grey), and each arm after it, mean over seeds with its t band.

    `outcomes`: run id -> rows of its first and its last evaluation. None where a problem has one sample, or no rows.
    """
    arms = [a for a in shown_arms(study, baseline) if any(outcomes.get(r.run_id) for r in study.of(a))]
    ends = {
        r.run_id: (min(o["step"] for o in rows), max(o["step"] for o in rows))
        for r in study.runs
        if (rows := outcomes.get(r.run_id))
    }

    def curves(arm: str, suite: str, end: int) -> list[Curve]:
        by_run = (
            over_k([o for o in outcomes[r.run_id] if o["suite"] == suite and o["step"] == ends[r.run_id][end]])
            for r in study.of(arm)
            if r.run_id in ends and ends[r.run_id][0] < ends[r.run_id][1]
        )
        return [c for c in by_run if len(c) > 1]

    after = {(s, a): curves(a, s, 1) for s in study.suites for a in arms}
    suites = [s for s in study.suites if any(after[s, a] for a in arms)]
    if not suites:
        return None
    styles = look(study)
    before = {s: [c for a in arms for c in curves(a, s, 0)] for s in suites}

    def draw(layout: Layout) -> Canvas:
        figure, axes = grid(layout, len(suites), 3, 2.3, sharey=True)
        labels = figure.short(arms)
        ends: list[tuple[float, float]] = []
        for ax, suite in zip(axes.flat, suites, strict=False):
            start = band(before[suite])
            ax.plot(start.x, start.mean, color=SOFT, linewidth=1.2, marker=".", label="before training")
            for arm in arms:
                draw_curves(ax, after[suite, arm], labels[arm], styles[arm], is_each=False)
            ax.set_title(suite)
            ends.append(value_range({"": before[suite]} | {a: after[suite, a] for a in arms}))
            ax.set_xscale("log", base=2)
            ticks = [2**i for i in range(int(math.log2(start.x[-1])) + 1)]
            ax.set_xticks(ticks, list(map(str, ticks)))
            ax.minorticks_off()
        axes[0][0].set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
        figure.supxlabel("k (samples)")
        figure.supylabel("pass@k")
        legend(figure, axes)
        return figure

    alt = []
    for suite in suites:
        means = {"before": band(before[suite])} | {a: band(after[suite, a]) for a in arms}
        words = [f"{who} {b.mean[0]:.3f} to {b.mean[-1]:.3f}" for who, b in means.items() if len(b.x)]
        alt.append(f"{suite}: {', '.join(words)}")
    title = f"pass@k before and after training{some(study, arms)}; unbiased; {SPREAD}"
    marks = [row for s in suites for row in band_rows(s, "", "before training", before[s])]
    marks += [row for s in suites for a in arms for row in band_rows(s, a, "after training", after[s, a])]
    return Picture("pass_at_k", title, f"pass@1 to pass@k at the most samples. {'; '.join(alt)}.", draw, marks)
