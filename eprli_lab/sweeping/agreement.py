"""A study and its tracking store agree: what finished is in the store, whole, once, under the study's parent.

Compared at every start and before every table. What a run's directory holds and the store lacks is sent again from its
spool: the store was away or locked, was lost, moved or replaced, or a run was deleted in it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.reporting.membership import members
from eprli_lab.sweeping import locks
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.trials import Key
from eprli_lab.tracking.compare import compare, same_run
from eprli_lab.tracking.description import StudyDescription
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.read import LoggedRun, read_runs
from eprli_lab.tracking.send import PRUNED
from eprli_lab.tracking.spool import NAME, Spool, SpoolError
from eprli_lab.tracking.store import open_store
from eprli_lab.tracking.upload import send_spool
from eprli_lab.tracking.uri import first_line, resolve_uri

PATIENCE = 30.0  # s to wait for a store that cannot be reached, at the end of a study
SHOWN = 6  # runs that a sentence names


@dataclass
class Agreed:
    """What the comparison came to."""

    parent: str  # run id of the study's parent; '' while the store cannot be reached
    restored: list[str] = field(default_factory=list)  # directories of runs that were sent again
    missing: dict[Key, str] = field(default_factory=dict)  # finished, but not in the table: why, and how to go on
    away: str = ""  # why the store cannot be reached; '': it can

    def lines(self, where: TrackingSpec) -> list[str]:
        """For a terminal."""
        if not self.restored:
            return []
        count = len(self.restored)
        return [
            f"tracking: {where.uri} lacked {count} run{'s' if count > 1 else ''}, sent again: {_some(self.restored)}"
        ]


def agree(plan: Plan, complete: Collection[Key], parent: str, forced: Sequence[str], patience: float = 0.0) -> Agreed:
    """Make the store hold every run of the plan that ended. `complete`: those that the study has as finished.

    `parent`: run id of the study's parent as far as it is known. `patience`: s to wait for the store. Raises UserError
    for a store that waiting does not mend: damaged, of another version, its experiment deleted.
    """
    deadline = time.monotonic() + patience
    agreed = Agreed(parent)
    with _one_at_a_time(plan):
        while True:
            try:
                agreed.away = ""
                _agree_once(plan, complete, forced, agreed)
                return agreed
            except UserError:
                raise
            except Exception as error:  # of a server, a database, an artifact store
                agreed.away = first_line(error)
            if time.monotonic() >= deadline:
                break
            time.sleep(min(1.0, patience / 10))
    runs = f"eprli-lab upload outputs/{plan.study}/*/*"
    agreed.missing = dict.fromkeys(
        sorted(complete),
        f"not stored, since {plan.sample.tracking.uri} cannot be reached ({agreed.away}): when it is there again, "
        f"the same command sends it, or {runs}",
    )
    return agreed


def _agree_once(plan: Plan, complete: Collection[Key], forced: Sequence[str], agreed: Agreed) -> None:
    where = plan.sample.tracking.model_copy(update={"uri": resolve_uri(plan.sample.tracking.uri)})
    client, _ = open_store(where)
    description = plan.description.model_copy(update={"forced": tuple(forced)})
    logged = read_runs(where, plan.study)
    if agreed.parent not in {run.run_id for run in logged if run.tags.get("kind") == "study"}:
        agreed.parent = open_parent(where, plan.study, description)
    if not agreed.parent:
        raise ConnectionError("the study's parent run cannot be written")
    finished = {_key(run) for run in _ours(logged, description) if run.status == "FINISHED"}
    unusable: dict[Key, str] = {}
    for directory in _directories(plan):
        try:
            spool = Spool.read(directory / NAME)
        except SpoolError as error:
            unusable[directory.parent.name, _seed(directory)] = str(error)
            continue
        if not _ended(spool) or not _ours([_as_logged(spool)], description):
            continue
        run = same_run(logged, spool)
        if run is None and spool.end and spool.end[0] == "FINISHED" and _key(_as_logged(spool)) in finished:
            continue  # another process has run it, too: that one counts
        state = "less" if run is None else compare(where, run, spool)
        if state == "same":
            continue
        try:
            lock = locks.lock(directory / "lock")
        except locks.LockHeldError:  # it is being run again
            continue
        try:
            if run is not None and state == "other":
                client.delete_run(run.run_id)  # to MLflow's trash: its values are not those that the run logged
            send_spool(spool, where, agreed.parent)
        finally:
            if lock is not None:
                lock.close()
        if str(directory) not in agreed.restored:
            agreed.restored.append(str(directory))
    logged = read_runs(where, plan.study) if agreed.restored else logged
    _nest(client, _ours(logged, description), agreed.parent, logged)
    there = {_key(run) for run in _ours(logged, description) if run.status == "FINISHED"}
    agreed.missing = {key: _why(plan, key, unusable) for key in sorted(complete) if key not in there}


def _ours(logged: Sequence[LoggedRun], description: StudyDescription) -> list[LoggedRun]:
    """Runs of arms that the study planned."""
    of_arms = [
        r for r in logged if r.tags.get("kind") == "run" and "arm" in r.tags and r.tags.get("seed", "").isdecimal()
    ]
    return members(of_arms, description).runs


def _key(run: LoggedRun) -> Key:
    return run.tags["arm"], int(run.tags["seed"])


def _as_logged(spool: Spool) -> LoggedRun:
    """What the store would have of it."""
    status = spool.end[0] if spool.end is not None else "RUNNING"
    return LoggedRun(spool.run_id or "", status, 0, spool.header["tags"], spool.header["params"])


def _ended(spool: Spool) -> bool:
    """Did it come to an end that it does not go on from?"""
    if not spool.header or spool.end is None:
        return False
    return spool.end[0] in ("FINISHED", "FAILED") or spool.end[1] == PRUNED


def _directories(plan: Plan) -> Iterator[Path]:
    """Of the plan's runs; of a search, of all that its trials made."""
    if plan.kind == "search":
        yield from sorted(path.parent for path in (Path("outputs") / plan.study).glob(f"*/*/{NAME}"))
    else:
        yield from (run.directory for run in plan.runs if (run.directory / NAME).is_file())


def _seed(directory: Path) -> int:
    digits = directory.name.removeprefix("seed")
    return int(digits) if digits.isdecimal() else -1


def _why(plan: Plan, key: Key, unusable: dict[Key, str]) -> str:
    directory = Path("outputs") / plan.study / key[0] / f"seed{key[1]}"
    if key in unusable:
        return f"it is not in the tracking store, and {unusable[key]}: only a study of another name can make it again"
    if (directory / NAME).is_file():
        return f"it is not in the tracking store: try eprli-lab upload {directory}"
    return (
        f"it is not in the tracking store, and there is no {directory / NAME} to restore it from: where it was run, or "
        f"a copy of that directory is, use eprli-lab upload; else only a study of another name can make it again"
    )


def _nest(client: Any, ours: Sequence[LoggedRun], parent: str, logged: Sequence[LoggedRun]) -> None:
    """Runs that were sent while there was no parent go below it."""
    parents = {run.run_id for run in logged if run.tags.get("kind") == "study"} | {parent}
    for run in ours:
        if run.tags.get("mlflow.parentRunId") not in parents:
            client.set_tag(run.run_id, "mlflow.parentRunId", parent)


def _one_at_a_time(plan: Plan) -> Any:
    """Of several processes of one directory; not under the study's lock, which heartbeats need."""
    from filelock import FileLock

    folder = Path("outputs") / plan.study
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".agreement.lock")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
