"""Published numbers that a run's own evaluation is printed beside, each with its source (reference.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.reporting.stats.passk import Evaluation, published

FILE = Path(__file__).resolve().parent / "reference.json"


@dataclass(frozen=True)
class Suite:
    """One benchmark."""

    name: str  # as in eval/{suite}/...
    title: str  # as the paper prints it
    problems: int
    note: str = ""


@dataclass(frozen=True)
class Reference:
    """One row of a published table."""

    name: str
    source: str
    scores: dict[str, float]  # suite -> percent
    average: float | None  # percent, as printed; None: not printed


@dataclass(frozen=True)
class References:
    """All rows, and the suites that they were measured on."""

    suites: dict[str, Suite]
    results: list[Reference]

    def interval(self, result: Reference, suite: str) -> Evaluation:
        """A published score with what its number of problems lets one say (fractions)."""
        return published(result.scores[suite] / 100, self.suites[suite].problems)


def load_references(path: Path = FILE) -> References:
    """Read a reference file. Raises UserError when it is not one, or names a suite that it does not describe."""
    try:
        tree = json.loads(path.read_text())
        suites = {name: Suite(name, **values) for name, values in tree["suites"].items()}
        results = [_result(entry) for entry in tree["results"]]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a reference file") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no reference file ({type(error).__name__}: {error})") from None
    unknown = {s for r in results for s in r.scores} - suites.keys()
    if unknown:
        raise UserError(f"{path}: results name suites that it does not describe: {', '.join(sorted(unknown))}")
    return References(suites, results)


def _result(entry: dict[str, Any]) -> Reference:
    if entry["unit"] != "percent":
        raise ValueError(f"unit of {entry['name']} must be percent, not {entry['unit']}")
    scores = {suite: float(value) for suite, value in entry["scores"].items()}
    average = None if entry["average"] is None else float(entry["average"])
    return Reference(entry["name"], entry["source"], scores, average)
