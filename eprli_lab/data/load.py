"""Problems: generated families and real files, for training and for evaluation."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from eprli_lab.config.data import DataSpec, GeneratedSpec, SuiteSpec
from eprli_lab.config.paths import LABELS_DIR, PACKAGED, difficulty_path
from eprli_lab.data.strata import by_prompt_length, shuffle_labels
from eprli_lab.data.tasks import Split
from eprli_lab.errors import UserError, nearest
from eprli_lab.records import Problem


def load_training(
    data: DataSpec,
    seed: int = 0,
    keep: Callable[[Sequence[Problem]], list[Problem]] = list,
    notes: list[str] | None = None,
) -> list[Problem]:
    """Training problems with the difficulty that `data` asks for: given, measured, by prompt length. Raises UserError.

    `seed`: the run's; with label noise each seed shuffles other labels. `keep`: those of the problems that may be
    trained on; the others need no measured difficulty. `notes`: sentences on rows that are left out are added to it.
    """
    return labelled(keep(read_training(data, notes)), data, seed)


def labelled(problems: list[Problem], data: DataSpec, seed: int = 0) -> list[Problem]:
    """The problems with the difficulty that `data` asks for. Raises UserError."""
    if data.difficulty_file:
        problems = with_measured(problems, measured_file(data.difficulty_file))
    if data.difficulty_by == "prompt_length":
        problems = by_prompt_length(problems)
    return shuffle_labels(problems, data.label_noise, seed) if data.label_noise else problems


def read_training(data: DataSpec, notes: list[str] | None = None) -> list[Problem]:
    """Training problems with the difficulty they come with (possibly none)."""
    return _read(data, "train", "data.source", data.max_bad_rows, notes)


def load_suite(name: str, suite: SuiteSpec, notes: list[str] | None = None) -> list[Problem]:
    """Problems of an evaluation suite; generated ones are held out. Raises UserError, also for one bad row."""
    return _read(suite, "heldout", f"evaluation.suites.{name}.source", None, notes)


def _read(
    spec: DataSpec | SuiteSpec, split: Split, where: str, max_bad_rows: int | None, notes: list[str] | None
) -> list[Problem]:
    """Problems of a family's side of the partition, or of a source; `where`: the source's config key."""
    if spec.generated is not None:
        problems, said = _generated(spec.generated, split)
        if notes is not None:
            notes += said
        return list(problems)
    from eprli_lab.data.files import read_source

    assert spec.source is not None
    loaded = read_source(spec.source, where, max_bad_rows)
    if notes is not None:
        notes += loaded.notes(where)
    return loaded.problems


def _generated(spec: GeneratedSpec, split: Split) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Problems of a family and what it says of them; one of this package is not asked twice.

    The runs of a worker mostly want the same ones, and they are half the time of a short run.
    """
    from eprli_lab.data.families import make_family

    ours = type(make_family(spec.family)).__module__.startswith("eprli_lab.")  # a user's may change meanwhile
    return _remembered(spec, split) if ours else _made(spec, split)


def _made(spec: GeneratedSpec, split: Split) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    from eprli_lab.data.families import generate

    notes: list[str] = []
    return tuple(generate(spec, split, notes)), tuple(notes)


_remembered = functools.lru_cache(maxsize=16)(_made)


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
    from eprli_lab.data.formats import rows_of

    try:
        rows = list(rows_of(path))
    except UserError as error:
        raise UserError(f"data.difficulty_file: {error}") from None
    rates: dict[str, float] = {}
    for row in rows:
        try:
            name, rate = str(row.cells["id"]), float(row.cells["pass_rate"])
        except (ValueError, KeyError, TypeError, OverflowError):
            why = f" ({row.error})" if row.error else ""
            raise UserError(
                f"{row.place}: not a line {{id, pass_rate}}{why}: measure again or remove the line"
            ) from None
        if not 0.0 <= rate <= 1.0:
            raise UserError(f"{row.place}: pass_rate is {row.cells['pass_rate']}, it must lie in [0, 1]")
        if rates.setdefault(name, rate) != rate:
            raise UserError(f"{row.place}: the pass rate of {name} is {rate}, and was {rates[name]} before: remove one")
    missing = [p.id for p in problems if p.id not in rates]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(problems)} problems have no pass rate, {missing[0]} for one: run "
            "eprli-lab difficulty again for this data"
        )
    # in decimals: 1 - 0.7 in binary is above 0.3, and the problem would fall into the stratum above
    return [dataclasses.replace(p, difficulty=float(1 - Decimal(repr(rates[p.id])))) for p in problems]
