"""Real problems, from files in the usual formats and from Hugging Face ids: rows, cells, problems (docs/data.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.data.cells import answers, column
from eprli_lab.data.chat import read_conversation
from eprli_lab.data.difficulty import check_direction, check_scale, read_difficulty
from eprli_lab.data.duplicates import Distinct
from eprli_lab.data.formats import rows_of
from eprli_lab.data.humaneval import COLUMNS, PATH, read_human_eval
from eprli_lab.data.rows import BadRow, Row, RowError, by_reason, shown
from eprli_lab.data.shards import bare_name, local_files
from eprli_lab.data.solutions import is_solution, solution_steps
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

IMAGES = ("image", "images", "decoded_image", "video", "videos")  # columns without which a problem cannot be asked


@dataclass(frozen=True)
class Loaded:
    """What a source gives."""

    problems: list[Problem]  # distinct, in order
    files: tuple[Path, ...]  # empty: a data set of the Hub
    columns: tuple[str, ...]  # of the first row
    rows: int  # that were looked at
    bad: tuple[BadRow, ...]  # left out: they cannot be used
    repeated: int  # left out: the same prompt with the same answers
    relabelled: int  # of these, with another difficulty than the one that is kept

    def notes(self, where: str) -> list[str]:
        """Sentences on the rows that were left out."""
        out = []
        if self.bad:
            out.append(f"{where}: {len(self.bad)} of {self.rows} rows are left out: {by_reason(self.bad)}")
        if self.repeated:
            other = f" ({self.relabelled} with another difficulty: the first one's is kept)" if self.relabelled else ""
            out.append(
                f"{where}: {self.repeated} of {self.rows} rows repeat a problem with the same answers{other}: each "
                "problem is there once"
            )
        return out


def read_source(source: SourceSpec, where: str, max_bad_rows: int | None = None) -> Loaded:
    """The problems of a source. `where` is its config key, for messages.

    Up to `max_bad_rows` rows that cannot be used are left out; None: no row, and there is no key to allow it. Raises
    UserError naming the file, the line (of text) or row, the column, and with several bad rows their reasons.
    """
    if source.path == PATH:
        programs = read_human_eval(source, where)
        return Loaded(programs, (), COLUMNS, len(programs), (), 0, 0)
    columns = source.columns
    check_direction(columns, where)
    files = local_files(source.path, source.split, where)
    distinct, bad, values, ids = Distinct(), list[BadRow](), list[float](), dict[str, str]()
    names: tuple[str, ...] = ()
    rows, place = 0, source.path
    for row in _of_files(files) if files is not None else _of_hub(source, where):
        rows, place = rows + 1, row.place
        names = names or tuple(row.cells)
        try:
            problem, value = _problem(source, row)
        except RowError as error:
            bad.append(BadRow(row.place, error.reason, str(error)))
            continue
        except UserError as error:
            raise UserError(f"{row.place}: {error}") from None
        if value is not None:
            values.append(value)
        if not distinct.add(problem, row.place):
            continue
        if problem.id in ids:
            raise UserError(
                f"{row.place}: the id {problem.id!r:.80} occurs twice, here and at {ids[problem.id]}: make the ids "
                "distinct or set columns.id=null"
            )
        ids[problem.id] = row.place
        if source.limit is not None and len(distinct.problems) == source.limit:
            break
    if not rows:
        raise UserError(f"{where}.path: {source.path} holds no rows")
    bad += distinct.bad()
    problems = distinct.usable()
    _refuse(bad, rows, len(problems), where, max_bad_rows)
    check_scale(values, columns, place.rpartition(" row ")[0] or place.rpartition(":")[0])
    return Loaded(problems, tuple(files or ()), names, rows, tuple(bad), distinct.repeated, distinct.relabelled)


def _refuse(bad: list[BadRow], rows: int, usable: int, where: str, allowed: int | None) -> None:
    """Raises UserError where more rows than allowed cannot be used, or no row can."""
    if not bad or (usable and len(bad) <= (allowed or 0)):
        return
    message = f"{bad[0].place}: {bad[0].sentence}"
    if usable:
        advice = "mend them or take them out"
        if allowed is not None:
            advice = f"mend them, or leave them out with {where.partition('.')[0]}.max_bad_rows={len(bad)}"
        message += f"; {len(bad)} of {rows} rows cannot be used: {by_reason(bad)}: {advice}"
    raise UserError(message)


def _of_files(files: list[Path]) -> Iterator[Row]:
    for file in files:
        yield from rows_of(file, f"{bare_name(file.name)}-" if len(files) > 1 else "")


def _of_hub(source: SourceSpec, where: str) -> Iterator[Row]:
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
        yield Row(f"{source.path} row {number}", str(number), row)


def _problem(source: SourceSpec, row: Row) -> tuple[Problem, float | None]:
    """The problem of a row, and the value of its difficulty column. Raises RowError."""
    if row.error is not None:
        raise row.error
    columns = source.columns
    text, messages, solution = _asked(source, row.cells)
    identity = row.number if columns.id is None else _id(column(row.cells, columns.id, "id"), columns.id)
    difficulty, value = None, None
    if columns.difficulty is not None:
        cell = column(row.cells, columns.difficulty, "difficulty")
        with _of_column(columns.difficulty):
            difficulty, value = read_difficulty(cell, columns)
    cell = column(row.cells, columns.answer, "answer")
    with _of_column(columns.answer):
        golds = answers(cell, columns.answers_mean)
    if isinstance(cell, str) and is_solution(cell):
        solution = cell
    steps = _steps(row.cells, columns, solution)
    for said in (text, identity, *golds, *steps, *(content for _, content in messages)):
        _writable(said)
    name = bare_name(source.path)
    form = source.format
    return Problem(identity, text, golds, difficulty, name, messages, steps=steps, answer_format=form), value


@contextmanager
def _of_column(name: str) -> Iterator[None]:
    """Errors within say which column they are of."""
    try:
        yield
    except RowError as error:
        raise RowError(f"column {name}: {error}", error.reason) from None
    except UserError as error:
        raise UserError(f"column {name}: {error}") from None


def _asked(source: SourceSpec, cells: dict[str, Any]) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """The question, the conversation around it (empty: a plain text), and the solution that the conversation holds."""
    name = source.columns.prompt
    prompt = column(cells, name, "prompt")
    for key in IMAGES:
        if cells.get(key) is not None and cells[key] != [] and cells[key] != "":
            raise RowError(f"column {key}: the problem comes with an image, and only text can be asked", "images")
    with _of_column(name):
        found = read_conversation(prompt)
        if found is not None:
            return found.messages[-1][1], found.messages, found.solution
        if isinstance(prompt, str) and prompt.strip():
            return source.prompt_template.replace("{prompt}", prompt), (), ""
        raise RowError(f"a text or a list of messages is needed, not {shown(prompt)}", "no prompt")


def _id(cell: Any, name: str) -> str:
    if cell is None or isinstance(cell, list | tuple | dict) or cell != cell or str(cell).strip() == "":
        raise RowError(f"column {name}: {shown(cell)} is no id: set columns.id=null for the row numbers", "no id")
    return str(cell)


def _steps(cells: dict[str, Any], columns: ColumnsSpec, solution: str) -> tuple[str, ...]:
    """The worked steps of a row: of its solution column where one is named, else of the solution found on the way."""
    if columns.solution is None:
        return solution_steps(solution)
    cell = column(cells, columns.solution, "solution")
    if cell is not None and not isinstance(cell, str):
        raise RowError(
            f"column {columns.solution}: a worked solution is a text, not {type(cell).__name__}",
            "a solution that is no text",
        )
    return solution_steps(cell or "")


def _writable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError("half a surrogate pair, which no tokenizer takes", "half a surrogate pair") from None
