"""A run's directory: checkpoints at safe points (atomic), and the append-only tables that belong to them.

<run_dir>/checkpoint-<step>/   backend state + state.json + manifest.json; only whole ones carry this name
<run_dir>/ledger.jsonl         one row a generated group
<run_dir>/outcomes.jsonl       one row a (stage, suite, problem)
<run_dir>/samples.jsonl        a few whole responses of every step (tracking.samples_per_step)
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eprli_lab.backends import manifest
from eprli_lab.backends.base import Backend
from eprli_lab.backends.manifest import DamagedError
from eprli_lab.errors import UserError
from eprli_lab.files import digest, sync_folder
from eprli_lab.training.tables import TABLES, Tables

log = logging.getLogger(__name__)

KIND = "checkpoint"
INNER = ("policy", "merged")  # what people copy away: with manifests of their own
NETWORKS = "policies"  # kept networks lie here (training/policies.py)
AT_THE_END = (*(f"{table}.jsonl" for table in TABLES), "spec.json", "prompts.json", "run.json")
UNFINISHED = ("saving-*", "removing-*")  # what a kill leaves, and nobody needs


@dataclass(frozen=True)
class Checkpoint:
    """One that was read and found good."""

    path: Path
    step: int
    fingerprint: str
    tables: dict[str, dict[str, Any]]  # as Tables.state
    state: dict[str, Any]
    networks: dict[str, str]  # kept network that it needs -> digest of its manifest


class Saved(Protocol):
    """Anything whose state a checkpoint holds, as an engine's (backends/base.py)."""

    def save(self, path: Path) -> None: ...

    def load(self, path: Path) -> None: ...


