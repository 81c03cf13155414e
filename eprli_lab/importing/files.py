"""Which reader a file needs, and the files of a directory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from eprli_lab.errors import UserError
from eprli_lab.importing.events import is_event_file, read_events
from eprli_lab.importing.log import Log
from eprli_lab.importing.tables import read_wandb_csv
from eprli_lab.importing.texts import read_console, read_lines, read_trainer_state, text_of

STATE = "trainer_state.json"
WANTED = {
    "trl": f"{STATE} of the run's directory or of its last checkpoint, or its TensorBoard events",
    "verl": "what its file logger (JSON lines), its tensorboard logger or its console wrote",
    "openrlhf": "the TensorBoard events of --logger.tensorboard_dir, or JSON lines",
    "wandb-export": "a history as CSV or JSON lines, or a chart as CSV",
}


def read_log(source: str, paths: Sequence[Path], *, resumed: bool = False, incomplete: bool = False) -> Log:
    """Everything that the files of one run logged. Raises UserError for what `source` does not write."""
    log = Log(resumed, incomplete)
    for path in files_of(source, paths):
        _reader(source, path)(path, log)
    if not log.values:
        raise UserError(f"{', '.join(map(str, paths))}: no number was logged there: give the log of a run that trained")
    return log


def files_of(source: str, paths: Sequence[Path]) -> list[Path]:
    """The files that are read: of a directory those that `source` writes. Raises UserError where there are none."""
    out: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: there is no such file")
        out += [path] if not path.is_dir() else _inside(source, path)
    return list(dict.fromkeys(out))


def digests(paths: Sequence[Path]) -> dict[str, str]:
    """Path as it was given -> SHA-256."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _inside(source: str, directory: Path) -> list[Path]:
    if source == "trl":
        states = [directory / STATE, *sorted(directory.glob(f"checkpoint-*/{STATE}"), key=_checkpoint, reverse=True)]
        found = [path for path in states if path.is_file()][:1]
        if found:
            return found
    events = sorted(path for path in directory.rglob("*") if path.is_file() and is_event_file(path))
    places = sorted({path.parent for path in events})
    if len(places) > 1:
        shown = ", ".join(map(str, places[:3]))
        raise UserError(f"{directory} holds the events of {len(places)} runs ({shown}): give the directory of one")
    if not events:
        raise UserError(f"{directory} holds no log of {source}: give {WANTED.get(source, 'a file')}")
    return events


def _checkpoint(path: Path) -> int:
    number = re.fullmatch(r"checkpoint-(\d+)", path.parent.name)
    return int(number[1]) if number else -1


def _reader(source: str, path: Path) -> Callable[[Path, Log], None]:
    """By the file's name where that says it, else by how its text begins."""
    if is_event_file(path):
        return read_events
    if source == "wandb-export" and path.suffix == ".csv":
        return read_wandb_csv
    starts = text_of(path).lstrip()[:1]
    if source == "trl" and path.suffix != ".jsonl":
        return read_trainer_state
    if starts == "{":
        return read_lines
    if source == "verl":
        return read_console
    raise UserError(f"{path} is no log of {source}: give {WANTED[source]}")
