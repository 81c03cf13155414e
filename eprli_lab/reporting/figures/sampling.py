"""pass@k over k, before and after training: does training find answers, or only sharpen those that were there?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from eprli_lab.reporting.diagnosis.finding import Rows
from eprli_lab.reporting.figures.curves import Curve, band
from eprli_lab.reporting.figures.style import Picture, hide, legend, look, panels, shown_arms, some
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
    columns = min(3, len(suites))
    figure, axes = panels(math.ceil(len(suites) / columns), columns, 2.4, sharey=True)
    styles = look(arms)
    alt = []
    for ax, suite in zip(axes.flat, suites, strict=False):
        start = band([c for a in arms for c in curves(a, suite, 0)])
        ax.plot(start.x, start.mean, color="#555555", linewidth=1.2, marker=".", label="before training")
        words = [f"before {start.mean[0]:.3f} to {start.mean[-1]:.3f}"]
        for arm in arms:
            mean_band = band(after[suite, arm])
            if not len(mean_band.x):
                continue
            ax.plot(mean_band.x, mean_band.mean, label=arm, linewidth=1.8, **styles[arm])
            ax.fill_between(
                mean_band.x, mean_band.low, mean_band.high, color=styles[arm]["color"], alpha=0.13, linewidth=0
            )
            words.append(f"{arm} {mean_band.mean[0]:.3f} to {mean_band.mean[-1]:.3f}")
        ax.set_title(suite)
        ax.set_xscale("log", base=2)
        ticks = [2**i for i in range(int(math.log2(start.x[-1])) + 1)]
        ax.set_xticks(ticks, list(map(str, ticks)))
        ax.minorticks_off()
        alt.append(f"{suite}: {', '.join(words)}")
    hide(list(axes.flat)[len(suites) :])
    figure.supxlabel("k (samples)", fontsize=9)
    figure.supylabel("pass@k", fontsize=9)
    legend(figure, axes)
    title = f"pass@k before and after training{some(study, arms)}; unbiased; band: 95% t interval over seeds"
    return Picture("pass_at_k", title, f"pass@1 to pass@k at the most samples. {'; '.join(alt)}.", figure)
