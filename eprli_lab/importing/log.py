"""Every number that one run of another trainer logged, under that trainer's keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eprli_lab.errors import UserError, shortened

MOST = 1 << 53  # a step above it is no count


@dataclass
class Log:
    """What was read so far.

    `resumed`: of a step that stands twice, the last counts. `incomplete`: files that were cut off are taken.
    """

    resumed: bool = False
    incomplete: bool = False
    values: dict[str, dict[int, float]] = field(default_factory=dict)  # key -> step -> value
    cut: list[str] = field(default_factory=list)  # what was left out of files that were cut off, in words

    def put(self, key: str, step: int, value: float, where: str) -> None:
        """Note a value. Raises UserError where the step has another one already."""
        known = self.values.setdefault(key, {})
        if step in known and not self.resumed and not _same(known[step], value):
            raise UserError(
                f"{where}: step {step} has two values of {key} ({known[step]:g} and {value:g}): give the files of one "
                "run; of a run that was resumed, --resumed takes the last"
            )
        known[step] = value

    def put_row(self, row: Mapping[str, Any], step: int, where: str) -> None:
        """Note the numbers of a row; texts, lists and the like are no metrics and are left out."""
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                try:
                    number = float(value)
                except OverflowError:
                    raise UserError(
                        f"{where}: {key} is a number of hundreds of digits: give the log as it was written"
                    ) from None
                self.put(str(key), step, number, where)

    def was_cut(self, where: str, what: str) -> None:
        """A file ends within an entry. Raises UserError unless such files are taken."""
        if not self.incomplete:
            raise UserError(
                f"{where}: {what}, so that it was cut off or is still being written: give the whole file, or take what "
                "is whole of it with --incomplete"
            )
        self.cut.append(f"{where}: {what}; what stands before counts")

    @property
    def steps(self) -> list[int]:
        """Every step at which anything was logged."""
        return sorted({step for of in self.values.values() for step in of})


def step_of(value: object, where: str) -> int:
    """A step as a whole number. Raises UserError for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, int | float) or not is_number or not 0 <= value <= MOST or value != int(value):
        raise UserError(f"{where}: {shortened(repr(value))} is no step: a step is a whole number from 0")
    return int(value)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
