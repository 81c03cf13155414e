"""What the name of a study stands for: the configuration of its arms, the code that makes the numbers, and the data."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from eprli_lab.config.paths import difficulty_path
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.shards import matches
from eprli_lab.errors import UserError

# What is here decides a run's numbers; tracking, sweeping and the entry points do not.
TRAINING = (
    "batch", "evaluate", "loop", "policies", "problems", "process", "remeasure", "rollout", "state", "truncation",
)  # fmt: skip
CODE = (
    *("algorithm", "backends", "data", "grading", "records.py"),
    *(f"training/{name}.py" for name in TRAINING),
)
LIBRARIES = ("torch", "transformers")
ABSENT = "(absent)"
SHOWN = 5  # changes of a kind in the sentence of a refusal
# Files of CODE that have another name now: a study begun before the move is told so, instead of what is missing.
MOVED = {
    "train.py": "training/loop.py",
    "rollout.py": "training/rollout.py",
    "evaluate.py": "training/evaluate.py",
    "batch.py": "training/batch.py",
    "policies.py": "training/policies.py",
    "state.py": "training/state.py",
    "verify.py": "grading/grader.py",
    "algorithm/difficulty.py": "algorithm/daro.py",
    "algorithm/process.py": "algorithm/step_rewards.py",
    "backends/text.py": "backends/tokenization.py",
    "backends/measure.py": "backends/update_stats.py",
    "data/__init__.py": "data/load.py",
}
ChangeKind = Literal["value", "moved", "changed", "new", "gone"]
ORDER: tuple[ChangeKind, ...] = ("value", "moved", "changed", "gone", "new")


@dataclass(frozen=True)
class Change:
    """One difference between what a study was started with and what there is now."""

    kind: ChangeKind  # value: of the configuration, of data (a digest), of a library; else what became of a file
    text: str


def code_digests() -> dict[str, str]:
    """File of the package -> digest, and library -> version."""
    package = Path(__file__).resolve().parent.parent
    sources = {name: sorted(f for end in ("*.py", "*.cpp") for f in (package / name).rglob(end)) for name in CODE}
    files = [f for name in CODE for f in (sources[name] or [package / name])]
    out = {str(f.relative_to(package)): _digest([f.read_bytes()]) for f in files}
    return out | {name: importlib.metadata.version(name) for name in LIBRARIES}


def data_digests(specs: Iterable[RunSpec]) -> dict[str, str]:
    """Local file or directory that a run reads -> digest; the source of the user's own functions is read, too.

    Generated problems are bound by code and configuration.
    """
    paths: set[str] = set()
    for spec in specs:
        sources = [spec.data.source, *(s.source for s in spec.evaluation.suites.values())]
        paths |= {s.path for s in sources if s is not None}
        paths |= {os.path.relpath(f) for f in spec.extension_files()}
        paths |= {p for p in (spec.data.difficulty_file, spec.model.path) if p is not None}
    return {p: _digest_of(p) for p in sorted(paths) if difficulty_path(p).exists() or matches(p)}


def _digest_of(name: str) -> str:
    """Of a file or directory; of a pattern, of all files that match it."""
    path = difficulty_path(name)
    if path.exists():
        return _path_digest(path)
    return _digest(part for file in matches(name) for part in (str(file).encode(), file.read_bytes()))


def _path_digest(path: Path) -> str:
    """Of a file: its bytes. Of a directory (a model): names and sizes, and the bytes of small files."""
    if path.is_file():
        return _digest([path.read_bytes()])
    parts = []
    for file in sorted(f for f in path.rglob("*") if f.is_file()):
        size = file.stat().st_size
        parts += [f"{file.relative_to(path)} {size}".encode(), file.read_bytes() if size < 1 << 20 else b""]
    return _digest(parts)


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.blake2b(digest_size=6)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def differences(bound: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> list[Change]:
    """What changed in the parts that both name; a whole arm that one of them lacks is no change, nor is a file of data.

    The configuration's changes come first, then the data's and the libraries', then the code's. A change that several
    arms share is listed once.
    """
    configuration: list[Change] = []
    data: list[Change] = []
    code: list[Change] = []
    for part in sorted(bound.keys() & now.keys()):
        before = bound[part]
        after = now[part]
        if part == "code":
            code = _code_changes(before, after)
            continue
        for key in sorted(before.keys() | after.keys()):
            if part == "data" and (key not in before or key not in after):
                continue  # another arm's file
            old = before.get(key, ABSENT)
            new = after.get(key, ABSENT)
            if old != new:
                (data if part == "data" else configuration).append(Change("value", f"{key}: {old} -> {new}"))
    code.sort(key=lambda change: ORDER.index(change.kind))  # stable
    return list(dict.fromkeys([*configuration, *data, *code]))


def _code_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """File by file: moved, changed, new or gone; and versions of libraries. A file that moved may have changed too."""
    moved = {old: new for old, new in MOVED.items() if old in before and new in after and new not in before}
    changes = [Change("moved", f"{old} to {new}") for old, new in moved.items()]
    for key in sorted(before.keys() | after.keys()):
        old = before.get(key)
        new = after.get(key)
        if old == new or key in moved or key in moved.values():
            continue
        if key in LIBRARIES:
            changes.append(Change("value", f"{key}: {old or ABSENT} -> {new or ABSENT}"))
        elif old is None:
            changes.append(Change("new", key))
        elif new is None:
            changes.append(Change("gone", key))
        else:
            changes.append(Change("changed", key))
    return changes


def summarize(changes: Sequence[Change]) -> str:
    """A part of a sentence, of readable length: the first few changes of each kind, and how many more there are."""
    clauses = []
    omitted = 0
    for kind in ORDER:
        texts = [change.text for change in changes if change.kind == kind]
        omitted += len(texts[SHOWN:])
        if texts:
            clauses.append(_label(kind) + ("; " if kind == "value" else ", ").join(texts[:SHOWN]))
    return "; ".join(clauses) + (f"; and {omitted} more" if omitted else "")


def lines(changes: Sequence[Change]) -> list[str]:
    """All changes, for the record: a line for each value, and one for all files of a kind."""
    out = [change.text for change in changes if change.kind == "value"]
    for kind in ORDER[1:]:
        files = [change.text for change in changes if change.kind == kind]
        if files:
            out.append(_label(kind) + ", ".join(files))
    return out


def _label(kind: ChangeKind) -> str:
    return "" if kind == "value" else f"code {kind}: "


def bind(study: Any, binding: Mapping[str, Any], *, force: bool, to_remove: str) -> None:
    """Remember what the name of an Optuna study stands for, or compare with what is remembered.

    Called under the study's lock. `to_remove`: what a user removes to start over. Raises UserError when something
    changed, unless `force`: then the changes are recorded and the name stands for `binding` from here on. A study in
    which nothing ran stands for nothing yet.
    """
    now: dict[str, Any] = json.loads(json.dumps(binding))
    known = study.user_attrs if study.get_trials(deepcopy=False) else {}
    bound: dict[str, Any] = json.loads(known.get("binding", "{}"))
    changes = differences(bound, now)
    if changes and not force:
        leave = any(change.kind == "value" for change in changes)  # what is planned is known by its configuration
        raise UserError(
            f"the study {study.study_name} was started with another configuration, code or data "
            f"({summarize(changes)}): give this one its own name (study.name=...), remove {to_remove} to start over, "
            "or go on with study.force=true, which is recorded"
            + ("; finished runs of another configuration then leave the table, and are not made again" if leave else "")
        )
    if changes:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"at": at, "changes": lines(changes)}
        study.set_user_attr("forced", json.dumps([*json.loads(known.get("forced", "[]")), entry]))
    merged = {**bound, **now, "data": {**bound.get("data", {}), **now["data"]}}
    if merged != bound:
        study.set_user_attr("binding", json.dumps(merged))
