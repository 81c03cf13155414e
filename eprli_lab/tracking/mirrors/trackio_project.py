"""Trackio: a project for a study, in trackio/ of the working directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.tracking.mirrors.base import MirroredRun, Row

FOLDER = "trackio"
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


def project_of(study: str | None, experiment: str) -> str:
    """The project of a run: its study, or the tracking experiment of a run by itself."""
    return study or experiment


def storage(home: Path) -> Any:
    """Trackio's storage in TRACKIO_DIR, by default `trackio` in `home`.

    Raises UserError where this process has loaded Trackio for another directory: it cannot be told another one later.
    """
    os.environ.setdefault("TRACKIO_DIR", str(home / FOLDER))
    from trackio import sqlite_storage

    wanted, used = Path(os.environ["TRACKIO_DIR"]), Path(sqlite_storage.TRACKIO_DIR)
    if wanted != used:
        raise UserError(f"tracking.mirror: trackio was loaded for {used} before: start a new process to use {wanted}")
    return sqlite_storage.SQLiteStorage


def check(study: str | None, experiment: str, home: Path) -> None:
    """Raises UserError for what Trackio would not take, or take elsewhere."""
    for name in ELSEWHERE:
        if os.environ.get(name):
            raise UserError(
                f"tracking.mirror: trackio is written on this machine only, and {name} is set: unset it, and send the "
                "project later with `trackio sync`"
            )
    project = project_of(study, experiment)
    key = "study.name" if study else "tracking.experiment"
    if not all(c.isascii() and (c.isalnum() or c in "-_") for c in project):
        raise UserError(f"{key}: '{project}' is no name for a project of trackio: use letters, digits, _ and -")
    try:
        storage(home).validate_project_name(project)
    except ValueError:
        raise UserError(f"{key}: '{project}' is a name that trackio keeps for itself: choose another one") from None


class TrackioProject:
    """A run that goes on is written anew, whole.

    The newest step waits for the next one, since Trackio takes what is known of a run only together with a step: the
    last one carries the status.
    """

    def start(self, run: MirroredRun) -> int:
        """0: everything is written, in any case."""
        self._project, self._run = project_of(run.study, run.experiment), run
        self._storage = storage(run.home)
        self._config: dict[str, Any] = {**run.params, "tags": dict(run.tags), "status": "RUNNING"}
        self._config |= {"_Created": datetime.now(UTC).isoformat(), "_Group": run.arm}
        self._newest: Row | None = None
        self._storage.delete_run(self._project, run.name, run_id=run.id)
        return 0

    def rows(self, rows: Sequence[Row]) -> None:
        """In the database when it is back, but for the last one."""
        ready = [*([self._newest] if self._newest else []), *rows]
        self._newest = ready.pop()
        self._send(ready)

    def file(self, path: Path, folder: str) -> None:
        """Nothing: files stay where the run put them."""

    def finish(self, status: str, message: str | None) -> None:
        """The last step, and the status within the config."""
        self._config |= {"status": status} | ({"ended": message} if message else {})
        self._send([self._newest] if self._newest else [])

    def _send(self, rows: Sequence[Row]) -> None:
        self._storage.bulk_log(
            project=self._project,
            run=self._run.name,
            run_id=self._run.id,
            metrics_list=[row.numbers for row in rows],
            steps=[row.step for row in rows],
            timestamps=[datetime.fromtimestamp(row.seconds, UTC).isoformat() for row in rows],
            config=self._config,
        )
