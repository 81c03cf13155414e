"""Problems: generated families and real files, for training and for evaluation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from eprli_lab.config.data import DataSpec, SourceSpec, SuiteSpec
from eprli_lab.config.paths import LABELS_DIR, PACKAGED, difficulty_path
from eprli_lab.data.strata import by_prompt_length, shuffle_labels
from eprli_lab.errors import UserError, nearest
from eprli_lab.records import Problem


def load_training(
    data: DataSpec, seed: int = 0, keep: Callable[[Sequence[Problem]], list[Problem]] = list
) -> list[Problem]:
    """Training problems with the difficulty that `data` asks for: given, measured, by prompt length. Raises UserError.

    `seed`: the run's; with label noise each seed shuffles other labels. `keep`: those of the problems that may be
    trained on; the others need no measured difficulty.
    """
    problems = keep(read_training(data))
    if data.difficulty_file:
        problems = with_measured(problems, measured_file(data.difficulty_file))
    if data.difficulty_by == "prompt_length":
        problems = by_prompt_length(problems)
    return shuffle_labels(problems, data.label_noise, seed) if data.label_noise else problems


def read_training(data: DataSpec) -> list[Problem]:
    """Training problems with the difficulty they come with (possibly none)."""
    if data.generated is not None:
        from eprli_lab.data.families import generate

        return generate(data.generated, "train")
    from eprli_lab.data.files import read_problems

    assert data.source is not None
    return _answered(read_problems(data.source, "data.source"), data.source)


def load_suite(name: str, suite: SuiteSpec) -> list[Problem]:
    """Problems of an evaluation suite; generated ones are held out. Raises UserError."""
    if suite.generated is not None:
        from eprli_lab.data.families import generate

        return generate(suite.generated, "heldout")
    from eprli_lab.data.files import read_problems

    assert suite.source is not None
    return _answered(read_problems(suite.source, f"evaluation.suites.{name}.source"), suite.source)


def _answered(problems: list[Problem], source: SourceSpec) -> list[Problem]:
    """With the source's own answer format, where it has one."""
    if source.format is None:
        return problems
    return [dataclasses.replace(p, answer_format=source.format) for p in problems]


def measured_file(name: str) -> Path:
    """The difficulty file of this name. Raises UserError for a name that the package has not."""
    path = difficulty_path(name)
    if name.startswith(PACKAGED) and not path.is_file():
        there = sorted(p.name for p in LABELS_DIR.glob("*.jsonl"))
        raise UserError(
            f"data.difficulty_file: the package has no {name.removeprefix(PACKAGED)}"
            f"{nearest(name.removeprefix(PACKAGED), there)}"
        )
    return path


def with_measured(problems: list[Problem], path: Path) -> list[Problem]:
    """d(q) = 1 - pass rate of the initial policy, from the lines {id, pass_rate, ...} of a difficulty file."""
    rates: dict[str, float] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"data.difficulty_file: {path} cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rates[str(row["id"])] = float(row["pass_rate"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path}:{number}: not a line {{id, pass_rate}}: measure again or remove the line"
            ) from None
        if not 0.0 <= rates[str(row["id"])] <= 1.0:
            raise UserError(f"{path}:{number}: pass_rate is {row['pass_rate']}, it must lie in [0, 1]")
    missing = [p.id for p in problems if p.id not in rates]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(problems)} problems have no pass rate, {missing[0]} for one: run "
            "eprli-lab difficulty again for this data"
        )
    # in decimals: 1 - 0.7 in binary is above 0.3, and the problem would fall into the stratum above
    return [dataclasses.replace(p, difficulty=float(1 - Decimal(repr(rates[p.id])))) for p in problems]
