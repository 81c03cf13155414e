"""Suites by training stage: what a level's training gave and took, and whether difficulty rises as it is named."""

from __future__ import annotations

import math

import numpy as np

from eprli_lab.reporting.derived import sampled_levels
from eprli_lab.reporting.figures.style import Picture, hide, panels, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean
from eprli_lab.tracking import names
from eprli_lab.tracking.imported import TAG as IMPORTED

START = "start"  # the stage before training


def stages(run: RunData, suite: str) -> dict[str, float]:
    """START, then each level in the order of its training -> accuracy at the last evaluation of that stretch.

    An evaluation belongs to the level that trained last before it.
    """
    trained = sorted((step, level) for level in sampled_levels([run]) for step in run.by_step(names.generated(level)))
    out: dict[str, float] = {}
    for step, value in sorted(run.by_step(names.accuracy(suite)).items()):
        before = [level for at, level in trained if at <= step]
        out[before[-1] if before else START] = value
    return out


def forgetting(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Accuracy by suite and stage, mean over seeds: a heat map an arm; only arms with more than one level."""
    accuracies: dict[str, dict[str, dict[str, float]]] = {}
    for arm in shown_arms(study, baseline):
        by_run = {s: [stages(r, s) for r in study.of(arm)] for s in study.suites}
        stage_names = list(dict.fromkeys(n for runs in by_run.values() for r in runs for n in r))
        if len(stage_names) > 2:
            accuracies[arm] = {
                s: {n: mean([r[n] for r in runs if n in r]) for n in stage_names} for s, runs in by_run.items()
            }
    if not accuracies:
        return None
    columns = min(2, len(accuracies))
    height = 0.3 * len(study.suites) + 0.7
    figure, axes = panels(math.ceil(len(accuracies) / columns), columns, height)
    worst: list[tuple[float, str]] = []
    for ax, (arm, by_suite) in zip(axes.flat, accuracies.items(), strict=False):
        stage_names = list(next(iter(by_suite.values())))
        cells = np.array([[by_suite[s].get(n, math.nan) for n in stage_names] for s in by_suite])
        ax.imshow(cells, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for i, suite in enumerate(by_suite):
            for j in range(len(stage_names)):
                if math.isfinite(cells[i, j]):
                    ax.text(
                        j,
                        i,
                        f"{cells[i, j]:.2f}",
                        ha="center",
                        va="center",
                        color="black" if cells[i, j] > 0.5 else "white",
                    )
            falls = np.diff(cells[i])
            if len(falls) and np.isfinite(falls).any():
                at = int(np.nanargmin(falls))
                worst.append((float(falls[at]), f"{arm}: {suite} {falls[at]:+.3f} during level {stage_names[at + 1]}"))
        ax.set_xticks(range(len(stage_names)), [n if n == START else f"after\nlevel\n{n}" for n in stage_names])
        ax.set_yticks(range(len(by_suite)), list(by_suite))
        ax.set_title(arm)
        ax.grid(visible=False)
    hide(list(axes.flat)[len(accuracies) :])
    title = f"Forgetting: accuracy by suite after each level's training{some(study, list(accuracies))}"
    alt = f"The smallest change is {min(worst)[1]}." if worst else "No change is known."
    return Picture("forgetting", title, alt, figure)


def q_order(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Accuracy of each suite before and after training: does difficulty really rise from suite to suite?"""
    arms = [a for a in shown_arms(study, baseline) if study.of(a)]
    ends = {
        (s, a): tuple(mean([end(r, names.accuracy(s)) for r in study.of(a)]) for end in (RunData.first, RunData.last))
        for s in study.suites
        for a in arms
    }
    if not any(math.isfinite(v) for pair in ends.values() for v in pair) or all(IMPORTED in r.tags for r in study.runs):
        return None  # of imported runs nobody said how hard a suite is
    figure, axes = panels(1, len(study.suites), 0.26 * len(arms) + 0.8, sharey=True, sharex=True)
    for ax, suite in zip(axes[0], study.suites, strict=True):
        for i, arm in enumerate(arms):
            before, after = ends[suite, arm]
            ax.plot([before, after], [i, i], color="#999999", linewidth=1.5)
            ax.plot([before], [i], "o", color="#0072B2", markerfacecolor="white", label="before" if i == 0 else None)
            ax.plot([after], [i], "o", color="#0072B2", label="after" if i == 0 else None)
        ax.set_title(suite)
        ax.set_yticks(range(len(arms)), arms)
        ax.set_ylim(len(arms) - 0.5, -0.5)
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.5, 1])
    figure.supxlabel("accuracy (avg_at_k): open before training, filled after", fontsize=9)
    alt = "; ".join(
        f"{s} {mean([ends[s, a][0] for a in arms]):.3f} before, {mean([ends[s, a][1] for a in arms]):.3f} after"
        for s in study.suites
    )
    title = f"Does difficulty order accuracy? Held-out accuracy before and after{some(study, arms)}"
    return Picture("q_order", title, f"Means over arms: {alt}.", figure)
