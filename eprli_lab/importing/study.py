"""Imported runs into a study of the tracking store: its parent says what is planned, each run where it came from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.config.fields import checked_name
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError, nearest
from eprli_lab.importing.runs import ImportedRun
from eprli_lab.tracking import names
from eprli_lab.tracking.description import Contrast, Objective, StudyDescription, last_opened
from eprli_lab.tracking.imported import CONFIGURATION, TAG, record_of
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.read import LoggedRun, read_runs
from eprli_lab.tracking.send import attach, end_run, missing, send
from eprli_lab.tracking.spool import Spool
from eprli_lab.tracking.store import open_store, process_tags
from eprli_lab.tracking.uri import first_line, resolve_uri

Key = tuple[str, int]  # arm, seed
PATIENCE = 5  # times that the plan is written, where several imports write it at once


def import_runs(
    tracking: TrackingSpec,
    study: str,
    runs: Sequence[ImportedRun],
    *,
    baseline: str | None = None,
    question: str | None = None,
    contrasts: Sequence[str] = (),
    replace: bool = False,
) -> StudyDescription:
    """Add these runs to a study, which is made where it is not there; what it plans now.

    `replace`: a run of the same arm and seed gives way (MLflow keeps it as deleted). Raises UserError, before anything
    is written, when one is there already, the study is not one of imports, its runs were examined on other suites, the
    same log has another seed, or the baseline is no arm; and when the store cannot be reached.
    """
    checked_name("--study", study)
    try:
        client, experiment = open_store(tracking)
        logged = read_runs(tracking, study)
        known = {key: run for run in logged if (key := _key(run)) is not None}
        _check(study, logged, known, runs, replace)
        wanted = describe(_earlier(logged), runs, baseline, question, contrasts)
        new = {(run.arm, run.seed) for run in runs}
        for there in logged:
            if _key(there) in new:  # what is finished was asked to be replaced
                client.delete_run(there.run_id)
        parent = _planned(tracking, study, wanted, runs)
        for run in runs:
            _store(client, experiment, tracking, study, parent, run)
        client.set_terminated(parent, "FINISHED")
        return _earlier(read_runs(tracking, study)) or wanted
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{tracking.uri} cannot be reached ({first_line(error)}): start it and import again") from None


def describe(
    earlier: StudyDescription | None,
    runs: Sequence[ImportedRun],
    baseline: str | None,
    question: str | None,
    contrasts: Sequence[str],
) -> StudyDescription:
    """The study with these runs. Raises UserError for a baseline or a contrast of arms that it has not."""
    before = earlier or StudyDescription()
    arms = tuple(dict.fromkeys([*before.arms, *(run.arm for run in runs)]))
    seeds = {*before.seeds, *(run.seed for run in runs)}
    if baseline is not None and baseline not in arms:
        raise UserError(f"--baseline {baseline}: the study has no such arm{nearest(baseline, arms)}: import it first")
    for text in contrasts:
        try:
            contrast = Contrast.of(text)
        except ValueError as error:
            raise UserError(f"--contrast: {error}") from None
        for arm in contrast:
            if arm not in arms:
                raise UserError(f"--contrast {text}: the study has no arm {arm}{nearest(arm, arms)}: import it first")
    planned = {arm: dict(before.planned.get(arm, {})) for arm in arms}
    for run in runs:
        planned[run.arm][str(run.seed)] = run.digest
    return StudyDescription(
        question=question or before.question,
        objectives=(Objective(metric=names.SCORE),),
        baseline=baseline or before.baseline or arms[0],
        arms=arms,
        seeds=tuple(sorted(seeds)),
        contrasts=tuple(contrasts) or before.contrasts,
        configurations=dict.fromkeys(arms, CONFIGURATION),
        planned=planned,
    )


def _check(
    study: str, logged: Sequence[LoggedRun], known: Mapping[Key, LoggedRun], runs: Sequence[ImportedRun], replace: bool
) -> None:
    """Raises UserError for what must not be put together."""
    plans = [StudyDescription.from_tags(run.tags) for run in logged if run.tags.get("kind") == "study"]
    own = any(run.tags.get("kind") == "run" and TAG not in run.tags for run in logged)
    if own or any(set(plan.configurations.values()) - {CONFIGURATION} for plan in plans):
        raise UserError(
            f"--study {study}: it holds runs of this package, whose plan has no room for others: give another name"
        )
    _check_alone(study, known, runs, replace)
    new = {(run.arm, run.seed): frozenset(run.record.suites) for run in runs}
    records = {key: record_of(run.tags) for key, run in known.items()}
    before = {key: frozenset(record.suites) for key, record in records.items() if record is not None}
    examined = {key: suites for key, suites in before.items() if key not in new} | new
    for key, suites in new.items():
        other = next(((k, s) for k, s in examined.items() if s != suites), None)
        if other is not None:
            raise UserError(
                f"{key[0]} seed {key[1]} was examined on other suites ({_listed(suites)}) than {other[0][0]} seed "
                f"{other[0][1]} ({_listed(other[1])}), so that their scores cannot be compared: name them alike with "
                "--suite NAME=KEY"
            )


def _check_alone(study: str, known: Mapping[Key, LoggedRun], runs: Sequence[ImportedRun], replace: bool) -> None:
    """Raises UserError for a run that is there already, and for a log that has another arm or seed."""
    seen: dict[str, Key] = {run.tags.get("fingerprint", ""): key for key, run in known.items()}
    for run in runs:
        key = (run.arm, run.seed)
        there = known.get(key)
        if there is not None and there.status == "FINISHED" and not replace:
            raise UserError(
                f"{run.arm} seed {run.seed} is in study {study} already (run {there.run_id}): give another arm or "
                "seed, or --replace (force=true)"
            )
        other = seen.setdefault(run.digest, key)
        if other != key and run.record.source != "csv":
            raise UserError(
                f"{', '.join(run.record.files)}: the same log is {other[0]} seed {other[1]} already: give the log of "
                f"{run.arm} seed {run.seed}"
            )


def _listed(suites: frozenset[str]) -> str:
    return ", ".join(sorted(suites)) or "none"


def _key(run: LoggedRun) -> Key | None:
    """(arm, seed) of an imported run."""
    if run.tags.get("kind") != "run" or TAG not in run.tags or not run.tags.get("seed", "").isdecimal():
        return None
    return run.tags.get("arm", ""), int(run.tags["seed"])


def _earlier(logged: Sequence[LoggedRun]) -> StudyDescription | None:
    """What the study's parent says of it; None where there is none."""
    parents = [run for run in logged if run.tags.get("kind") == "study"]
    newest = max(parents, key=lambda run: (last_opened(run.tags), run.started), default=None)
    return StudyDescription.from_tags(newest.tags) if newest is not None else None


