"""Published numbers beside a study's own, where it evaluates the same benchmarks."""

from __future__ import annotations

from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.parts import Section
from eprli_lab.reporting.report.reference import load_references
from eprli_lab.reporting.stats.passk import evaluation_interval
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.tracking import names

NAN = float("nan")


def reference_section(study: StudyData, artifacts: Artifacts) -> list[Section]:
    """A row a published result, then one a run of this study; intervals over problems. Nothing without such a suite."""
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
