"""CSV: scores by arm, seed and suite; and what W&B exports (a run's history, or one of its charts)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eprli_lab.errors import UserError, nearest
from eprli_lab.importing.log import Log, step_of
from eprli_lab.importing.texts import STEPS, put_flat, text_of

COLUMNS = ("arm", "seed", "suite", "score", "step")
CHART = " - "  # between run and metric in the heading of a chart's column
BOUNDS = ("__MIN", "__MAX")  # columns of a chart beside each metric: of what was drawn, not of what was logged
AT_THE_END = 1  # the step of a score whose file says none: after training


class Score(NamedTuple):
    """A row of a CSV of scores."""

    arm: str | None  # None: the file has no such column
    seed: int | None
    suite: str | None
    step: int
    score: float
    where: str


def read_scores(path: Path) -> list[Score]:
    """The rows of a CSV with a column score, and arm, seed, suite, step where it has them. Raises UserError."""
    header, rows = _rows(path)
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        raise UserError(
            f"{path}: the column '{unknown[0]}' is unknown{nearest(unknown[0], COLUMNS)}: the columns are "
            "arm, seed, suite, score and, where there are several evaluations, step"
        )
    if "score" not in header:
        raise UserError(f"{path} has no column score: its columns are {', '.join(header)}")
    out = []
    for where, row in rows:
        seed, step = row.get("seed"), row.get("step")
        score = _number(row["score"])
        if score is None:
            raise UserError(f"{where}: score={row['score'] or '(empty)'} is no number")
        out.append(
            Score(
                _named(row, "arm", where),
                None if seed is None else _whole(seed, "seed", where),
                _named(row, "suite", where),
                AT_THE_END if step is None else _whole(step, "step", where),
                score,
                where,
            )
        )
    return out


def _named(row: dict[str, str], column: str, where: str) -> str | None:
    if column in row and not row[column]:
        raise UserError(f"{where} says no {column}: fill the cell, or leave the column out")
    return row.get(column)


def _whole(text: str, column: str, where: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise UserError(f"{where}: {column}={text or '(empty)'} is no whole number from 0")
    return int(text)


def read_wandb_csv(path: Path, log: Log) -> None:
    """A history (a column _step, or a trainer's own step, and one a metric) or a chart (Step, `run - metric`)."""
    header, rows = _rows(path)
    is_chart = any(CHART in name for name in header)
    step = header[0] if is_chart else next((name for name in STEPS if name in header), "")
    if not step:
        raise UserError(
            f"{path} has no column of steps ({', '.join(STEPS)}), so it is no history of W&B: its columns are "
            f"{', '.join(header[:8])}"
        )
    metrics = {name: name for name in header if name and name not in STEPS}  # pandas leaves its index unnamed
    if is_chart:
        names = [name for name in header[1:] if not name.endswith(BOUNDS)]
        metrics = {name: name.rpartition(CHART)[2] for name in names}
        runs = sorted({name.rpartition(CHART)[0] for name in names})
        if len(runs) > 1:
            raise UserError(f"{path} holds {len(runs)} runs ({', '.join(runs[:5])}): export one run at a time")
    for where, row in rows:
        numbers = {key: _number(row[column]) for column, key in metrics.items()}
        kept = {key: value for key, value in numbers.items() if value is not None}
        if is_chart:
            log.put_row(kept, step_of(_number(row[step]), where), where)
        else:
            put_flat(kept | {k: _number(row[k]) for k in STEPS if k in row}, log, where)


def _number(text: str) -> float | None:
    """None for an empty cell and for a text."""
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _rows(path: Path) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """(names of the columns, (where, cells by name) of every row). Raises UserError for what is no table."""
    try:
        lines = list(csv.reader(text_of(path).splitlines(), strict=True))
    except csv.Error as error:
        raise UserError(f"{path} is no CSV ({error}): give a table with a heading, cells parted by commas") from None
    header = [name.strip() for name in lines[0]]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: the column '{twice}' stands twice: leave one out")
    body = [(number, cells) for number, cells in enumerate(lines[1:], start=2) if cells]
    if not body:
        raise UserError(f"{path} has a heading and no row: give the log of a run that logged something")
    for number, cells in body:
        if len(cells) != len(header):
            raise UserError(f"{path}:{number} has {len(cells)} cells and the heading {len(header)}: is it whole?")
    named = ((f"{path}:{n}", {k: c.strip() for k, c in zip(header, cells, strict=True)}) for n, cells in body)
    return header, named


def is_finite(score: Score) -> bool:
    """Is it a number that can be compared?"""
    return math.isfinite(score.score)