def _planned(tracking: TrackingSpec, study: str, wanted: StudyDescription, runs: Sequence[ImportedRun]) -> str:
    """Run id of the parent, whose plan holds these runs; written again where another import wrote its own meanwhile."""
    for _ in range(PATIENCE):
        parent = open_parent(tracking, study, wanted)
        if not parent:
            break
        there = _earlier(read_runs(tracking, study)) or StudyDescription()
        if all(there.planned.get(run.arm, {}).get(str(run.seed)) == run.digest for run in runs):
            return parent
    raise UserError(f"{tracking.uri}: the plan of study {study} could not be written there: import again")


def _store(client: Any, experiment: str, tracking: TrackingSpec, study: str, parent: str, run: ImportedRun) -> None:
    """One finished run. Its token is of its content, so that an import that was killed goes on where it was."""
    tags = {
        "kind": "run", "study": study, "arm": run.arm, "seed": str(run.seed), "fingerprint": run.digest,
        "eprli.token": f"{study}/{run.arm}/{run.seed}/{run.digest}", TAG: run.record.model_dump_json(),
        "mlflow.parentRunId": parent, "mlflow.source.name": "eprli-lab import", "mlflow.source.type": "LOCAL",
        **process_tags(),
    }  # fmt: skip
    now = int(time.time() * 1000)
    spool = Spool(Path("spool"))  # never written: the log is its own copy
    spool.header = {
        "token": tags["eprli.token"],
        "name": f"{run.arm}-seed{run.seed}",
        "tags": tags,
        "params": dict(run.params),
    }
    spool.points = {(name, step): (v, now) for name, of in run.metrics.items() for step, v in sorted(of.items())}
    run_id, stored = attach(client, experiment, spool)
    send(client, resolve_uri(tracking.uri), run_id, missing(spool, stored))
    end_run(client, run_id, "FINISHED", None)
