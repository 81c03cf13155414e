"""What pruning between seeds saves on `thresholds`: best score so far against runs made, with and without the pruner.

    eprli-lab run -m sweep=thresholds
    eprli-lab run -m sweep=thresholds study.search.pruner=none study.name=unpruned
    python benchmarks/pruning.py [DIR]          # where the two were run; writes pruning.png there, prints the figures

A run is one seed of one point, so the axis does not depend on the machine. The best score so far counts complete points
only: the mean over all search seeds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import optuna


def trials(directory: Path, study: str) -> list[Any]:
    backend = optuna.storages.journal.JournalFileBackend(str(directory / "studies" / f"{study}.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name=f"{study}-search", storage=storage).get_trials()


def curve(found: list[Any]) -> tuple[list[int], list[float], float]:
    """(runs made, best mean score so far) after every point, and the seconds of all runs."""
    runs, best, xs, ys, seconds = 0, float("nan"), [], [], 0.0
    for t in sorted(found, key=lambda t: t.datetime_complete):
        results = json.loads(t.user_attrs["results"])
        runs, seconds = runs + len(results), seconds + sum(r["seconds"] for r in results)
        if t.state.name == "COMPLETE":
            best = t.value if best != best else max(best, t.value)
        xs.append(runs)
        ys.append(best)
    return xs, ys, seconds


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for study, label, style in (("thresholds", "Wilcoxon between seeds", "-"), ("unpruned", "no pruning", "--")):
        found = trials(directory, study)
        xs, ys, seconds = curve(found)
        pruned = sum(t.state.name == "PRUNED" for t in found)
        spent = f"{xs[-1]} runs, {seconds:.0f} s of run time"
        print(f"{label}: {len(found)} points, {pruned} pruned, {spent}, best {ys[-1]:.4f}")
        axes.step(xs, ys, style, where="post", label=f"{label}: {len(found)} points, {xs[-1]} runs, {seconds:.0f} s")
    axes.set_xlabel("runs made (one seed of one point)")
    axes.set_ylabel("best mean score so far")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(directory / "pruning.png", dpi=150)


if __name__ == "__main__":
    main()
