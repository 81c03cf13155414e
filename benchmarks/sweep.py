"""Where a finished sweep's time went: the share of each phase of its runs, and what each worker waited for.

    python benchmarks/sweep.py study=NAME [tracking.uri=URI] [tracking.experiment=NAME]

Read from the tracking store: the runs' own clocks (time/*), their start and end, and which process made them. A run
begins in the store when its policy and data are loaded, so that a worker's start is idle time before its first run.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from eprli_lab.cli import options
from eprli_lab.cli.words import parse
from eprli_lab.reporting.load import StudyData, load_study
from eprli_lab.sweeping.occupancy import Occupancy, Stretch, occupancy
from eprli_lab.tracking import names
from eprli_lab.tracking.store import open_store, quoted, search_runs

PHASES = ("generate", "verify", "update", "evaluate", "continue")
KEYS = ("study", "tracking.uri", "tracking.experiment")


def phases(study: StudyData) -> dict[str, float]:
    """Seconds of each phase over all runs; `other`: what is left of the loops (checkpoints, tracking, batches)."""

    def total(metric: str) -> float:
        return math.fsum(v for r in study.runs if math.isfinite(v := r.total(metric)))

    seconds = {phase: total(names.seconds(phase)) for phase in PHASES}
    loops = math.fsum(r.last(names.TOTAL_SECONDS) for r in study.runs)
    return seconds | {"other": max(0.0, loops - math.fsum(seconds.values()))}


def timeline(study: StudyData, logged: list[Any]) -> tuple[list[Stretch], float]:
    """(a stretch a run, when the sweep was started), in seconds since 1970."""
    inside = {r.run_id: r.last(names.TOTAL_SECONDS) for r in study.runs}
    began = min(r.info.start_time for r in logged) / 1000
    stretches = [
        Stretch(
            f"{r.data.tags.get('host', '?')} {r.data.tags.get('pid', '?')}",
            r.info.start_time / 1000,
            r.info.end_time / 1000,
            inside[r.info.run_id],
            math.inf if r.data.tags.get("arm") in study.description.after else 0.0,
        )
        for r in logged
        if r.info.run_id in inside
    ]
    return stretches, began


def report(study: StudyData, stretches: list[Stretch], began: float) -> str:
    """Phases, workers, and the sweep's own last line."""
    ended = max(s.ended for s in stretches)
    seconds = phases(study)
    around = math.fsum(s.ended - s.began - min(s.inside, s.ended - s.began) for s in stretches)
    total = math.fsum(seconds.values()) + around
    lines = [f"study {study.name}: {len(stretches)} runs, {ended - began:.1f} s", "", "phase            s   share"]
    shares = {**seconds, "outside": around}
    lines += [f"{name:<10} {value:8.1f}  {100 * value / total:5.1f}%" for name, value in shares.items()]
    lines += ["(outside: of the loop, opening and closing the run)", ""]
    lines += ["worker                     runs   busy  first  between  waiting  end (idle s)"]
    workers = list(dict.fromkeys(s.worker for s in sorted(stretches)))
    for worker in workers:
        own = [s for s in stretches if s.worker == worker]
        of_worker = occupancy(own, 1, began, ended)
        lines.append(f"{worker!s:<26} {len(own):>4}  {100 * of_worker.share:4.0f}%  {_idle(of_worker)}")
    return "\n".join([*lines, "", occupancy(stretches, len(workers), began, ended).line()])


def _idle(of_worker: Occupancy) -> str:
    return f"{of_worker.first:5.1f}  {of_worker.between:7.1f}  {of_worker.waiting:7.1f}  {of_worker.end:5.1f}"


def main() -> None:
    given = parse(sys.argv[1:], KEYS, (__doc__ or "").splitlines()[2].strip())
    where = options.tracking(given)
    name = given["study"]
    study = load_study(where.uri, where.experiment, name, lambda metric: metric.startswith("time/"))
    client, experiment = open_store(where)
    logged = search_runs(client, experiment, f"tags.study = {quoted(name)}")
    print(report(study, *timeline(study, logged)))


if __name__ == "__main__":
    main()
