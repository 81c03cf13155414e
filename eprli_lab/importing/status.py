"""How far an imported study is: there is no storage to ask, its runs are in the tracking store."""

from __future__ import annotations

import math

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.reporting.load import load_study
from eprli_lab.tracking.imported import record_of


def imported_status(name: str, tracking: TrackingSpec) -> str | None:
    """Text for a terminal, arms by seeds with the last score of each; None where no such study was imported."""
    try:
        study = load_study(tracking.uri, tracking.experiment, name, lambda metric: False)
    except UserError:
        return None
    if not any(record_of(run.tags) for run in study.runs):
        return None
    scores = {(run.arm, run.seed): run.last(study.objective) for run in study.runs}
    seeds = sorted({seed for _, seed in scores} | {u.seed for u in study.unfinished})
    width = max([3, *(len(arm) for arm in study.arms)])
    lines = [
        f"study {name}: imported, {len(study.runs)} of {len(study.runs) + len(study.unfinished)} runs in the store",
        f"{'arm':<{width}}" + "".join(f"{f'seed {seed}':>10}" for seed in seeds),
    ]
    for arm in study.arms:
        cells = [scores.get((arm, seed), math.nan) for seed in seeds]
        lines.append(f"{arm:<{width}}" + "".join(f"{'-' if math.isnan(c) else f'{c:.3f}':>10}" for c in cells))
    return "\n".join(lines)
