"""What a report says of the instrument it was made with: the controls that were run on the same task."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.reporting.controls import ControlRecord, task_of
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.parts import Item, Section
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.reporting.tables.numbers import fraction

RUN = "`eprli-lab calibrate` runs the shipped controls"


def instrument_section(study: StudyData, own: ControlRecord | None, known: Sequence[ControlRecord]) -> Section:
    """The study's own checks where it is a control, then those of other controls on its task in the same store."""
    task = task_of(study)
    others = [r for r in known if r.study != study.name and r.task == task and task]
    elsewhere = [r for r in known if r.study != study.name and r.task != task]
    text = []
    items: list[Item] = []
    if own is not None:
        text.append(f"This study is a control; it is said beforehand what it must find. It {_word(own)}.")
    items += [(f"{r.study}, {r.verdict}:", citation(r)) for r in others]
    if not others and own is None:
        also = f"; on other tasks: {', '.join(f'{r.study} {r.verdict}' for r in elsewhere)}" if elsewhere else ""
        text.append(
            "No control of this task is in this tracking store, so a null here may be the instrument's as well as the "
            f"world's: {RUN}{also}."
        )
    tables = [checks_block([own])] if own is not None else []
    return Section("instrument", "What this instrument finds", text, items, tables=tables)


def citation(record: ControlRecord) -> str:
    """A control in one sentence."""
    least = ""
    if record.detectable is not None:
        least = (
            f"; the smallest difference {record.contrast} that it sees four times out of five is "
            f"{fraction(record.detectable)}"
        )
    done = sum(c.verdict == "passed" for c in record.checks)
    return f"{record.question} {done} of {len(record.checks)} checks passed at {record.seeds} seeds{least}"


def checks_block(records: Sequence[ControlRecord]) -> TableBlock:
    """A row an expectation."""
    rows = [
        [Cell(r.study), Cell(c.expected, words=True), Cell(c.found, words=True), Cell(c.verdict)]
        for r in records
        for c in r.checks
    ]
    return TableBlock("what had to be found", ["control", "had to be found", "was found", "verdict"], rows)


def _word(record: ControlRecord) -> str:
    return {"passed": "passed", "failed": "failed", "too few seeds": "had too few seeds"}[record.verdict]
