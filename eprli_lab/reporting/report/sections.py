"""What stands in a report: the sections of one study, and of several side by side."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.diagnosis import diagnose
from eprli_lab.reporting.diagnosis.finding import Finding
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.grids import (
    NAN,
    _configuration,
    _own_baselines,
    _runs,
    _sampling,
    _statistics,
    _suites,
    _trials,
    arms_grid,
)
from eprli_lab.reporting.report.page import Cell, FigureBlock, Item, Page, Section, TableBlock
from eprli_lab.reporting.report.provenance import provenance_section
from eprli_lab.reporting.report.reference import load_references
from eprli_lab.reporting.stats.passk import evaluation_interval
from eprli_lab.reporting.tables.numbers import difference_text, fraction, p_text
from eprli_lab.reporting.tables.rows import Table, headline, search_note

FOLDED = 3  # findings of one kind, beyond which they fold


def study_page(
    study: StudyData,
    table: Table | None,
    drawn: Sequence[figures.Picture],
    artifacts: Artifacts,
    baseline: str | None,
    margin: float,
    again: Sequence[str] = (),
) -> Page:
    """The whole report of a study; `table` is None for a search. `again`: words of the command that makes it again."""
    d = study.description
    title = f"{study.name}: {d['question']}" if d.get("question") else study.name
    shown = _shown(drawn)
    sections = []
    if table is None:
        summary = search_note(study)
        sections.append(Section("trials", "What the search saw", tables=[_trials(study)], figures=shown))
    else:
        found = diagnose(study, artifacts.ledger, artifacts.outcomes, baseline, margin)
        seeds = sorted({r.seed for r in study.runs})
        own = " unless another baseline is named" if _own_baselines(table) else ""
        summary = (
            f"{len(study.runs)} finished runs of {len(study.arms)} arms, seeds {', '.join(map(str, seeds)) or 'none'}; "
            f"objective {study.objective}; differences are to {table.baseline}{own}, paired over common seeds. "
            f"{headline(table)}"
        )
        reading = [(f"{r.arm}:", table.verdicts(r)) for r in table.rows if r.difference]
        told = finding_items(found)
        nothing = "Nothing stands out." if study.runs else "No run is finished: there is nothing to look at yet."
        strata, effects = _pick(shown, "pass_at_k", "q_order", "forgetting"), _pick(shown, "effects")
        training = [f for f in shown if f not in strata + effects]
        sections += [
            Section("reading", "How it reads", items=reading),
            Section("look", "What to look at", () if told else (nothing,), told),
            Section("arms", "The arms", tables=[arms_grid(table)], figures=effects),
            Section(
                "strata", "Where an arm differs", tables=[_suites(study, baseline), _sampling(study)], figures=strata
            ),
            Section("seeds", "How far the seeds reach", tables=_statistics(table, artifacts, margin)),
            Section("training", "Training", figures=training),
            Section("configuration", "How the arms differ in their configuration", tables=[_configuration(table)]),
            *_reference(study, artifacts),
            Section("runs", "Every run", tables=[_runs(table)]),
        ]
    left = [f"{u.arm} seed {u.seed}: {u.status}{f' ({u.reason})' if u.reason else ''}" for u in study.unfinished]
    notes = [*study.notes, *artifacts.notes]
    if left or notes:
        sections.append(Section("left", "What is not in it", items=[*left, *notes]))
    sections.append(provenance_section(study, again))
    return Page(title, str(d.get("claim") or ""), summary, sections)


def finding_items(found: Sequence[Finding]) -> list[Item]:
    """A line a finding; of a kind that is found often, its arms, and the lines fold out."""
    said: dict[str, dict[str, list[str]]] = {}  # kind -> what is said of an arm -> the arms
    for f in found:
        head = f"{f.arm}: "
        told = f.sentence.removeprefix(head) if f.arm else f.sentence
        arms = said.setdefault(f.kind, {}).setdefault(told, [])
        if told != f.sentence:
            arms.append(f.arm)
    out: list[Item] = []
    for kind, sentences in said.items():
        label = f"{kind.replace('_', ' ')}:"
        lines = [f"{', '.join(arms)}: {told}" if arms else told for told, arms in sentences.items()]
        who = ", ".join(dict.fromkeys(f.arm for f in found if f.kind == kind and f.arm))
        out += (
            [(label, line) for line in lines]
            if len(lines) <= FOLDED
            else [(label, f"{len(lines)} findings, of {who}", lines)]
        )
    return out


def comparison_page(tables: Sequence[Table], drawn: Sequence[figures.Picture] = ()) -> Page:
    """Several studies: one row an arm of each, then how each reads. `drawn`: pictures named effects-<study>."""
    header = [
        "study",
        "arm",
        "seeds",
        "objective",
        "start → end",
        "difference [95%]",
        "p (Holm)",
        "updates",
        "differs by",
    ]
    rows, runs, sections = [], [], []
    for t in tables:
        for r in t.rows:
            d = r.difference
            rows.append([
                Cell(t.study.name), Cell(r.arm), Cell(str(len(r.seeds)), len(r.seeds)), Cell(t.study.objective),
                Cell(f"{fraction(r.score_start)} → {fraction(r.score)}", r.score),
                Cell(f"{difference_text(d)} to {r.baseline}" if d else "baseline", d.mean if d else NAN),
                Cell(p_text(r.p_holm) if d else "", r.p_holm), Cell(f"{r.updates:,.1f}", r.updates),
                Cell(", ".join(r.differs), words=True),
            ])  # fmt: skip
            runs.append(" ".join(run.run_id for run in t.study.of(r.arm)))
    note = "p is corrected over the arms of its own study; differences of different studies are not compared."
    grid = TableBlock("arms of all studies", header, rows, runs, note, filter=True)
    sections.append(Section("arms", "Side by side", tables=[grid]))
    for t in tables:
        name, question = t.study.name, t.study.description.get("question")
        shown = _shown([p for p in drawn if p.name == f"effects-{name}"])
        items = [(f"{r.arm}:", t.verdicts(r)) for r in t.rows if r.difference]
        sections.append(Section(f"study-{name}", name, [str(question)] if question else (), items, figures=shown))
    names = " and ".join(t.study.name for t in tables)
    return Page(f"{names}, side by side", "", f"{len(tables)} studies, {len(rows)} arms.", sections)


def _shown(drawn: Sequence[figures.Picture]) -> list[FigureBlock]:
    return [FigureBlock(p.name, p.title, p.alt, figures.svg(p)) for p in drawn]


def _pick(shown: Sequence[FigureBlock], *names: str) -> list[FigureBlock]:
    return [s for s in shown if s.name in names]


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
                    Cell(str(evaluation_interval(of)), 100 * run.last(f"eval/{s}/avg_at_k")) if of else Cell("-", NAN)
                )
            rows.append(cells)
    note = "Percent; interval: 95% over problems, so of what one policy would score on other problems of the kind."
    header = ["result", "source", *(known.suites[s].title for s in suites)]
    return [
        Section(
            "reference", "Beside published numbers", tables=[TableBlock("published numbers", header, rows, note=note)]
        )
    ]
