"""Real problems: JSONL, JSON and parquet files, and Hugging Face ids through `datasets`; columns are configurable."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from numbers import Number
from pathlib import Path
from typing import Any

from eprli_lab.config.data import SourceSpec
from eprli_lab.data.conversation import read_conversation
from eprli_lab.errors import UserError, nearest
from eprli_lab.records import Problem

_ANSWER = re.compile(r"\\boxed\b|\\fbox\b|####")  # where a worked solution gives its answer
SUFFIXES = (".jsonl", ".json", ".parquet")


def read_problems(source: SourceSpec, where: str) -> list[Problem]:
    """All problems of a source, in order. `where` is the config key, for messages.

    Raises UserError naming the file, the line (JSONL) or row, and the column.
    """
    out, seen = [], set()
    for place, row in _rows(source, where):
        problem = _problem(source, place, row)
        if problem.id in seen:
            raise UserError(
                f"{place}: the id {problem.id!r} occurs twice: make the ids distinct or set columns.id=null"
            )
        seen.add(problem.id)
        out.append(problem)
        if source.limit is not None and len(out) == source.limit:
            break
    if not out:
        raise UserError(f"{where}.path: {source.path} holds no rows")
    return out


def _rows(source: SourceSpec, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) pairs; place is `file:line` or `file row n`."""
    path = Path(source.path).expanduser()
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise UserError(f"{where}.path: there is no file {source.path}")
        reader = {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}[path.suffix]
        try:
            yield from reader(path)
        except OSError as error:
            raise UserError(f"{where}.path: {source.path} cannot be read ({error.strerror or error})") from None
        return
    if path.exists() or source.path.startswith((".", "/", "~")):
        raise UserError(f"{where}.path: {source.path} is not a {', '.join(SUFFIXES)} file")
    yield from _hub(source, where)


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(path, encoding="utf-8-sig", errors="replace") as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}:{number}: not valid JSON ({error.msg} at column {error.colno})") from None
            except (ValueError, RecursionError) as error:  # an integer too long, or brackets too deep, for Python
                raise UserError(f"{path}:{number}: cannot be read ({error})") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}:{number}: a JSON object is needed, not {type(row).__name__}")
            yield f"{path}:{number}", row


def _json(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig", errors="replace"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not valid JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise UserError(f"{path}: a list of objects is needed; one object a line belongs into a .jsonl file")
    for number, row in enumerate(rows):
        yield f"{path} row {number}", row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        number = 0
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                yield f"{path} row {number}", row
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from None


def _hub(source: SourceSpec, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    import datasets

    try:
        rows = datasets.load_dataset(source.path, source.name, split=source.split)
    except Exception as error:  # the library raises whatever its storage and network layers raise
        text = " ".join(str(error).split())[:200]
        raise UserError(
            f"{where}.path: the data set {source.path} (split {source.split}) cannot be loaded ({text}): "
            "check the id and the network, or give a local .jsonl or .parquet file"
        ) from None
    for number, row in enumerate(rows):
        yield f"{source.path} row {number}", row


def _problem(source: SourceSpec, place: str, row: dict[str, Any]) -> Problem:
    columns = source.columns
    prompt = _column(row, columns.prompt, place, "prompt")
    messages = read_conversation(prompt, f"{place}: column {columns.prompt}") or ()
    if messages:
        text = messages[-1][1]
    elif isinstance(prompt, str) and prompt.strip():
        text = source.prompt_template.replace("{prompt}", prompt)
    else:
        raise UserError(f"{place}: column {columns.prompt}: a text or a list of messages is needed, not {prompt!r}")
    identity = place.rpartition(" row ")[2].rpartition(":")[2]
    if columns.id is not None:
        identity = str(_column(row, columns.id, place, "id"))
    difficulty = None
    if columns.difficulty is not None:
        value = _column(row, columns.difficulty, place, "difficulty")
        scale = columns.difficulty_scale
        if not isinstance(value, Number) or isinstance(value, bool) or not 0.0 <= float(value) <= scale:  # type: ignore[arg-type]
            raise UserError(
                f"{place}: column {columns.difficulty}: a difficulty in [0, {scale:g}] is needed, not {value!r}"
            )
        difficulty = float(value) / scale  # type: ignore[arg-type]
    golds = answers(_column(row, columns.answer, place, "answer"))
    if not golds:
        raise UserError(f"{place}: column {columns.answer}: the answer is empty")
    steps = _steps(row, columns.solution, place) if columns.solution is not None else ()
    return Problem(identity, text, golds, difficulty, Path(source.path).stem, messages, steps=steps)


def _steps(row: dict[str, Any], column: str, place: str) -> tuple[str, ...]:
    """The worked steps of a row; none where its cell is empty."""
    cell = _column(row, column, place, "solution")
    if cell is not None and not isinstance(cell, str):
        raise UserError(f"{place}: column {column}: a worked solution is a text, not {type(cell).__name__}")
    return solution_steps(cell or "")


def solution_steps(text: str) -> tuple[str, ...]:
    r"""The steps of a worked solution, up to its answer: put together, the first of them are its beginning.

    Lines (with the line ends behind them); of a solution in one line sentences (with the space before them). The step
    in which the answer is given (the first `\boxed`, `\fbox` or `####`) is left out with everything behind it, and
    where nothing marks the answer the last step.
    """
    text = text.strip()
    marked = _ANSWER.search(text)
    lines = re.findall(r"[^\n]+(?:\n\s*)?", text[: text.rfind("\n", 0, marked.start()) + 1] if marked else text)
    if len(lines) > 1:
        return tuple(lines if marked else lines[:-1])
    sentences = re.split(r"(?<=[.!?])(?=\s)", text[: marked.start()] if marked else text)
    if marked is None or not re.search(r"[.!?]\s*$", sentences[-1]):
        sentences = sentences[:-1]  # the answer's own
    return tuple(s for s in sentences if s.strip())


def answers(value: Any) -> tuple[str, ...]:
    """Accepted answers of a cell: a text, a number, a list of either, or a list written as JSON."""
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.startswith('["') and stripped.endswith('"]'):  # how some RL sets store alternatives
            try:
                return answers(json.loads(stripped))
            except json.JSONDecodeError:
                pass
        return (stripped,) if stripped else ()
    if isinstance(value, list | tuple):
        return tuple(a for item in value for a in answers(item))
    if isinstance(value, bool) or value is None:
        return ()
    if isinstance(value, float):
        return (str(int(value)) if value.is_integer() else repr(value),) if math.isfinite(value) else ()
    if isinstance(value, Number):
        return (str(value),)
    return ()


def _column(row: dict[str, Any], path: str, place: str, what: str) -> Any:
    """The cell at a dotted path. Raises UserError with the nearest column name."""
    if path in row:
        return row[path]
    node: Any = row
    for part in path.split("."):
        if isinstance(node, str) and node.startswith("{"):  # a struct stored as JSON
            try:
                node = json.loads(node)
            except json.JSONDecodeError:
                pass
        if not isinstance(node, dict) or part not in node:
            known = list(node) if isinstance(node, dict) else []
            raise UserError(
                f"{place}: there is no column '{path}' for the {what}{nearest(part, known)}: set columns.{what}"
            )
        node = node[part]
    return node
