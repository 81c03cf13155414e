"""`-m sweep=...`: from Hydra's arguments to a plan, a study (a search first where there is one), and its table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import counted
from eprli_lab.escaping import shown
from eprli_lab.sweeping.compose_plan import plan_from_hydra
from eprli_lab.sweeping.fingerprints import data_digests
from eprli_lab.sweeping.plan import Plan

if TYPE_CHECKING:
    from eprli_lab.sweeping.controller import StudyResult
    from eprli_lab.sweeping.study import Study

Runner = Callable[[Plan, "Study", str], "StudyResult"]  # (plan, study, parent run id) -> how it ended


EXECUTOR = "eprli_lab.training.execute:execute"  # what makes a run in a worker


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended, for whoever started it."""

    failed: dict[tuple[str, int], str] = field(default_factory=dict)  # (arm, seed) that failed for good -> reason
    interrupted: str = ""  # how far it came, where somebody stopped it
    unstored: dict[tuple[str, int], str] = field(default_factory=dict)  # finished, not in its table -> why


def sweep(loader: Any, config: Any, arguments: list[str], launcher: Any = None) -> int:
    """Run the study that `config.study` describes. Exits with 0, 1 (a run failed for good) or 130 (interrupted).

    `launcher`: a Hydra launcher that starts the processes which make the runs; None: worker processes of this one.
    """
    from eprli_lab.training.preflight import dry_run

    plan = plan_from_hydra(loader, config, arguments)
    if dry_run(list({r.spec.arm: r.spec for r in plan.runs}.values())):
        return 0
    outcome = run_plan(plan, None if launcher is None else _run_launched(launcher, arguments))
    if outcome.interrupted:
        print(f"{again()}{outcome.interrupted}: the same command resumes", file=sys.stderr)
        sys.exit(130)
    for (arm, seed), reason in outcome.failed.items():
        print(shown(f"failed: {arm} seed {seed}: {reason}"), file=sys.stderr)
    for sentence, runs in by_reason(outcome.unstored).items():
        print(shown(f"not in the table: {', '.join(runs)}: {sentence}"), file=sys.stderr)
    if outcome.failed or outcome.unstored:
        sys.exit(1)
    return 0


def again() -> str:
    """`resume: COMMAND` and a line's end, as this process was started; '' where it would not work as it is printed."""
    from eprli_lab.tracking.provenance import command

    line = command(sys.orig_argv)
    return f"resume: {line}\n" if line and "***" not in line else ""


def by_reason(unstored: Mapping[tuple[str, int], str]) -> dict[str, list[str]]:
    """Sentence -> the runs that it is said of: a server that is away is said once."""
    runs: dict[str, list[str]] = {}
    for (arm, seed), reason in unstored.items():
        runs.setdefault(reason, []).append(f"{arm} seed {seed}")
    return runs


def run_plan(plan: Plan, run: Runner | None = None, pool: list[Any] | None = None) -> SweepOutcome:
    """Everything of a plan: its checks, its search where it has one, its arms and their report. Raises UserError.

    `run`: how the runs are made; None: by worker processes of this one. `pool`: idle ones of an earlier plan, taken and
    left there, for whoever gives it to end (workers.end_all); None: they end with the plan.
    """
    from eprli_lab.sweeping.lifecycle import check_study
    from eprli_lab.sweeping.workers import end_all

    for line in [*check_study(plan), *plan.notes, *_toy_settings(plan)]:
        print(shown(line))
    data = data_digests([r.spec for r in plan.runs])
    workers: list[Any] = [] if pool is None else pool
    runner = _run_here(workers) if run is None else run
    spare = workers if run is None and plan.sample.backend.kind == "local" else None
    try:
        if plan.search is not None:
            explored = explore(plan, data, runner, spare)
            if isinstance(explored, SweepOutcome):
                return explored
            plan = explored
        return confirm(plan, data, runner, spare)
    finally:
        if pool is None:
            end_all(workers)


def _toy_settings(plan: Plan) -> list[str]:
    """What is a toy's setting on a real model, each once with the arms that have it."""
    from eprli_lab.backends.toy_settings import toy_settings

    arms: dict[str, list[str]] = {}
    for spec in {run.spec.arm: run.spec for run in plan.runs}.values():
        for sentence in toy_settings(spec):
            arms.setdefault(sentence, []).append(str(spec.arm))
    return [f"warning: {', '.join(which)}: {sentence}" for sentence, which in arms.items()]


