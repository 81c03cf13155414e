"""`run.json`: by which id a run's tracking store knows it, with a checksum; damaged, the id is in the spool as well."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from eprli_lab.files import seal, unseal, write_whole

log = logging.getLogger(__name__)
NAME = "run.json"


def read_run_id(directory: Path, owner: dict[str, Any]) -> str | None:
    """The id; None where there is none yet, and (which is said) where the file is damaged or another run's.

    `owner`: what the file must say of the run that it belongs to, as it was given to `write_run_id`.
    """
    path = directory / NAME
    if not path.exists():
        return None
    why = "is damaged"
    try:
        text = path.read_text()
        content = unseal(text) if '"sum"' in text else json.loads(text)  # an older version wrote no checksum
        known = content["run_id"]
        if known is None or isinstance(known, str):
            if all(content.get(key, value) == value for key, value in owner.items()):
                return known
            why = "belongs to another run"
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, RecursionError):
        why = "is damaged" if path.stat().st_size else "is empty"
    log.warning("%s %s: it is written anew, with the run's id from spool.jsonl where that is known", path, why)
    return None


def write_run_id(directory: Path, run_id: str | None, owner: dict[str, Any]) -> None:
    """Raises OSError."""
    path = directory / NAME
    if path.is_dir():  # nothing that we write
        path.rename(path.with_name(f"{NAME}.found"))
    write_whole(path, seal({"run_id": run_id, **owner}))
