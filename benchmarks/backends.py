"""Learning curves of the local engine and of OpenRLHF from the same checkpoint, data and seeds, in one figure.

eprli-lab run -m sweep=levels study.only=[l2] study.name=local
eprli-lab run -m sweep=levels study.only=[l2] study.name=openrlhf backend=openrlhf_cpu
python benchmarks/backends.py [DIR]          # where the two were run; writes backends.png there, prints the figures
"""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from eprli_lab.reporting.figures import curve, mean_curve
from eprli_lab.reporting.load import StudyData, load_study
from eprli_lab.reporting.stats.paired import paired_difference


def main() -> None:
    where = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    uri = f"sqlite:///{where / 'mlflow.db'}"
    studies = {name: load_study(uri, "eprli_lab", name) for name in ("local", "openrlhf")}
    suites = studies["local"].suites
    fig, axes = plt.subplots(1, len(suites), figsize=(4.2 * len(suites), 3.6), sharey=True, squeeze=False)
    looks = {"local": ("#0072B2", "-"), "openrlhf": ("#D55E00", "--")}
    for ax, suite in zip(axes[0], suites, strict=True):
        for name, study in studies.items():
            colour, style = looks[name]
            curves = [curve(r, f"eval/{suite}/avg_at_k") for r in study.of("l2")]
            for c in curves:
                ax.plot(*zip(*c, strict=True), color=colour, linewidth=0.7, alpha=0.3)
            label = f"{name} (n={len(curves)})"
            ax.plot(*zip(*mean_curve(curves), strict=True), style, color=colour, linewidth=2, label=label)
        ax.set(title=suite, xlabel="generated training tokens (thousands)")
    axes[0][0].set_ylabel("accuracy (avg_at_k)")
    axes[0][0].legend(frameon=False)
    fig.tight_layout()
    fig.savefig(where / "backends.png", dpi=150)
    for arm in studies["local"].arms:
        for metric in [*(f"eval/{s}/avg_at_k" for s in suites), "score", "progress/updates"]:
            spread = "; ".join(f"{name} {_spread(study, arm, metric)}" for name, study in studies.items())
            print(f"{arm} {metric}: {spread}")
        last = [{r.seed: r.last("score") for r in studies[name].of(arm)} for name in ("openrlhf", "local")]
        print(f"{arm} openrlhf - local: {paired_difference(*last)}")


def _spread(study: StudyData, arm: str, metric: str) -> str:
    values = [v for r in study.of(arm) if math.isfinite(v := r.last(metric))]
    return f"{statistics.fmean(values):.3f} (sd {statistics.stdev(values):.3f}, n={len(values)})"


if __name__ == "__main__":
    main()