def explore(plan: Plan, data: dict[str, str], run: Runner, spare: list[Any] | None) -> Plan | SweepOutcome:
    """The search to its target; the plan with its winners as further arms, or where it was interrupted."""
    from eprli_lab.sweeping.agreement import PATIENCE, agree
    from eprli_lab.sweeping.lifecycle import finish_search

    searching = plan.searching()
    with _open_study(searching, data, spare) as (study, parent):
        search = plan.search
        assert search is not None
        print(
            f"search {searching.study}: {counted(plan.spec.trials, 'trial')} x {counted(len(search.seeds), 'seed')} "
            f"over {len(search.dimensions)} values ({search.spec.sampler}, pruner {search.spec.pruner})"
            + (f", {study.finished()} of them done before" if study.finished() else ""),
            flush=True,
        )
        result = run(searching, study, parent)
        if result.interrupted:
            done = f"{study.finished()} of {plan.spec.trials}"
            return SweepOutcome(interrupted=f"interrupted with {done} trials done")
        agreed = agree(searching, (), parent, study.forced_changes(), PATIENCE)
        parent = "" if agreed.away else agreed.parent
        winners = study.winners(search.spec.confirm)
        print(finish_search(searching, study.points(), winners, parent, study.early_end()))
    return plan.with_winners(winners)


def confirm(plan: Plan, data: dict[str, str], run: Runner, spare: list[Any] | None = None) -> SweepOutcome:
    """Every arm (and winner) on every seed, then the table."""
    from eprli_lab.sweeping import agreement
    from eprli_lab.sweeping.lifecycle import finish_study

    with _open_study(plan, data, spare) as (study, parent):
        done = study.finished()
        already = f", {done} of them done before" if done else ""
        of = f"{counted(len(plan.arms), 'arm')} x {counted(len(plan.spec.seeds), 'seed')}"
        print(f"study {plan.study}: {of} = {counted(len(plan.runs), 'run')}{already}", flush=True)
        result = run(plan, study, parent)
        planned = {r.key for r in plan.runs}
        complete = planned & result.complete.keys()
        if result.interrupted:
            return SweepOutcome(interrupted=f"interrupted with {len(complete)} of {len(planned)} runs complete")
        if not complete:
            return SweepOutcome(result.failed)
        agreed = agreement.agree(plan, complete, parent, study.forced_changes(), agreement.PATIENCE)
        for line in agreed.lines(plan.sample.tracking):
            print(line)
        if not agreed.away:  # no table of half the runs
            with study.storage.exclusive():  # of several processes, one writes the report at a time
                finish_study(plan, agreed.parent, study.looks())
    return SweepOutcome(result.failed, unstored=agreed.missing)


@contextmanager
def _open_study(plan: Plan, data: dict[str, str], spare: list[Any] | None) -> Iterator[tuple[Study, str]]:
    """(study, run id of its tracking parent), for the time that this process works on it. Raises UserError.

    `spare`: where idle workers of this process are kept; they start and import while the store is made.
    """
    from eprli_lab.sweeping.agreement import agree
    from eprli_lab.sweeping.lifecycle import start_study
    from eprli_lab.sweeping.study import Study
    from eprli_lab.sweeping.workers import runs_at_once

    study = Study(plan, data)  # before anything is logged: it may be refused
    try:
        if spare is not None:
            _start_workers(spare, min(runs_at_once(plan), study.left()))
        with study.storage.exclusive():  # of several processes, one makes the parent
            parent = start_study(plan, study.forced_changes())
        if parent:
            done = study.complete().keys() & {run.key for run in plan.runs}
            agreed = agree(plan, done, parent, study.forced_changes())
            for line in agreed.lines(plan.sample.tracking):
                print(line, flush=True)
            parent = agreed.parent
        yield study, parent
    finally:
        study.close()


def _start_workers(spare: list[Any], count: int) -> None:
    """So many idle workers as are wanted at least."""
    from eprli_lab.sweeping.workers import Worker

    while len(spare) < count:
        spare.append(Worker(EXECUTOR, ahead=True))


def _run_here(pool: list[Any]) -> Runner:
    """Runs on worker processes of this one, kept from the search to the arms: their start costs seconds."""

    def run(plan: Plan, study: Study, parent: str) -> StudyResult:
        from eprli_lab.sweeping.controller import run_study

        return run_study(plan, study, executor=EXECUTOR, parent_run_id=parent, pool=pool)

    return run


def _run_launched(launcher: Any, arguments: list[str]) -> Runner:
    def run(plan: Plan, study: Study, _parent: str) -> StudyResult:
        from eprli_lab.sweeping.launchers import launch

        return launch(launcher, arguments, plan, study)

    return run
