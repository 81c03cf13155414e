"""What stands in a report: the sections of one study, and of several side by side."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.masking import mask
from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.controls import built_task
from eprli_lab.reporting.diagnosis import diagnose
from eprli_lab.reporting.diagnosis.finding import Finding
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.blocks import (
    NAN,
    configuration_block,
    runs_block,
    sampling_block,
    seeds_blocks,
    suites_block,
    trials_block,
)
from eprli_lab.reporting.report.imported_runs import imported_section
from eprli_lab.reporting.report.level_blocks import compute_block, levels_block
from eprli_lab.reporting.report.page import FigureBlock, Item, Page, Section
from eprli_lab.reporting.report.provenance import provenance_section
from eprli_lab.reporting.report.reference import load_references
from eprli_lab.reporting.report.samples import samples_section
from eprli_lab.reporting.stats.passk import evaluation_interval
from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.document import Cell, TableBlock, document
from eprli_lab.reporting.tables.numbers import difference_text, fraction, p_text
from eprli_lab.reporting.tables.rows import search_note
from eprli_lab.reporting.tables.verdicts import contrast_lines, headline, verdicts
from eprli_lab.tracking import names

FOLDED = 3  # findings of one kind, beyond which they fold


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
    shown = _shown(drawn)
    if table is None:
        summary = search_note(study)
        sections = [Section("trials", "What the search saw", tables=[trials_block(study)], figures=shown)]
    else:
        summary = _summary(study, table)
        findings = finding_items(diagnose(study, artifacts.ledger, artifacts.outcomes, baseline, margin))
        sections = _of_arms(study, table, shown, artifacts, baseline, margin, findings)
        if instrument is not None:
            sections.insert(1, instrument)
    left = [f"{u.arm} seed {u.seed}: {u.status}{f' ({mask(u.reason)})' if u.reason else ''}" for u in study.unfinished]
    notes = [*study.notes, *artifacts.notes]
    if left or notes:
        sections.append(Section("left", "What is not in it", items=[*left, *notes]))
    sections.append(provenance_section(study, again))
    return Page(title, d.claim or "", summary, sections)


def _summary(study: StudyData, table: Comparison) -> str:
    seeds = ", ".join(map(str, sorted({r.seed for r in study.runs}))) or "none"
    unless = " unless another baseline is named" if table.has_other_baselines else ""
    built = built_task(study)
    return (
        f"{headline(table)} {len(study.runs)} finished runs of {len(study.arms)} arms, seeds {seeds}; objective "
        f"{study.objective}; differences are to {table.baseline}{unless}, paired over common seeds."
        + (f" The task was {built}." if built else "")
    )


def _of_arms(
    study: StudyData,
    table: Comparison,
    shown: Sequence[FigureBlock],
    artifacts: Artifacts,
    baseline: str | None,
    margin: float,
    findings: Sequence[Item],
) -> list[Section]:
    """The sections of a study of arms, from how it reads to every run."""
    whole = document(table)
    not_bold = "No value is told apart from every other arm's."
    nothing = "Nothing stands out." if study.runs else "No run is finished: there is nothing to look at yet."
    strata = _pick(shown, "pass_at_k", "q_order", "forgetting")
    effects = _pick(shown, "effects")
    compute = _pick(shown, "compute_curves")
    training = [f for f in shown if f not in strata + effects + compute]
    return [
        Section("reading", "How it reads", items=_reading(table)),
        Section("look", "What to look at", () if findings else (nothing,), findings),
        Section("arms", "The arms", [whole.bold_note or not_bold], tables=whole.blocks, figures=effects),
        Section(
            "strata",
            "Where an arm differs",
            tables=[suites_block(study, baseline), sampling_block(study), *_given(levels_block(study))],
            figures=strata,
        ),
        Section("seeds", "How far the seeds reach", tables=seeds_blocks(table, artifacts, margin)),
        *_compute(study, compute),
        Section("training", "Training", figures=training),
        Section("configuration", "How the arms differ in their configuration", tables=[configuration_block(table)]),
        *_reference(study, artifacts),
        *samples_section(study, artifacts),
        *imported_section(study),
        Section("runs", "Every run", tables=[runs_block(study)]),
    ]


def _reading(table: Comparison) -> list[Item]:
    """A sentence for every contrast that the study names, then for every arm."""
    items: list[Item] = [(f"{name}:", sentence) for name, sentence in contrast_lines(table)]
    return items + [(f"{r.arm}:", verdicts(table, r)) for r in table.rows if r.difference]


def finding_items(findings: Sequence[Finding]) -> list[Item]:
    """A line a finding; of a kind that is found often, its arms, and the lines fold out."""
    by_kind: dict[str, dict[str, list[str]]] = {}  # kind -> what is said of an arm -> the arms
    for f in findings:
        head = f"{f.arm}: "
        sentence = f.sentence.removeprefix(head) if f.arm else f.sentence
        arms = by_kind.setdefault(f.kind, {}).setdefault(sentence, [])
        if sentence != f.sentence:
            arms.append(f.arm)
    out: list[Item] = []
    for kind, sentences in by_kind.items():
        label = f"{kind.replace('_', ' ')}:"
        lines = [f"{', '.join(arms)}: {sentence}" if arms else sentence for sentence, arms in sentences.items()]
        who = ", ".join(dict.fromkeys(f.arm for f in findings if f.kind == kind and f.arm))
        if len(lines) <= FOLDED:
            out += [(label, line) for line in lines]
        else:
            out.append((label, f"{len(lines)} findings, of {who}", lines))
    return out


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
                Cell(", ".join(r.config_diff), words=True),
            ])  # fmt: skip
            runs.append(t.run_ids(r))
    note = (
        "[95%] and p (raw): each comparison by itself; p (Holm): corrected over the arms of its own study; differences "
        "of different studies are not compared."
    )
    grid = TableBlock("arms of all studies", header, rows, runs, note, filter=True)
    sections.append(Section("arms", "Side by side", tables=[grid]))
    for t in tables:
        name = t.study.name
        question = t.study.description.question
        shown = _shown([p for p in drawn if p.name == f"effects-{name}"])
        items = _reading(t)
        says = [*([question] if question else []), headline(t)]
        sections.append(Section(f"study-{name}", name, says, items, figures=shown))
    names = " and ".join(t.study.name for t in tables)
    return Page(f"{names}, side by side", "", f"{len(tables)} studies, {len(rows)} arms.", sections)


def _shown(drawn: Sequence[figures.Picture]) -> list[FigureBlock]:
    return [FigureBlock(p.name, p.title, p.alt, figures.svg(p)) for p in drawn]


def _pick(shown: Sequence[FigureBlock], *names: str) -> list[FigureBlock]:
    return [s for s in shown if s.name in names]


def _given(block: TableBlock | None) -> list[TableBlock]:
    return [block] if block is not None else []


def _compute(study: StudyData, drawn: Sequence[FigureBlock]) -> list[Section]:
    """What more tokens would buy; nothing where no run was evaluated on the way."""
    tables = _given(compute_block(study))
    return [Section("compute", "What more compute would buy", tables=tables, figures=drawn)] if tables else []


def _reference(study: StudyData, artifacts: Artifacts) -> list[Section]:
    """Published numbers beside this study's, where it evaluates the same benchmarks; intervals over problems."""
    known = load_references()
    suites = [s for s in known.suites if s in study.suites]
    if not suites:
        return []
    rows = []
    for result in known.results:
        cells = [Cell(result.name), Cell(result.source)]
        for s in suites:
            score = result.scores.get(s)
            cells.append(Cell("-", NAN) if score is None else Cell(str(known.interval(result, s)), score))
        rows.append(cells)
    for arm in study.arms:
        for run in study.of(arm):
            counts = artifacts.last_outcomes(run.run_id)
            cells = [Cell(f"{arm}, seed {run.seed}"), Cell("this study")]
            for s in suites:
                of = [(r["samples"], r["correct"]) for r in counts if r["suite"] == s]
                cells.append(
                    Cell(str(evaluation_interval(of)), 100 * run.last(names.accuracy(s))) if of else Cell("-", NAN)
                )
            rows.append(cells)
    note = "Percent; interval: 95% over problems, so of what one policy would score on other problems of the kind."
    header = ["result", "source", *(known.suites[s].title for s in suites)]
    return [
        Section(
            "reference", "Beside published numbers", tables=[TableBlock("published numbers", header, rows, note=note)]
        )
    ]
