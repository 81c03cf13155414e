"""Several studies side by side, in the frame of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eprli_lab.errors import counted
from eprli_lab.reporting import figures
from eprli_lab.reporting.report.drawings import figure_blocks, marks_of
from eprli_lab.reporting.report.page import Page
from eprli_lab.reporting.report.parts import Fold, Section
from eprli_lab.reporting.report.sections import reading
from eprli_lab.reporting.tables.arm import ArmRow, Comparison
from eprli_lab.reporting.tables.config_diff import config_differences
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.reporting.tables.numbers import difference_text, fraction, p_text
from eprli_lab.reporting.tables.verdicts import headline

NAN = float("nan")


def comparison_page(tables: Sequence[Comparison], drawn: Sequence[figures.Picture] = ()) -> Page:
    """Several studies: one row an arm of each, then how each reads. `drawn`: pictures named effects-<study>."""
    header = [
        "study",
        "arm",
        "seeds",
        "objective",
        "start → end",
        "difference [95%]",
        "p (raw)",
        "p (Holm)",
        "updates",
        "differs by",
    ]
    rows = []
    runs = []
    sections = []
    for t in tables:
        for r in t.rows:
            d = r.difference
            rows.append([
                Cell(t.study.name), Cell(r.arm), Cell(str(len(r.seeds)), len(r.seeds)), Cell(t.study.objective),
                Cell(f"{fraction(r.score_start)} → {fraction(r.score)}", r.score),
                Cell(f"{difference_text(d)} to {r.baseline}" if d else "baseline", d.mean if d else NAN),
                Cell(p_text(d.p) if d else "", d.p if d else NAN),
                Cell(p_text(r.p_holm) if d else "", r.p_holm), Cell(f"{r.updates:,.1f}", r.updates),
                Cell(_differs(r, t, tables[0]), words=True),
            ])  # fmt: skip
            runs.append(t.run_ids(r))
    note = (
        "[95%] and p (raw): each comparison by itself; p (Holm): corrected over the arms of its own study; differences "
        "of different studies are not compared."
    )
    grid = TableBlock("arms of all studies", header, rows, runs, note, filter=True)
    sections.append(Section("arms", "Side by side", tables=[grid], essential=True))
    for t in tables:
        name = t.study.name
        question = t.study.description.question
        shown = figure_blocks([p for p in drawn if p.name == f"effects-{name}"])
        says = [*([question] if question else []), headline(t)]
        folds = [Fold("How it reads, arm by arm", reading(t))] if reading(t) else []
        sections.append(Section(f"study-{name}", name, says, figures=shown, folds=folds, essential=True))
    names = " and ".join(t.study.name for t in tables)
    marks = _common([marks_of(t.study) for t in tables])
    summary = f"{len(tables)} studies, {counted(len(rows), 'arm')}."
    return Page(f"{names}, side by side", "", summary, sections, kicker="EPRLI Lab: studies side by side", marks=marks)


def _differs(row: ArmRow, table: Comparison, first: Comparison) -> str:
    """Config values by which an arm differs from its baseline; of a study's baseline, from that of the first study."""
    if row.difference is not None or table is first:
        return ", ".join(row.config_diff)
    between = config_differences(table.study.of(row.arm), first.study.of(first.baseline))
    return f"from {first.study.name}'s {first.baseline}: {', '.join(between) or 'nothing'}"


def _common(of_studies: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Arm -> its mark, where no two studies give an arm of this name different ones."""
    every = [(arm, mark) for marks in of_studies for arm, mark in marks.items()]
    return {arm: mark for arm, mark in every if all(m == mark for a, m in every if a == arm)}
