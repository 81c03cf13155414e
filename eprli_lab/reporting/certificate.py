"""The certificate of an instrument: which controls it passed, here, at this number of seeds, and what it can see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from eprli_lab import __version__
from eprli_lab.reporting.controls import ControlRecord
from eprli_lab.reporting.report.instrument import checks_block
from eprli_lab.reporting.report.page import Page, Section
from eprli_lab.reporting.tables.document import Cell, Document, TableBlock
from eprli_lab.reporting.tables.numbers import fraction
from eprli_lab.reporting.tables.printers import text
from eprli_lab.tracking.provenance import provenance


def certificate_text(records: Sequence[ControlRecord], preset: str) -> str:
    """For a terminal."""
    title, *lead = _lead(records, preset)
    blocks = [_controls_block(records), checks_block(records)]
    return text.print_document(Document(title, lead, blocks, [], [], [], []))


def certificate_page(records: Sequence[ControlRecord], preset: str) -> Page:
    """As a page."""
    title, *lead = _lead(records, preset)
    return Page(
        title,
        "",
        " ".join(lead),
        [
            Section("controls", "Controls", tables=[_controls_block(records)]),
            Section("checks", "What had to be found", tables=[checks_block(records)]),
        ],
    )


def _lead(records: Sequence[ControlRecord], preset: str) -> list[str]:
    hardware = provenance().get("hardware", {})
    machine = ", ".join(str(hardware[k]) for k in ("cpu", "system") if hardware.get(k))
    by_verdict = {v: [r.study for r in records if r.verdict == v] for v in ("passed", "failed", "too few seeds")}
    said = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in by_verdict.items() if names)
    return [
        f"Certificate of this instrument: {len(by_verdict['passed'])} of {len(records)} controls passed",
        f"preset={preset}, {date.today().isoformat()}, eprli_lab {__version__}, {machine}.",
        f"{said}.",
        "A control that passed says that an effect of this kind and size is found here at this number of seeds, and "
        "nothing of what is there in another study.",
    ]


def _controls_block(records: Sequence[ControlRecord]) -> TableBlock:
    """A row a control."""
    rows = []
    for r in records:
        least = "-" if r.detectable is None else f"{fraction(r.detectable)} ({r.contrast})"
        passed = sum(c.verdict == "passed" for c in r.checks)
        rows.append([
            Cell(r.study), Cell(r.question, words=True), Cell(r.task_text, words=True), Cell(str(r.seeds), r.seeds),
            Cell(f"{passed} of {len(r.checks)}", passed), Cell(r.verdict), Cell(least, r.detectable or 0.0),
        ])  # fmt: skip
    header = ["control", "question", "task", "seeds", "checks passed", "verdict", "smallest effect seen"]
    note = "smallest effect seen: the true difference of that contrast that these seeds find four times out of five."
    return TableBlock("controls", header, rows, note=note)
