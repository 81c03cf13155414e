"""Logs that are text: TRL's trainer_state.json, JSON lines (verl's file logger, W&B's history), verl's console."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError, reason
from eprli_lab.importing.log import Log, step_of

# Where a flat row says its step, the trainer's own counter before the one of W&B, which counts calls.
STEPS = (
    "train/global_step", "eval/global_step", "training/global_step", "trainer/global_step", "global_step", "step",
    "_step", "Step",
)  # fmt: skip
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CONSOLE = re.compile(r"(?:^|\s)step:(\d+) - (.+)$")
_NUMBER = re.compile(r"(?:np\.\w+\()?([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf))\)?", re.I)


def text_of(path: Path) -> str:
    """Raises UserError for a file that cannot be read, is empty, or is no text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file that is there") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text file: give the log as the trainer wrote it") from None
    if not text.strip():
        raise UserError(f"{path} is empty: give the log of a run that logged something")
    return text


def read_trainer_state(path: Path, log: Log) -> None:
    """`log_history` of Hugging Face's trainer_state.json, or that list alone. Raises UserError for anything else."""
    text = text_of(path)
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is no JSON ({reason(error)}): give trainer_state.json as the trainer wrote it"
        ) from None
    rows = tree.get("log_history") if isinstance(tree, dict) else tree
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(
            f"{path} has no log_history, so it is no trainer_state.json: give the one of the run's directory"
        )
    for number, row in enumerate(rows, start=1):
        where = f"{path}, entry {number} of log_history"
        if "step" not in row:
            raise UserError(f"{where} has no step: give trainer_state.json as the trainer wrote it")
        log.put_row({k: v for k, v in row.items() if k != "step"}, step_of(row["step"], where), where)


def read_lines(path: Path, log: Log) -> None:
    """JSON lines: `{"step": 3, "data": {...}}`, or flat rows that hold their step. Raises UserError for others."""
    text = text_of(path)
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # no line end behind it
                log.was_cut(str(path), f"its last line, {number}, is no whole JSON")
                return
            raise UserError(f"{where} is no JSON ({reason(error)}): give the log as it was written") from None
        if not isinstance(row, dict):
            raise UserError(f"{where} is no object of keys and numbers: give one row of a log a line")
        if isinstance(row.get("data"), dict) and "step" in row:
            log.put_row(row["data"], step_of(row["step"], where), where)
            more = {"elapsed_seconds": row["elapsed_seconds"]} if "elapsed_seconds" in row else {}
            log.put_row(more, step_of(row["step"], where), where)
        else:
            put_flat(row, log, where)


def put_flat(row: Mapping[str, Any], log: Log, where: str) -> None:
    """A row that holds its step under one of STEPS. Raises UserError for one without."""
    key = next((k for k in STEPS if isinstance(row.get(k), int | float) and row[k] == row[k]), None)
    if key is None:
        raise UserError(f"{where} says no step ({', '.join(STEPS)}): export the history with its steps")
    kept = {k: v for k, v in row.items() if k not in STEPS and k != "_timestamp"}
    log.put_row(kept, step_of(row[key], where), where)


def read_console(path: Path, log: Log) -> None:
    """What verl prints: lines with `step:3 - actor/entropy:0.31 - ...`. Raises UserError for a file without any."""
    found = False
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        match = _CONSOLE.search(_COLOUR.sub("", line))
        if match is None:
            continue
        found = True
        for part in match[2].split(" - "):
            key, _, value = part.strip().rpartition(":")
            known = _NUMBER.fullmatch(value)
            if key and known is not None:
                log.put(key, int(match[1]), float(known[1]), f"{path}:{number}")
    if not found:
        raise UserError(
            f"{path} is no log of verl: it has neither JSON lines nor lines with `step:N - key:value`; give what its "
            "file, console or tensorboard logger wrote"
        )
