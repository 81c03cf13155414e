"""Where the numbers of imported runs come from: who wrote them, which files, which keys."""

from __future__ import annotations

from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.parts import Section
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.tracking.imported import TRAINERS, record_of

SHORT = 12  # characters of a SHA-256
TEXT = (
    "These runs were trained elsewhere and their logs imported (docs/import.md). Metrics whose meaning is equal have "
    "the names of this package; the others stand under imported/ in MLflow. What the logs do not say stands under What "
    "is not in it."
)


def is_imported(study: StudyData) -> bool:
    """Were all of its runs trained elsewhere?"""
    return bool(study.runs) and all(record_of(run.tags) is not None for run in study.runs)


def imported_section(study: StudyData) -> list[Section]:
    """A row an imported run; nothing where there is none."""
    rows = []
    ids = []
    for run in study.runs:
        record = record_of(run.tags)
        if record is None:
            continue
        files = ", ".join(f"{name} ({digest[:SHORT]})" for name, digest in record.files.items())
        keys = ", ".join(f"{suite}={key}" for suite, key in record.suites.items()) or "-"
        trainer = TRAINERS.get(record.source, record.source)
        rows.append([
            Cell(run.arm), Cell(str(run.seed), run.seed), Cell(trainer), Cell(record.score), Cell(keys, words=True),
            Cell(files, words=True),
        ])  # fmt: skip
        ids.append(run.run_id)
    if not rows:
        return []
    header = ["arm", "seed", "trained with", "score", "suites", "files (SHA-256)"]
    return [Section("imported", "Where the numbers come from", [TEXT], tables=[TableBlock("logs", header, rows, ids)])]
