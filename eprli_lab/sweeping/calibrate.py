"""All controls at one preset, and the certificate of this instrument: what it finds and does not (docs/controls.md)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eprli_lab.errors import UserError, nearest
from eprli_lab.escaping import shown
from eprli_lab.reporting.controls import ControlRecord

CONTROLS = ("aa", "control_ladder", "control_interference", "control_hints", "control_limits")


@dataclass(frozen=True)
class Calibration:
    """How a calibration ended."""

    records: tuple[ControlRecord, ...]
    failed_runs: int = 0  # runs that failed for good
    interrupted: str = ""  # how far it came, where somebody stopped it


def calibrate(overrides: Sequence[str], preset: str = "default", only: Sequence[str] | None = None) -> Calibration:
    """Run every control, or `only` those, one after another: what is done already is not run again.

    `overrides`: for all of them, as on the command line. Raises UserError for a name that is no control, before
    anything starts, and for whatever a sweep refuses.
    """
    from eprli_lab.reporting.controls import check_control
    from eprli_lab.reporting.report.write import read
    from eprli_lab.sweeping.catalogue import planner
    from eprli_lab.sweeping.command import by_reason, run_plan
    from eprli_lab.sweeping.workers import end_all

    for name in only or ():
        if name not in CONTROLS:
            raise UserError(f"only={name}: there is no such control{nearest(name, CONTROLS)}")
    for word in overrides:
        if word.startswith(("study.name=", "sweep=")):
            raise UserError(f"{word}: the controls are studies of their own names: leave it out")
    chosen = [name for name in CONTROLS if only is None or name in only]
    words = [*([] if preset == "default" else [f"preset={preset}"]), *overrides]
    plans = []
    for name in chosen:  # every one composes, before the first begins
        with planner() as plan_of:
            plans.append(plan_of(name, words))
    records: list[ControlRecord] = []
    failed = 0
    pool: list[Any] = []
    try:
        for plan in plans:
            outcome = run_plan(plan, pool=pool)
            if outcome.interrupted:
                return Calibration(tuple(records), failed, f"{plan.study}: {outcome.interrupted}")
            for (arm, seed), reason in outcome.failed.items():
                print(shown(f"failed: {plan.study}, {arm} seed {seed}: {reason}"), file=sys.stderr)
            failed += len(outcome.failed) + len(outcome.unstored)
            for reason, runs in by_reason(outcome.unstored).items():
                print(shown(f"not in the table of {plan.study}: {', '.join(runs)}: {reason}"), file=sys.stderr)
            if outcome.unstored:  # no verdict on a part of the runs
                continue
            where = plan.sample.tracking
            record = check_control(read(where.uri, where.experiment, plan.study))
            if record is not None:
                records.append(record)
    finally:
        end_all(pool)
    return Calibration(tuple(records), failed)
