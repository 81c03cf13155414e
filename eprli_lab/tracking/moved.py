"""A store whose folder was moved or copied: MLflow keeps absolute places of artifacts, which are repaired at the start.

The experiment remembers where its store was (a tag). When the store is somewhere else by now, every place within the
old folder becomes the same place within the new one: nothing is written to the old folder, and reports find what is in
the new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    import sqlite3
STORE = "eprli.store"  # tag of an experiment: the absolute path of its SQLite file
ARTIFACTS = "mlartifacts"  # beside the store


def repair_locations(file: Path, experiment: str) -> str:
    """A sentence when artifact places of the store were moved to its present folder; empty when they are right.

    Raises sqlite3.Error. Nothing happens to places outside the old folder.
    """
    import sqlite3

    here = file.resolve()
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=30)
    try:
        row = connection.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
        if row is None:
            return ""
        number, location = row
        tag = connection.execute(
            "SELECT value FROM experiment_tags WHERE experiment_id = ? AND key = ?", (number, STORE)
        ).fetchone()
        if tag is not None and tag[0] == str(here):
            return ""
        old = Path(tag[0]).parent if tag is not None else _old_folder(connection, here, number, str(location or ""))
        if old is None:
            return ""
        with connection:  # one transaction
            connection.execute("BEGIN IMMEDIATE")
            changed = 0 if old == here.parent else _move(connection, old, here.parent)
            connection.execute(
                "INSERT INTO experiment_tags (experiment_id, key, value) VALUES (?, ?, ?) "
                "ON CONFLICT (key, experiment_id) DO UPDATE SET value = excluded.value",
                (number, STORE, str(here)),
            )
        return f"the store was moved from {old}: its artifacts are those in {here.parent}" if changed else ""
    finally:
        connection.close()


def _old_folder(connection: sqlite3.Connection, here: Path, experiment: int, location: str) -> Path | None:
    """Of a store that an earlier version made, without the tag; None when it cannot be told."""
    is_uri = location.startswith("file://")
    root = Path(unquote(location.removeprefix("file://")) if is_uri else location)
    if root.name != ARTIFACTS:
        return None
    if root.parent == here.parent:
        return here.parent
    ids = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,)).fetchall()
    beside = here.parent / ARTIFACTS
    return root.parent if any((beside / run_id).is_dir() for (run_id,) in ids) else None


def _move(connection: sqlite3.Connection, old: Path, new: Path) -> int:
    """Every place within the old folder; how many there were."""
    changed = 0
    for before, after in ((f"{old.as_uri()}/", f"{new.as_uri()}/"), (f"{old}/", f"{new}/")):
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            changed += connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before), before),
            ).rowcount
    return changed
