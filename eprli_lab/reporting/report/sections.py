"""What stands in the report of one study, in this order: the answer, what to look at, the arms, then all else."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.errors import counted
from eprli_lab.masking import mask
from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.controls import built_task
from eprli_lab.reporting.diagnosis import diagnose
from eprli_lab.reporting.diagnosis.finding import Finding
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.answers import answers, detectable_block, detectable_sentence
from eprli_lab.reporting.report.blocks import (
    configuration_block,
    runs_block,
    sampling_block,
    seeds_blocks,
    suites_block,
    trials_block,
)
from eprli_lab.reporting.report.drawings import figure_blocks, marks_of
from eprli_lab.reporting.report.findings import findings_section
from eprli_lab.reporting.report.imported_runs import imported_section
from eprli_lab.reporting.report.level_blocks import compute_block, levels_block
from eprli_lab.reporting.report.page import Page
from eprli_lab.reporting.report.parts import FigureBlock, Fold, Item, Section
from eprli_lab.reporting.report.provenance import provenance_section
from eprli_lab.reporting.report.published import reference_section
from eprli_lab.reporting.report.samples import samples_section
from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.document import TableBlock, document
from eprli_lab.reporting.tables.rows import search_note
from eprli_lab.reporting.tables.verdicts import arms_headline, contrast_lines, examination_note, verdicts

KICKER = "EPRLI Lab: report of a study"
OPEN = ("accuracy", "further objectives")  # tables of arms that answer; the others fold
# section -> the figures that stand in it
FIGURES = {
    "effects": ("effects",),
    "curves": ("learning_curves",),
    "buffer": ("buffer", "drawn", "reward_variance"),
    "levels": ("q_order", "forgetting"),
    "suites": ("effects_by_suite", "learning_curves_by_suite", "pass_at_k"),
    "compute": ("compute_curves",),
}


def study_page(
    study: StudyData,
    table: Comparison | None,
    drawn: Sequence[figures.Picture],
    artifacts: Artifacts,
    baseline: str | None,
    margin: float,
    again: Sequence[str] = (),
    instrument: Section | None = None,
) -> Page:
    """The whole report of a study; `table` is None for a search. `again`: words of the command that makes it again.

    `instrument`: what controls say of this instrument (report/instrument.py).
    """
    d = study.description
    title = f"{study.name}: {d.question}" if d.question else study.name
    shown = figure_blocks(drawn)
    left = left_section(study, artifacts)
    if table is None:
        trials = Section("trials", "What the search saw", figures=shown, tables=[trials_block(study)], essential=True)
        sections = [trials, *left, provenance_section(study, again)]
        return Page(title, d.claim or "", search_note(study), sections, kicker=KICKER)
    findings = diagnose(study, artifacts.ledger, artifacts.outcomes, baseline, margin)
    sections = [
        *_answering(study, table, shown, findings),
        *_explaining(study, table, shown, artifacts, baseline, margin),
        *([instrument] if instrument is not None else []),
        Section("runs", "Every run", folds=[_folded(runs_block(study))]),
        *left,
        provenance_section(study, again),
    ]
    return Page(
        title, d.claim or "", _summary(study, table), sections, examination_note(table), KICKER,
        answers(table), _warnings(study, left), marks_of(study),
    )  # fmt: skip


def _summary(study: StudyData, table: Comparison) -> str:
    seeds = ", ".join(map(str, sorted({r.seed for r in study.runs}))) or "none"
    unless = " unless another baseline is named" if table.has_other_baselines else ""
    return (
        f"{arms_headline(table)} {counted(len(study.runs), 'finished run')} of {counted(len(study.arms), 'arm')}, "
        f"seeds {seeds}; objective {study.objective}; differences are to {table.baseline}{unless}, "
        "paired over common seeds."
    )


def _warnings(study: StudyData, left: Sequence[Section]) -> list[str]:
    """What must be known before a number is quoted."""
    built = built_task(study)
    gone = len(study.unfinished)
    runs = f"{gone} run{'s' if gone != 1 else ''} did not finish and {'are' if gone != 1 else 'is'} not in it"
    note = f'{runs}: see "{left[0].title}".' if gone and left else ""
    return list(filter(None, [f"The task was {built}." if built else "", note]))


def left_section(study: StudyData, artifacts: Artifacts) -> list[Section]:
    """Runs, points and artifacts that are missing; nothing where nothing is."""
    left = [f"{u.arm} seed {u.seed}: {u.status}{f' ({mask(u.reason)})' if u.reason else ''}" for u in study.unfinished]
    items = [*left, *study.notes, *artifacts.notes]
    return [Section("left", "What is not in it", items=items)] if items else []


def _answering(
    study: StudyData, table: Comparison, shown: Sequence[FigureBlock], findings: Sequence[Finding]
) -> list[Section]:
    """What answers the study's question, and fits two sheets of paper."""
    whole = document(table)
    not_bold = "No value differs significantly from every other arm's."
    open_tables = [t for t in whole.blocks if t.title in OPEN]
    folds = [_folded(t) for t in whole.blocks if t.title not in OPEN]
    least = detectable_sentence(table)
    reads = [Fold("How it reads, arm by arm", reading(table))] if reading(table) else []
    curves = _pick(shown, "curves")
    return [
        Section(
            "effects", "Effects", [least] if least else [], figures=_pick(shown, "effects"),
            folds=[*_folds(detectable_block(table)), *reads], essential=True,
        ),
        findings_section(findings, len(study.runs)),
        Section("arms", "The arms", [whole.bold_note or not_bold], tables=open_tables, folds=folds, essential=True),
        *([Section("curves", "The score over training", figures=curves, essential=True)] if curves else []),
    ]  # fmt: skip


