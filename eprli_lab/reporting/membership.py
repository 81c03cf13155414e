"""Which logged runs a study planned: those count. Others of the same name are named beside its table."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from eprli_lab.tracking.description import PLANNED, StudyDescription
from eprli_lab.tracking.read import LoggedRun
from eprli_lab.tracking.spool import NAME, Spool, SpoolError

SHOWN = 3  # ids of runs in a sentence
UNCHECKED = "its plan was not logged (by an earlier version), so that each run belongs to it could not be checked"


class Members(NamedTuple):
    """The runs of a study, oldest first, and a sentence for those that carry its name and are none of its."""

    runs: list[LoggedRun]
    notes: list[str]


def members(logged: Sequence[LoggedRun], description: StudyDescription) -> Members:
    """Those of the logged runs of arms, oldest first, that the study planned.

    A run is planned where its fingerprint is the planned one of its arm and seed; of a search where it is of the same
    config, space and seeds, and at the point that its trial was run at last. Where no plan was logged, all are, and a
    sentence says so.
    """
    if description.kind == "search":
        return _of_search(logged, description)
    if not description.planned:
        return Members(list(logged), [UNCHECKED] if logged else [])
    kept: list[LoggedRun] = []
    others: dict[tuple[str, str], list[LoggedRun]] = {}
    unknown: dict[str, list[LoggedRun]] = {}
    for run in logged:
        arm = run.tags["arm"]
        planned = description.planned.get(arm, {})
        own = run.tags.get(PLANNED) or (None if arm in description.after else run.tags.get("fingerprint"))
        if arm not in description.planned:
            others.setdefault((arm, "the study plans no such arm"), []).append(run)
        elif run.tags["seed"] not in planned:
            others.setdefault((arm, "the study does not plan these seeds"), []).append(run)
        elif own is None:
            unknown.setdefault(arm, []).append(run)
            kept.append(run)
        elif own != planned[run.tags["seed"]]:
            others.setdefault((arm, "their configuration is not the planned one"), []).append(run)
        else:
            kept.append(run)
    notes = [_sentence(arm, why, runs) for (arm, why), runs in others.items()]
    notes += [
        f"{arm}: {_named(runs)} logged no plan, so that they belong could not be checked"
        for arm, runs in unknown.items()
    ]
    return Members(kept, notes)


def _of_search(logged: Sequence[LoggedRun], description: StudyDescription) -> Members:
    if description.searched is None:
        return Members(list(logged), [UNCHECKED] if logged else [])
    ours: list[LoggedRun] = []
    others: list[LoggedRun] = []
    for run in logged:
        is_ours = run.tags.get(PLANNED, "").partition(".")[0] == description.searched
        (ours if is_ours and int(run.tags["seed"]) in description.seeds else others).append(run)
    last = {run.tags["arm"]: run.tags[PLANNED] for run in ours}  # oldest first
    kept = [run for run in ours if run.tags[PLANNED] == last[run.tags["arm"]]]
    elsewhere = [run for run in ours if run.tags[PLANNED] != last[run.tags["arm"]]]
    notes = []
    if others:
        notes.append(f"{_named(others)} of this name are of another search (config, space or seeds): not counted")
    if elsewhere:
        notes.append(f"{_named(elsewhere)} were made at a point that their trial has no more: not counted")
    return Members(kept, notes)


def _sentence(arm: str, why: str, runs: Sequence[LoggedRun]) -> str:
    seeds = ", ".join(dict.fromkeys(run.tags["seed"] for run in runs))
    return f"{arm}: {_named(runs)} of this name (seed{'s' if ',' in seeds else ''} {seeds}) are not in the table: {why}"


def _named(runs: Sequence[LoggedRun]) -> str:
    """`3 runs (ids)`; where they were made elsewhere, by which hosts is in their tags."""
    ids = ", ".join(run.run_id for run in runs[:SHOWN]) + (", ..." if len(runs) > SHOWN else "")
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''} ({ids})"


def seeds_of(description: StudyDescription, arm: str) -> list[int]:
    """Seeds that are planned for an arm."""
    of_arm: Mapping[str, str] | None = description.planned.get(arm)
    return list(description.seeds) if of_arm is None else sorted(int(seed) for seed in of_arm)


def spooled(study: str, description: StudyDescription, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Those of these (arm, seed) that finished in the working directory -> the command that sends them to the store.

    A spool that is damaged, or of another plan, is none of its.
    """
    found: dict[tuple[str, int], str] = {}
    for arm, seed in sorted(keys) if description.planned else ():
        directory = Path("outputs") / study / arm / f"seed{seed}"
        try:
            spool = Spool.read(directory / NAME)
        except SpoolError:
            continue
        if not spool.header or spool.end is None or spool.end[0] != "FINISHED":
            continue
        run = LoggedRun("", "FINISHED", 0, spool.header["tags"], spool.header["params"])
        if run.tags.get("arm") == arm and run.tags.get("seed") == str(seed) and members([run], description).runs:
            found[arm, seed] = f"eprli-lab upload {shlex.quote(str(directory))}"
    return found
