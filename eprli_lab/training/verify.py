"""Is what lies in a directory what was written? A run, a checkpoint, or a model with a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from eprli_lab.backends import manifest
from eprli_lab.backends.manifest import DamagedError
from eprli_lab.errors import UserError
from eprli_lab.files import digest, unseal
from eprli_lab.training.checkpoint import NETWORKS, RunStore, read_checkpoint
from eprli_lab.training.tables import TABLES, Tables


class Verdict(NamedTuple):
    """Of one thing: a checkpoint, a network, a table, a file."""

    path: Path
    fault: str  # a clause; '' where it is good
    measured: str = ""


def verify(directory: Path) -> list[Verdict]:
    """One verdict a thing, damaged or good. Raises UserError for a directory that holds nothing that can be verified.

    Files of versions that wrote no manifest are read, and good where they are whole.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} is no directory: give that of a run, a checkpoint or a model")
    if _is_run(directory):
        return list(_run(directory))
    if (directory / "state.json").exists():
        return [_checkpoint(directory)]
    if (directory / manifest.NAME).exists():
        return [_folder(directory)]
    raise UserError(
        f"{directory} holds neither a run, nor a checkpoint, nor a model with a {manifest.NAME}: nothing to verify"
    )


def _is_run(directory: Path) -> bool:
    return any(directory.glob("checkpoint-*")) or any((directory / f"{t}.jsonl").exists() for t in TABLES)


def _run(directory: Path) -> Iterator[Verdict]:
    checkpoints = RunStore(directory, "").checkpoints()
    yield from (_checkpoint(path) for path in checkpoints)
    yield from (_folder(path) for path in sorted((directory / NETWORKS).glob("*")) if not path.name.endswith(".saving"))
    yield from _networks(directory, checkpoints)
    at_the_end = None
    try:
        at_the_end = manifest.read_manifest(directory)
    except DamagedError as error:
        yield _damaged(directory / manifest.NAME, error)
    if not checkpoints:
        yield Verdict(directory, "holds no checkpoint any more" if at_the_end else "", "no checkpoint yet")
    if at_the_end is not None:
        for name, entry in sorted(at_the_end["files"].items()):
            fault = manifest.faults(directory, at_the_end | {"files": {name: entry}}, extra=False)
            yield Verdict(directory / name, _clause(fault[0], directory / name) if fault else "", _size(entry["bytes"]))
        return
    yield from (_table(directory, table, checkpoints) for table in TABLES if (directory / f"{table}.jsonl").exists())
    for name in ("run.json", "spec.json", "prompts.json"):
        if (directory / name).exists():
            yield _json(directory / name)


def _networks(directory: Path, checkpoints: list[Path]) -> Iterator[Verdict]:
    """Of the kept networks that the newest good checkpoint needs, those that are not there as they were then."""
    for checkpoint in reversed(checkpoints):
        try:
            networks = read_checkpoint(checkpoint).networks
        except DamagedError:
            continue
        for name, seal in networks.items():
            path = directory / NETWORKS / name
            if not (path / manifest.NAME).is_file() or digest(path / manifest.NAME) != seal:
                yield Verdict(path, f"is not the network that {checkpoint.name} needs")
        return


def _checkpoint(path: Path) -> Verdict:
    try:
        read_checkpoint(path)
        content = manifest.read_manifest(path)
    except DamagedError as error:
        return _damaged(path, error)
    return Verdict(path, "", _described(content))


def _folder(path: Path) -> Verdict:
    try:
        content = manifest.read_manifest(path)
        if content is None:
            manifest.check_readable(path)
        faults = manifest.faults(path, content) if content else []
    except DamagedError as error:
        return _damaged(path, error)
    return Verdict(path, _clause(faults[0], path) if faults else "", _described(content))


def _table(directory: Path, table: str, checkpoints: list[Path]) -> Verdict:
    """Up to the newest checkpoint it must be what was written; after it a run may be under way, or have been killed."""
    path = directory / f"{table}.jsonl"
    for checkpoint in reversed(checkpoints):
        try:
            saved = read_checkpoint(checkpoint).tables
        except DamagedError:
            continue
        fault = Tables(directory).fault({table: saved.get(table, {"bytes": 0})}, only=table)
        if fault:
            return Verdict(path, _clause(fault, path))
        return Verdict(path, "", f"{_size(saved.get(table, {'bytes': 0})['bytes'])} up to {checkpoint.name}")
    return Verdict(path, "cannot be verified: no checkpoint is good")


def _json(path: Path) -> Verdict:
    try:
        text = path.read_text()
        if path.name == "run.json" and '"sum"' in text:
            unseal(text)
        else:
            json.loads(text)
    except (OSError, ValueError, KeyError, RecursionError):
        return Verdict(path, "is damaged")
    return Verdict(path, "", _size(path.stat().st_size))


def _described(content: dict[str, Any] | None) -> str:
    if content is None:
        return "no manifest (of an older version), readable"
    files = content["files"].values()
    return f"{len(files)} file{'s' if len(files) != 1 else ''}, {_size(sum(entry['bytes'] for entry in files))}"


def _damaged(path: Path, error: DamagedError) -> Verdict:
    return Verdict(path, _clause(str(error), path))


def _clause(fault: str, path: Path) -> str:
    """The fault without the path that stands before it."""
    return fault.removeprefix(f"{path} ").removeprefix(f"{path}/")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count:,} bytes"