def _explaining(
    study: StudyData,
    table: Comparison,
    shown: Sequence[FigureBlock],
    artifacts: Artifacts,
    baseline: str | None,
    margin: float,
) -> list[Section]:
    """Why it came so: buffer, levels, suites, policy, compute, seeds, samples, configuration."""
    placed = {name for names in FIGURES.values() for name in names}
    suites = [suites_block(study, baseline), sampling_block(study)]
    compute = compute_block(study)
    sections = [
        Section("buffer", "Buffer", figures=_pick(shown, "buffer")),
        Section("levels", "Levels", figures=_pick(shown, "levels"), folds=_folds(levels_block(study))),
        Section("suites", "Suite by suite", figures=_pick(shown, "suites"), folds=_folds(*suites)),
        Section("training", "Policy", figures=[f for f in shown if f.name not in placed]),
        Section(
            "compute", "What more compute would buy",
            figures=_pick(shown, "compute"), tables=[compute] if compute is not None else [],
        ),
        Section("seeds", "How far the seeds reach", tables=seeds_blocks(table, artifacts, margin)),
        *samples_section(study, artifacts),
        Section("configuration", "Configuration differences", tables=[configuration_block(table)]),
        *imported_section(study),
        *reference_section(study, artifacts),
    ]  # fmt: skip
    return [s for s in sections if s.figures or s.tables or s.folds or s.samples]


def reading(table: Comparison) -> list[Item]:
    """A sentence for every contrast that the study names, then for every arm."""
    items: list[Item] = [(f"{name}:", sentence) for name, sentence in contrast_lines(table)]
    return items + [(f"{r.arm}:", verdicts(table, r)) for r in table.rows if r.difference]


def _pick(shown: Sequence[FigureBlock], section: str) -> list[FigureBlock]:
    return [s for s in shown if s.name in FIGURES[section]]


def _folds(*blocks: TableBlock | None) -> list[Fold]:
    return [_folded(block) for block in blocks if block is not None and block.rows]


def _folded(block: TableBlock) -> Fold:
    """A table that opens, under its own title."""
    return Fold(block.title[0].upper() + block.title[1:], tables=[block])
