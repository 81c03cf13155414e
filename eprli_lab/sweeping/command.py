"""`-m sweep=...`: from Hydra's arguments to a plan, a study (a search first where there is one), and its table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from eprli_lab.sweeping.compose_plan import plan_from_hydra
from eprli_lab.sweeping.fingerprints import data_digests
from eprli_lab.sweeping.plan import Plan

Runner = Callable[[Plan, Any, str], Any]  # (plan, study, parent run id) -> StudyResult


def sweep(loader: Any, config: Any, arguments: list[str], launcher: Any = None) -> int:
    """Run the study that `config.study` describes. Exits with 0, 1 (a run failed for good) or 130 (interrupted).

    `launcher`: a Hydra launcher that starts the processes which make the runs; None: worker processes of this one.
    """
    from eprli_lab.sweeping.lifecycle import check_study
    from eprli_lab.training.preflight import dry_run

    plan = plan_from_hydra(loader, config, arguments)
    if dry_run(list({r.spec.arm: r.spec for r in plan.runs}.values())):
        return 0
    check_study(plan)
    for note in plan.notes:
        print(note)
    data = data_digests([r.spec for r in plan.runs])
    pool: list[Any] = []
    run = _here(pool) if launcher is None else _launched(launcher, arguments)
    try:
        if plan.search is not None:
            plan = explore(plan, data, run)
        return confirm(plan, data, run)
    finally:
        from eprli_lab.sweeping.workers import end_all

        end_all(pool)


def explore(plan: Plan, data: dict[str, str], run: Runner) -> Plan:
    """The search to its target; the plan with its winners as further arms. Exits with 130 when interrupted."""
    from eprli_lab.sweeping.lifecycle import finish_search

    searching = plan.searching()
    with _opened(searching, data) as (study, parent):
        search = plan.search
        assert search is not None
        print(
            f"search {searching.study}: {plan.spec.trials} trials x {len(search.seeds)} seeds over "
            f"{len(search.dimensions)} values ({search.spec.sampler}, pruner {search.spec.pruner})"
            + (f", {study.finished()} of them done before" if study.finished() else ""),
            flush=True,
        )
        result = run(searching, study, parent)
        if result.interrupted:
            done = f"{study.finished()} of {plan.spec.trials}"
            print(f"interrupted with {done} trials done: the same command resumes", file=sys.stderr)
            sys.exit(130)
        winners = study.winners(search.spec.confirm)
        print(finish_search(searching, study.points(), winners, parent))
    return plan.with_winners(winners)


def confirm(plan: Plan, data: dict[str, str], run: Runner) -> int:
    """Every arm (and winner) on every seed, then the table."""
    from eprli_lab.sweeping.lifecycle import finish_study

    with _opened(plan, data) as (study, parent):
        done = study.finished()
        already = f", {done} of them done before" if done else ""
        size = f"{len(plan.arms)} arms x {len(plan.spec.seeds)} seeds = {len(plan.runs)} runs"
        print(f"study {plan.study}: {size}{already}", flush=True)
        result = run(plan, study, parent)
        planned = {r.key for r in plan.runs}
        complete = planned & result.complete.keys()
        if result.interrupted:
            print(
                f"interrupted with {len(complete)} of {len(planned)} runs complete: the same command resumes",
                file=sys.stderr,
            )
            sys.exit(130)
        if complete:
            with study.storage.exclusive():  # of several processes, one writes the report at a time
                finish_study(plan)
    for (arm, seed), reason in result.failed.items():
        print(f"failed: {arm} seed {seed}: {reason}", file=sys.stderr)
    if result.failed:
        sys.exit(1)
    return 0


class _opened:
    """A study and its tracking parent, for the time that this process works on it."""

    def __init__(self, plan: Plan, data: dict[str, str]) -> None:
        self.plan, self.data = plan, data

    def __enter__(self) -> tuple[Any, str]:
        from eprli_lab.sweeping.lifecycle import start_study
        from eprli_lab.sweeping.study import Study

        self.study = Study(self.plan, self.data)  # before anything is logged: it may be refused
        try:
            with self.study.storage.exclusive():  # of several processes, one makes the parent
                return self.study, start_study(self.plan, self.study.forced_changes())
        except BaseException:
            self.study.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.study.close()


def _here(pool: list[Any]) -> Runner:
    """Runs on worker processes of this one, kept from the search to the arms: their start costs seconds."""

    def run(plan: Plan, study: Any, parent: str) -> Any:
        from eprli_lab.sweeping.controller import run_study

        return run_study(plan, study, executor="eprli_lab.training.execute:execute", parent_run_id=parent, pool=pool)

    return run


def _launched(launcher: Any, arguments: list[str]) -> Runner:
    def run(plan: Plan, study: Any, _parent: str) -> Any:
        from eprli_lab.sweeping.launchers import launch

        return launch(launcher, arguments, plan, study)

    return run
