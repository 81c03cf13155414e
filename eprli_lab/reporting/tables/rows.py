"""The ablation table: one row an arm, and its document in every format."""

from __future__ import annotations

import math
from collections.abc import Mapping

from eprli_lab.errors import UserError
from eprli_lab.reporting.derived import TRANSFER, admission_rate, sampled_levels, seed_values
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import baselines, corrected_p, difference, is_identical
from eprli_lab.reporting.stats.paired import PairedDifference, family_size, mean
from eprli_lab.reporting.tables.arm import ArmRow, Comparison
from eprli_lab.reporting.tables.config_diff import config_differences
from eprli_lab.reporting.tables.document import document
from eprli_lab.reporting.tables.printers.csv import print_records
from eprli_lab.reporting.tables.printers.text import WIDTH
from eprli_lab.reporting.tables.printers.text import print_document as print_text
from eprli_lab.reporting.tables.render import render
from eprli_lab.tracking import names

__all__ = ["Table", "ablation_table", "search_note", "seed_values", "wanted"]


class Table(Comparison):
    """The arms of a study beside each other, and what is printed of them."""

    def text(self, width: int = WIDTH) -> str:
        """The document as a terminal of so many columns shows it, without the last line's end."""
        return print_text(document(self), width).removesuffix("\n")

    def markdown(self) -> str:
        """The document as Markdown, the ids of runs in comments."""
        return render(self, None, "md")

    def csv(self) -> str:
        """One row an arm, full precision: every column that programs read."""
        return render(self, None, "csv")

    def contrasts_csv(self) -> str:
        """One row a contrast that the study names, full precision; p_holm is corrected over them."""
        head = ("contrast", "difference", "difference_low", "difference_high", "p_raw", "p_holm", "common_seeds")
        rows = []
        for e in self.contrasts:
            d = e.difference
            rows.append([str(e.contrast), d.mean, d.low, d.high, d.p, e.p_holm, d.n])
        return print_records(head, rows)

    def seeds_csv(self) -> str:
        """One row an (arm, seed), full precision; empty without runs."""
        values = [seed_values(run, self.study) for run in self.study.runs]
        return print_records(list(values[0]), [list(v.values()) for v in values]) if values else ""


def ablation_table(study: StudyData, baseline: str | None = None) -> Table:
    """One row an arm. Raises UserError when the baseline is no arm of the study, or the study is a search.

    A given baseline goes before those that arms have of their own.
    """
    if study.is_search:
        raise UserError(search_note(study))
    arms = study.arms
    if not arms:
        raise UserError(f"study={study.name} has no run that belongs to an arm: run its sweep first")
    base = baseline or study.description.baseline or arms[0]
    compared_to = baselines(study, baseline)
    metrics = [metric for metric, _ in study.objectives]
    differences = {m: {arm: difference(study, arm, b, m) for arm, b in compared_to.items()} for m in metrics}
    p_holm = {
        m: dict(zip(ds, corrected_p(study, [(arm, b, m) for arm, b in compared_to.items()], ds.values()), strict=True))
        for m, ds in differences.items()
    }
    return Table(study, base, [_row(study, arm, compared_to.get(arm, arm), differences, p_holm) for arm in arms])


def search_note(study: StudyData) -> str:
    """Why a search has no table."""
    return (
        f"study={study.name} is a search: the values of its trials chose its winners and are no comparison; the "
        f"winners on fresh seeds are in study={study.description.confirmed_in}"
    )


def _row(
    study: StudyData,
    arm: str,
    base: str,
    differences: Mapping[str, Mapping[str, PairedDifference]],
    p_holm: Mapping[str, Mapping[str, float]],
) -> ArmRow:
    """`differences`, `p_holm`: objective -> arm -> difference to its baseline, Holm-corrected p."""
    runs = study.of(arm)
    secondary = [metric for metric, _ in study.objectives[1:]]
    values = [seed_values(run, study) for run in runs]

    def average(column: str) -> float:
        return mean([float(v[column]) for v in values])

    levels = [lv for lv in study.levels if lv in sampled_levels(runs)]
    return ArmRow(
        arm=arm,
        seeds=tuple(r.seed for r in runs),
        start={s: average(f"{s}/start") for s in study.suites},
        final={s: average(f"{s}/end") for s in study.suites},
        score_start=average(f"{study.objective}/start"),
        score=average(f"{study.objective}/end"),
        difference=differences[study.objective].get(arm),
        p_holm=p_holm[study.objective].get(arm, math.nan),
        family=family_size(differences[study.objective].values()),
        is_identical=arm != base and is_identical(study, arm, base),
        secondary_score={m: mean([run.last(m) for run in runs]) for m in secondary},
        secondary={m: differences[m][arm] for m in secondary if arm != base},
        secondary_p={m: p_holm[m][arm] for m in secondary if arm != base},
        baseline=base,
        updates=average("updates"),
        tokens=average("tokens"),
        response_tokens=average("response_tokens"),
        seconds=average("seconds"),
        entropy=average("entropy"),
        parameters=average("parameters"),
        transfer={name: average(name) for name in TRANSFER},
        admission_rate={lv: admission_rate(runs, lv) for lv in levels},
        clip_fraction_low={lv: average(f"clip_fraction_low/{lv}") for lv in levels},
        clip_fraction_high={lv: average(f"clip_fraction_high/{lv}") for lv in levels},
        config_diff=tuple(config_differences(runs, study.of(base))) if runs and arm != base else (),
    )


def wanted(metric: str) -> bool:
    """The metrics that a table reads."""
    return (
        names.is_summary(metric)
        or names.is_evaluation(metric)
        or metric in (names.UPDATES, names.TOKENS, names.TOTAL_SECONDS, names.PARAMETERS, names.COMMON_SCORE)
        or names.is_heldout(metric)
        or names.is_buffer(metric, ("groups/admitted", "groups/generated"))
        or names.is_policy(metric, ("clip_fraction/low", "clip_fraction/high", "entropy"))
    )