class RunStore:
    """Saves and restores; a kill at any moment leaves the last whole checkpoint."""

    def __init__(self, directory: Path, fingerprint: str, keep: int = 2) -> None:
        """`keep`: how many checkpoints stay, the newest ones."""
        self.directory, self.fingerprint, self.keep = directory, fingerprint, keep
        directory.mkdir(parents=True, exist_ok=True)
        self.tables = Tables(directory)
        self.remake: dict[str, Callable[[], None]] = {}  # kept network -> what writes it once more, before `restore`
        self.beside: list[Saved] = []  # whose state goes into a checkpoint with the engine's
        self._found: Checkpoint | None = None

    def append(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Add rows to a table; no rows make no file."""
        self.tables.append(table, rows)

    def save(self, backend: Backend, state: dict[str, Any], step: int, networks: Sequence[str] = ()) -> Path:
        """Write a checkpoint of `step`, then forget all but the newest `keep`.

        `networks`: names of the kept networks that a run needs that goes on from here. Raises OSError (a full disk);
        the checkpoints that were there are there then.
        """
        final = self.directory / f"checkpoint-{step:08d}"
        temporary = self.directory / f"saving-{os.getpid()}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            for part in (backend, *self.beside):
                part.save(temporary)
            tables = self.tables.state()
            sizes = {table: entry["bytes"] for table, entry in tables.items()}
            content = {"fingerprint": self.fingerprint, "step": step, "tables": sizes, "state": state, "manifest": True}
            (temporary / "state.json").write_text(json.dumps(content))
            facts = {"kind": KIND, "step": step, "fingerprint": self.fingerprint, "tables": tables}
            facts["networks"] = {name: _seal_of(self.directory / NETWORKS / name) for name in networks}
            manifest.write_manifest(temporary, facts, INNER)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)  # room for the next try
            raise
        self._move(temporary, final)
        older = [path for path in self.checkpoints() if path != final]
        self._remove([*older[: max(0, len(older) + 1 - self.keep)], *self.directory.glob("damaged-*")])
        return final

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        found = (p for p in self.directory.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name))
        return sorted(p for p in found if p.is_dir())

    def last_good(self) -> str:
        """Where a run that failed can be taken up from, in words."""
        good = self.checkpoints()
        return f"the last good checkpoint is {good[-1]}" if good else "there is no checkpoint yet"

    def find(self) -> Checkpoint | None:
        """The newest checkpoint that is as it was written, its tables and networks too; None where there is none.

        Newer ones that are not are set aside, which is said. Raises UserError when all are damaged, and for the
        checkpoint of another configuration.
        """
        self._tidy()
        damaged: list[tuple[Path, str]] = []
        for path in reversed(self.checkpoints()):
            try:
                self._found = self._read(path)
            except DamagedError as error:
                damaged.append((path, str(error)))
                continue
            break
        else:
            self._found = None
            if damaged:
                raise UserError(
                    f"{damaged[0][1]}, so the run cannot go on, and no other checkpoint is good: remove "
                    f"{self.directory} to begin it anew, or put a copy of the file there"
                )
            return None
        if self._found.fingerprint != self.fingerprint:
            raise UserError(
                f"the checkpoint {self._found.path} belongs to another configuration (fingerprint "
                f"{self._found.fingerprint}, this run is {self.fingerprint}): remove {self.directory} or use the "
                "configuration it was made with"
            )
        for path, fault in damaged:
            log.warning("%s: the run goes on from the older %s", fault, self._found.path)
            aside = self.directory / path.name.replace("checkpoint", "damaged")
            _delete(aside)
            path.rename(aside)
        return self._found

    def restore(self, backend: Backend) -> dict[str, Any] | None:
        """Load the newest good checkpoint into the backend and return its state; None where there is none.

        Tables lose the rows that were written after it. Raises UserError as `find` does.
        """
        found = self._found or self.find()
        self._found = None
        _delete(self.directory / manifest.NAME)  # of a run that had ended: it goes on
        self.tables.cut(found.tables if found else {})
        if found is None:
            return None
        for part in (backend, *self.beside):
            part.load(found.path)
        return found.state

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table. Raises UserError for a damaged one, as far as its run had come to its end."""
        name, remedy = f"{table}.jsonl", f"eprli-lab verify {shlex.quote(str(self.directory))} says more"
        try:
            content = manifest.read_manifest(self.directory) or {"files": {}}
        except DamagedError as error:
            raise UserError(f"{error}: {remedy}") from None
        files = {key: entry for key, entry in content["files"].items() if key == name}
        faults = manifest.faults(self.directory, {"files": files}, extra=False)
        if faults:
            raise UserError(f"{faults[0]}: {remedy}")
        return self.tables.rows(table)

    def seal(self) -> None:
        """The run has come to its end: the manifest of its tables and of the JSON beside them. Raises OSError."""
        files = [self.directory / name for name in AT_THE_END if (self.directory / name).is_file()]
        facts = {"kind": "run", "fingerprint": self.fingerprint}
        manifest.write_manifest(self.directory, facts, files=files)

    def _read(self, path: Path) -> Checkpoint:
        """Raises DamagedError unless everything that belongs to the checkpoint is as it was written."""
        found = read_checkpoint(path)
        for name, seal in found.networks.items():
            try:
                _check_network(self.directory / NETWORKS / name, seal)
            except DamagedError as error:
                if name not in self.remake:
                    raise
                self.remake[name]()
                _check_network(self.directory / NETWORKS / name, seal)
                log.warning("%s: it was made again", error)
        fault = self.tables.fault(found.tables)
        if fault:
            raise DamagedError(fault)
        return found

    def _move(self, whole: Path, final: Path) -> None:
        """Into its place; where the same step's is, from the run that was resumed, that one is there until then."""
        before = self.directory / final.name.replace("checkpoint", "replaced")
        if final.exists():
            final.rename(before)
        whole.rename(final)
        sync_folder(self.directory)
        self._remove([before])

    def _remove(self, paths: Sequence[Path]) -> None:
        """None of them is there half: it gets another name first."""
        for path in paths:
            if path.exists():
                gone = self.directory / f"removing-{os.getpid()}-{path.name}"
                _delete(gone)
                path.rename(gone)
                _delete(gone)

    def _tidy(self) -> None:
        """What a kill left behind: gone, or back in its place."""
        for pattern in UNFINISHED:
            for half in self.directory.glob(pattern):
                _delete(half)
        for before in self.directory.glob("replaced-*"):
            final = self.directory / before.name.replace("replaced", "checkpoint")
            if final.exists():
                self._remove([before])
            else:
                before.rename(final)
        for partial in (*self.directory.glob(".*.partial"), *self.directory.glob(f"{NETWORKS}/*.saving")):
            _delete(partial)


def _delete(path: Path) -> None:
    """Whatever is there; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises DamagedError unless a checkpoint's files are as they were written."""
    content = manifest.read_manifest(path)
    if content is None:
        return _read_older_version(path)
    faults = manifest.faults(path, content)
    if faults or content.get("kind") != KIND:
        raise DamagedError(faults[0] if faults else f"{path / manifest.NAME} is not that of a checkpoint")
    if re.fullmatch(r"checkpoint-\d+", path.name) and int(path.name.split("-")[1]) != content["step"]:
        raise DamagedError(f"{path} holds the checkpoint of step {content['step']}")
    state = json.loads((path / "state.json").read_bytes())["state"]
    return Checkpoint(path, content["step"], content["fingerprint"], content["tables"], state, content["networks"])


def _read_older_version(path: Path) -> Checkpoint:
    """A checkpoint from before there were manifests. Raises DamagedError unless all its files can be read."""
    manifest.check_readable(path)
    file = path / "state.json"
    if not file.is_file():
        raise DamagedError(f"{file} is missing")
    content = json.loads(file.read_bytes())
    kinds = {"fingerprint": str, "step": int, "tables": dict, "state": dict}
    if not isinstance(content, dict) or any(not isinstance(content.get(k), kind) for k, kind in kinds.items()):
        raise DamagedError(f"{file} is no state of a run")
    if "manifest" in content:
        raise DamagedError(f"{path / manifest.NAME} is missing")
    sizes = {table: content["tables"].get(table, 0) for table in TABLES}
    if any(not isinstance(size, int) or size < 0 for size in sizes.values()):
        raise DamagedError(f"{file} is no state of a run")
    tables = {table: {"bytes": size} for table, size in sizes.items()}
    return Checkpoint(path, content["step"], content["fingerprint"], tables, content["state"], {})


def _seal_of(network: Path) -> str:
    """The digest of a kept network's manifest, which is made for one of an older version."""
    if not (network / manifest.NAME).is_file():
        manifest.write_manifest(network, {"kind": "network"})
    return digest(network / manifest.NAME)


def _check_network(network: Path, seal: str) -> None:
    """Raises DamagedError unless a kept network is the one that was there at the checkpoint."""
    content = manifest.read_manifest(network)
    if content is None:
        raise DamagedError(f"{network} is missing" if not network.exists() else f"{network / manifest.NAME} is missing")
    faults = manifest.faults(network, content)
    if faults or _seal_of(network) != seal:
        raise DamagedError(faults[0] if faults else f"{network} is not the network of that time")
