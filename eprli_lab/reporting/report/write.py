"""The report of a study from what was logged: HTML, Markdown, tables, figures, attached to its parent run."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.escaping import visible
from eprli_lab.reporting.artifacts import read_artifacts
from eprli_lab.reporting.controls import TAG as CONTROL_TAG
from eprli_lab.reporting.controls import check_control, records_of
from eprli_lab.reporting.diagnosis import wanted as in_findings
from eprli_lab.reporting.diagnosis.finding import equivalence_margin
from eprli_lab.reporting.load import StudyData, load_study
from eprli_lab.reporting.report.note import parent_note
from eprli_lab.reporting.report.page import Page, write_page
from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.printers.text import WIDTH
from eprli_lab.reporting.tables.render import render
from eprli_lab.reporting.tables.rows import Table, ablation_table, search_note
from eprli_lab.reporting.tables.rows import wanted as in_table
from eprli_lab.reporting.tables.verdicts import headline
from eprli_lab.tracking import names
from eprli_lab.tracking.parent import parent_summary
from eprli_lab.tracking.uri import first_line, store_words


def read(uri: str, experiment: str, study: str, parent_run_id: str | None = None) -> StudyData:
    """A study with every metric that a report shows."""
    from eprli_lab.reporting import figures

    def shown(metric: str) -> bool:
        return in_table(metric) or figures.wanted(metric) or in_findings(metric)

    return load_study(uri, experiment, study, shown, parent_run_id)


def write_report(
    uri: str,
    experiment: str,
    study: str,
    out_dir: Path,
    baseline: str | None = None,
    formats: Sequence[str] = ("png",),
    margin: float | None = None,
    end: bool = False,
    parent_run_id: str | None = None,
    width: int = WIDTH,
    with_figures: bool = True,
) -> str:
    """Write report, tables and figures, attach them to the study's parent run; the text table in `width` columns.

    Summary and note of the parent are of the study's own baselines: a report with another baseline leaves them alone.
    `end`: the study is done. `parent_run_id`: of several plans of this name, whose (default: the one started last). A
    parent that cannot be reached costs a sentence on standard error.
    Raises UserError when the study does not exist, holds no run, or is a search and a baseline is given.
    """
    from eprli_lab.reporting import figures
    from eprli_lab.reporting.report.imported_runs import is_imported
    from eprli_lab.reporting.report.instrument import instrument_section
    from eprli_lab.reporting.report.sections import study_page

    tracking = TrackingSpec(uri=uri, experiment=experiment)
    data = read(uri, experiment, study, parent_run_id)
    if data.is_search and baseline is not None:
        raise UserError(f"baseline={baseline}: {study} is a search, which compares nothing: leave it out")
    table = None if data.is_search else ablation_table(data, baseline)
    text = table.text() if table else visible(search_note(data))
    artifacts = read_artifacts(tracking, data)
    drawn = list(figures.pictures(data, baseline, None, artifacts.outcomes, artifacts.ledger)) if with_figures else []
    least = equivalence_margin(data, data.objective, margin)
    control = check_control(data) if table is not None and baseline is None else None
    ours = table and not is_imported(data)  # controls say nothing of another trainer
    instrument = instrument_section(data, control, records_of(tracking)) if ours else None
    again = _again(tracking, baseline, margin)
    page = study_page(data, table, drawn, artifacts, baseline, least, again, instrument)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        files = _write(table, text, page, out_dir)
        files += [f for p in drawn for f in figures.write(p, out_dir, tuple(dict.fromkeys(("png", *formats))))]
    except OSError as error:
        raise UserError(f"out={out_dir} cannot be written ({error.strerror}): give another directory") from None
    if data.parent_run_id is not None:
        shown = table if baseline is None else None
        effects = next((f.name for f in files if f.name == "effects.png"), None)
        note = parent_note(shown, data.parent_run_id, effects) if shown is not None else None
        summary, answer = (summary_metrics(shown), headline(shown)) if shown is not None else ({}, None)
        tags = {} if control is None else {CONTROL_TAG: control.model_dump_json()}
        try:
            parent_summary(
                tracking, data.parent_run_id, summary, artifacts=files, note=note, answer=answer, tags=tags, end=end
            )
        except Exception as error:  # of a database, a server, or any kind of artifact store
            why = first_line(error)
            print(
                f"eprli_lab: {out_dir} is written, but not attached to the study's parent run: {why}", file=sys.stderr
            )
    return text if table is None else table.text(width)


def _again(tracking: TrackingSpec, baseline: str | None, margin: float | None) -> list[str]:
    """The words that make this report again; a URI whose password is hidden is asked for instead."""
    words = [f"baseline={baseline}"] if baseline else []
    words += [f"margin={margin:g}"] if margin is not None else []
    return words + store_words(tracking)


def _write(table: Table | None, text: str, page: Page, out_dir: Path) -> list[Path]:
    texts = {"report.html": page.html(), "report.md": page.markdown(), "table.txt": text + "\n"}
    if table is not None:
        texts |= {"table.md": table.markdown(), "table.csv": table.csv(), "seeds.csv": table.seeds_csv()}
        texts["table.tex"] = render(table, None, "latex")
        texts |= {"contrasts.csv": table.contrasts_csv()} if table.contrasts else {}
    files = []
    for name, content in texts.items():
        files.append(out_dir / name)
        files[-1].write_text(content, encoding="utf-8")
    return files


def summary_metrics(table: Comparison) -> dict[str, float]:
    """summary/{arm}/... and summary/{contrast}/...: what the parent's row shows."""
    out: dict[str, float] = {}
    objective = table.study.objective
    for row in table.rows:
        out[names.summary(row.arm, objective)] = row.score
        out[names.summary(row.arm, "updates")] = row.updates
        if row.difference is not None:
            out[names.summary(row.arm, "difference")] = row.difference.mean
            out[names.summary(row.arm, "difference_low")] = row.difference.low
            out[names.summary(row.arm, "difference_high")] = row.difference.high
            out[names.summary(row.arm, "p_raw")] = row.difference.p
            out[names.summary(row.arm, "p_holm")] = row.p_holm
    for effect in table.contrasts:
        name = str(effect.contrast)
        out[names.summary(name, "difference")] = effect.difference.mean
        out[names.summary(name, "difference_low")] = effect.difference.low
        out[names.summary(name, "difference_high")] = effect.difference.high
        out[names.summary(name, "p_raw")] = effect.difference.p
        out[names.summary(name, "p_holm")] = effect.p_holm
    return {k: v for k, v in out.items() if not math.isnan(v)}


def write_comparison(tracking: TrackingSpec, studies: Sequence[str], out_dir: Path, baseline: str | None) -> Path:
    """Several studies side by side in `out_dir/report.html` (and .md); the path of the former."""
    from eprli_lab.reporting import figures
    from eprli_lab.reporting.report.comparison import comparison_page

    data = [read(tracking.uri, tracking.experiment, name) for name in studies]
    tables = [ablation_table(d, baseline if baseline in d.arms else None) for d in data]
    if baseline is not None and not any(baseline in d.arms for d in data):
        raise UserError(f"baseline={baseline}: none of {', '.join(studies)} has such an arm")
    drawn = [
        replace(p, name=f"effects-{d.name}")
        for d in data
        for p in figures.pictures(d, baseline if baseline in d.arms else None, only=["effects"])
    ]
    page = comparison_page(tables, drawn)
    try:
        path = write_page(page, out_dir, "report")
        for picture in drawn:
            figures.write(picture, out_dir, ("png",))
    except OSError as error:
        raise UserError(f"out={out_dir} cannot be written ({error.strerror}): give another directory") from None
    return path
