"""A run's directory: checkpoints at safe points (atomic), and the append-only tables that belong to them.

<run_dir>/checkpoint-<step>/   backend state + state.json; only whole ones carry this name
<run_dir>/ledger.jsonl         one row a generated group
<run_dir>/outcomes.jsonl       one row a (stage, suite, problem)
<run_dir>/samples.jsonl        a few whole responses of every step (tracking.samples_per_step)
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from eprli_lab.backends.base import Backend
from eprli_lab.errors import UserError

TABLES = ("ledger", "outcomes", "samples")


class RunStore:
    """Saves and restores; a kill at any moment leaves the last whole checkpoint."""

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self.directory, self.fingerprint = directory, fingerprint
        directory.mkdir(parents=True, exist_ok=True)

    def append(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Add rows to a table; no rows make no file."""
        if not rows:
            return
        with open(self._path(table), "a") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)

    def save(self, backend: Backend, state: dict[str, Any], step: int) -> Path:
        """Write a checkpoint of `step`, then forget the older ones."""
        final = self.directory / f"checkpoint-{step:08d}"
        temporary = self.directory / f"saving-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        backend.save(temporary)
        sizes = {t: self._path(t).stat().st_size if self._path(t).is_file() else 0 for t in TABLES}
        content = {"fingerprint": self.fingerprint, "step": step, "tables": sizes, "state": state}
        (temporary / "state.json").write_text(json.dumps(content))
        shutil.rmtree(final, ignore_errors=True)  # only ever the same step's, from the run that was resumed
        temporary.rename(final)
        for old in self.checkpoints():
            if old != final:
                shutil.rmtree(old, ignore_errors=True)
        return final

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(p for p in self.directory.glob("checkpoint-*") if (p / "state.json").is_file())

    def last_good(self) -> str:
        """Where a run that failed can be taken up from, in words."""
        good = self.checkpoints()
        return f"the last good checkpoint is {good[-1]}" if good else "there is no checkpoint yet"

    def restore(self, backend: Backend) -> dict[str, Any] | None:
        """Load the newest checkpoint into the backend and return its state; None where there is none.

        Tables lose the rows that were written after it. Raises UserError for the checkpoint of another config.
        """
        for half in self.directory.glob("saving-*"):
            shutil.rmtree(half, ignore_errors=True)
        found = self.checkpoints()
        content: dict[str, Any] = json.loads((found[-1] / "state.json").read_text()) if found else {"tables": {}}
        for table, size in (dict.fromkeys(TABLES, 0) | content["tables"]).items():
            if self._path(table).is_file():
                os.truncate(self._path(table), size)
        if not found:
            return None
        if content["fingerprint"] != self.fingerprint:
            raise UserError(
                f"the checkpoint {found[-1]} belongs to another configuration (fingerprint {content['fingerprint']}, "
                f"this run is {self.fingerprint}): remove {self.directory} or use the configuration it was made with"
            )
        backend.load(found[-1])
        state: dict[str, Any] = content["state"]
        return state

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        path = self._path(table)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def _path(self, table: str) -> Path:
        return self.directory / f"{table}.jsonl"
