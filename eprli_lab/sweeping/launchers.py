"""Hydra launchers (joblib, Ray, submitit): each job that they start is one more process on the same study.

A launcher knows jobs, not runs: it starts them and waits for all. So a job here is not a run but a worker that takes
runs of the study until none is left. There is no barrier between runs, a job that is lost costs nobody else anything,
and what it was doing falls to the others.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import UserError
from eprli_lab.masking import mask
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.workers import runs_at_once

if TYPE_CHECKING:
    from eprli_lab.sweeping.controller import StudyResult
    from eprli_lab.sweeping.study import Study

log = logging.getLogger(__name__)


def launch(launcher: Any, arguments: list[str], plan: Plan, study: Study) -> StudyResult:
    """Start `study.workers` jobs (default: one a core of this machine), wait for them; what the study holds then.

    `launcher`: Hydra's; `arguments`: those of the command line. Raises UserError when the jobs left trials over.
    """
    from eprli_lab.sweeping.controller import StudyResult

    left = study.left()
    count = min(runs_at_once(plan), left)
    if count:
        home = str(Path.cwd()).replace("'", "\\'")
        job = [*arguments, f"study.job={plan.kind}", f"study.home='{home}'", "study.workers=1"]
        try:
            for returned in launcher.launch([job] * count, initial_job_idx=0):
                _ = returned.return_value  # raises what the job raised
        except KeyboardInterrupt:
            return StudyResult(study.complete(), interrupted=True)
        except UserError:
            raise
        except Exception as error:  # whatever a launcher makes of a job that failed or was lost
            log.warning("a launched job failed: %s: %s", type(error).__name__, mask(str(error)))
    study.rejoin()
    if study.left():
        raise UserError(
            f"the launched jobs ended with {study.left()} trials of {plan.study} left: see their logs; the same "
            "command goes on"
        )
    return StudyResult(study.complete(), study.failed())


def job(node: dict[str, Any], preset: str, arguments: list[str]) -> int:
    """What a launched job does: work on the study until nothing is left. 0, or 130 when it was told to stop."""
    from eprli_lab.config.compose import compose_tree
    from eprli_lab.sweeping.compose_plan import plan_from
    from eprli_lab.sweeping.controller import run_study
    from eprli_lab.sweeping.fingerprints import data_digests
    from eprli_lab.sweeping.lifecycle import start_study
    from eprli_lab.sweeping.study import Study

    if node["home"] and Path(node["home"]).is_dir():
        os.chdir(node["home"])
    plan = plan_from(
        compose_tree, node, preset, [a for a in arguments if not a.startswith(("study.job=", "study.home="))]
    )
    data = data_digests([r.spec for r in plan.runs])
    if plan.search is not None:
        searching = plan.searching()
        study = Study(searching, data)
        try:
            plan = searching if node["job"] == "search" else plan.with_winners(study.winners(plan.search.spec.confirm))
        finally:
            study.close()
    study = Study(plan, data)
    try:
        with study.storage.exclusive():
            parent = start_study(plan, study.forced_changes())
        result = run_study(plan, study, executor="eprli_lab.training.execute:execute", parent_run_id=parent)
    finally:
        study.close()
    return 130 if result.interrupted else 0
