"""Studies of the working directory at a glance, without Optuna: what journals say, and where the reports are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STUDIES = Path("studies")
REPORTS = Path("reports")
LARGEST = 50_000_000  # bytes of a journal that is read for a glance
# Optuna's operations
_CREATED = 0  # a study
_PLAN = 2  # an attribute of one
_TRIAL = 4
_STATE = 6  # of a trial
_COMPLETE = 1  # Optuna's state


@dataclass(frozen=True)
class FoundStudy:
    """One study, by its journal in ./studies or its report in ./reports."""

    name: str
    kind: str = ""  # arms, search; '': no journal is here
    complete: int = 0  # trials; of arms: runs
    total: int = 0  # planned; 0: not known
    report: Path | None = None  # its page
    changed: float = 0.0  # when its journal or report was written last, s since 1970

    @property
    def is_over(self) -> bool:
        return 0 < self.total <= self.complete


@dataclass
class _Read:
    """What the lines of one study in a journal said."""

    plan: dict[str, Any] = field(default_factory=dict)
    keys: dict[int, Any] = field(default_factory=dict)  # trial -> (arm, seed), or None in a search
    complete: set[int] = field(default_factory=set)


def studies_here() -> list[FoundStudy]:
    """Those of ./studies and ./reports, the one that was written last first. What cannot be read is left out."""
    found: dict[str, FoundStudy] = {}
    for journal in sorted(STUDIES.glob("*.journal")):
        try:
            changed = journal.stat().st_mtime
            for name, read in _read(journal).items():
                found[name] = _studied(name, read, changed)
        except OSError:
            continue
    for page in sorted(REPORTS.glob("*/report.html")):
        name = page.parent.name
        if name not in found and (name == "certificate" or name.startswith("compare-")):
            continue
        found.setdefault(name, FoundStudy(name, report=page, changed=page.stat().st_mtime))
    return sorted(found.values(), key=lambda study: (-study.changed, study.name))


def study_here(name: str) -> FoundStudy | None:
    """The study of that name; None where neither its journal nor its report is here."""
    return next((study for study in studies_here() if study.name == name), None)


def page_of(name: str) -> Path | None:
    """The report of a study, where there is one."""
    page = REPORTS / name / "report.html"
    return page if page.is_file() else None


def _studied(name: str, read: _Read, changed: float) -> FoundStudy:
    kind = str(read.plan.get("kind", "arms"))
    if kind == "search":
        complete, total = len(read.complete), int(read.plan.get("trials", 0))
    else:
        planned = {(arm, seed) for arm in read.plan.get("arms", ()) for seed in read.plan.get("seeds", ())}
        complete, total = len({read.keys.get(trial) for trial in read.complete} & planned), len(planned)
    return FoundStudy(name, kind, complete, total, page_of(name), changed)


def _read(journal: Path) -> dict[str, _Read]:
    """Study -> what its lines said. A line that is no JSON ends the reading; too large a journal is not read."""
    names: list[str] = []
    studies: dict[int, _Read] = {}
    of_trial: list[int] = []  # trial -> study, in Optuna's numbers
    if journal.stat().st_size > LARGEST:
        return {journal.stem: _Read()}
    with open(journal, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith(('{"op_code": 0,', '{"op_code": 2,', '{"op_code": 4,', '{"op_code": 6,')):
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                break
            _note(entry, names, studies, of_trial)
    return {name: studies.get(number, _Read()) for number, name in enumerate(names)}


def _note(entry: dict[str, Any], names: list[str], studies: dict[int, _Read], of_trial: list[int]) -> None:
    code = entry["op_code"]
    if code == _CREATED:
        if entry["study_name"] not in names:  # every start of the command asks for it
            names.append(entry["study_name"])
    elif code == _PLAN and "plan" in entry.get("user_attr", {}):
        studies.setdefault(entry["study_id"], _Read()).plan = entry["user_attr"]["plan"]
    elif code == _TRIAL:
        attributes = entry.get("user_attrs") or {}
        study = studies.setdefault(entry["study_id"], _Read())
        study.keys[len(of_trial)] = (attributes.get("arm"), attributes.get("seed"))
        of_trial.append(entry["study_id"])
    elif code == _STATE and entry.get("state") == _COMPLETE and entry["trial_id"] < len(of_trial):
        studies[of_trial[entry["trial_id"]]].complete.add(entry["trial_id"])
