"""The certificate of an instrument: which controls it passed, here, at this number of seeds, and what it can see."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from eprli_lab import __version__
from eprli_lab.errors import UserError
from eprli_lab.reporting.controls import ControlRecord
from eprli_lab.reporting.report.instrument import checks_block
from eprli_lab.reporting.report.page import Page, write_page
from eprli_lab.reporting.report.parts import Section
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.reporting.tables.numbers import fraction
from eprli_lab.reporting.tables.printers import text
from eprli_lab.tracking.provenance import provenance

SMALLEST = "smallest effect seen: the true difference of that contrast that these seeds find four times out of five."


def certificate_text(records: Sequence[ControlRecord], preset: str) -> str:
    """For a terminal: a paragraph a control, a line a check."""
    title, *lead = _lead(records, preset)
    lines = [title, *(textwrap.fill(line, text.WIDTH) for line in lead)]
    for r in records:
        least = "" if r.detectable is None else f"; smallest effect seen: {fraction(r.detectable)} ({r.contrast})"
        lines += ["", f"{r.study}: {r.verdict}, {r.seeds} seeds, {r.task_text}{least}", f"  {r.question}"]
        for c in r.checks:
            line = f"{c.verdict}: {c.expected} (found: {c.found})"
            lines.append(textwrap.fill(line, text.WIDTH, initial_indent="  ", subsequent_indent="      "))
    return "\n".join([*lines, "", SMALLEST]) + "\n"


def certificate_page(records: Sequence[ControlRecord], preset: str) -> Page:
    """As a page."""
    title, *lead = _lead(records, preset)
    return Page(
        title,
        "",
        " ".join(lead),
        [
            Section("controls", "Controls", tables=[_controls_block(records)], essential=True),
            Section("checks", "What had to be found", tables=[checks_block(records)], essential=True),
        ],
        kicker="EPRLI Lab: certificate",
    )


def write_certificate(records: Sequence[ControlRecord], preset: str, out: Path) -> Path:
    """`out`/certificate.html and .md; the path of the former. Raises UserError where they cannot be written."""
    try:
        return write_page(certificate_page(records, preset), out, "certificate")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): start in another directory") from None


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
            Cell(f"{passed} of {len(r.checks)}", passed), Cell(r.verdict), Cell(least, r.detectable or 0.0, words=True),
        ])  # fmt: skip
    header = ["control", "question", "task", "seeds", "checks passed", "verdict", "smallest effect seen"]
    return TableBlock("controls", header, rows, note=SMALLEST)
