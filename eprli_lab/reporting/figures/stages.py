"""Suites by training stage: what a level's training gave and took, and whether difficulty rises as it is named."""

from __future__ import annotations

import math

import numpy as np

from eprli_lab.reporting.figures.style import Picture, hide, panels, shown_arms, some
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.paired import mean


def stages(run: RunData, suite: str) -> dict[str, float]:
    """`start`, then each level in the order of its training -> accuracy at the last evaluation of that stretch.

    An evaluation belongs to the level that trained last before it.
    """
    trained = sorted(
        (step, key.split("/")[1])
        for key in run.histories
        if key.startswith("buffer/") and key.endswith("/groups/generated")
        for step in run.by_step(key)
    )
    out: dict[str, float] = {}
    for step, value in sorted(run.by_step(f"eval/{suite}/avg_at_k").items()):
        before = [level for at, level in trained if at <= step]
        out["start" if not before else before[-1]] = value
    return out


def forgetting(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Accuracy by suite and stage, mean over seeds: a heat map an arm; only arms with more than one level."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for arm in shown_arms(study, baseline):
        by_run = {s: [stages(r, s) for r in study.of(arm)] for s in study.suites}
        names = list(dict.fromkeys(n for runs in by_run.values() for r in runs for n in r))
        if len(names) > 2:
            found[arm] = {s: {n: mean([r[n] for r in runs if n in r]) for n in names} for s, runs in by_run.items()}
    if not found:
        return None
    columns = min(2, len(found))
    height = 0.3 * len(study.suites) + 0.7
    figure, axes = panels(math.ceil(len(found) / columns), columns, height)
    worst: list[tuple[float, str]] = []
    for ax, (arm, by_suite) in zip(axes.flat, found.items(), strict=False):
        names = list(next(iter(by_suite.values())))
        cells = np.array([[by_suite[s].get(n, math.nan) for n in names] for s in by_suite])
        ax.imshow(cells, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for i, suite in enumerate(by_suite):
            for j in range(len(names)):
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
                worst.append((float(falls[at]), f"{arm}: {suite} {falls[at]:+.3f} during {names[at + 1]}"))
        ax.set_xticks(range(len(names)), [n if n == "start" else f"after\n{n}" for n in names])
        ax.set_yticks(range(len(by_suite)), list(by_suite))
        ax.set_title(arm)
        ax.grid(visible=False)
    hide(list(axes.flat)[len(found) :])
    title = f"Forgetting: accuracy by suite after each level's training{some(study, list(found))}"
    said = f"The smallest change is {min(worst)[1]}." if worst else "No change is known."
    return Picture("forgetting", title, said, figure)


def q_order(study: StudyData, baseline: str | None = None) -> Picture | None:
    """Accuracy of each suite before and after training: does difficulty really rise from suite to suite?"""
    arms = [a for a in shown_arms(study, baseline) if study.of(a)]
    ends = {
        (s, a): tuple(
            mean([end(r, f"eval/{s}/avg_at_k") for r in study.of(a)]) for end in (RunData.first, RunData.last)
        )
        for s in study.suites
        for a in arms
    }
    if not any(math.isfinite(v) for pair in ends.values() for v in pair):
        return None
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
    said = "; ".join(
        f"{s} {mean([ends[s, a][0] for a in arms]):.3f} before, {mean([ends[s, a][1] for a in arms]):.3f} after"
        for s in study.suites
    )
    title = f"Does difficulty order accuracy? Held-out accuracy before and after{some(study, arms)}"
    return Picture("q_order", title, f"Means over arms: {said}.", figure)
