"""The tables of a report beside that of the arms. Each is a TableBlock."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.derived import seed_values
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.aggregates import (
    MIN_SEEDS,
    Estimate,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
)
from eprli_lab.reporting.stats.effects import is_equivalent, last_by_seed, suite_effects, suite_scores
from eprli_lab.reporting.stats.hierarchical import Outcomes, new_problems
from eprli_lab.reporting.stats.paired import JUDGED, mean, paired_sd
from eprli_lab.reporting.stats.power import (
    comparisons,
    minimum_detectable_effect,
    seeds_needed,
    seeds_range,
    seeds_text,
)
from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.document import Cell, TableBlock
from eprli_lab.reporting.tables.numbers import difference_text, fraction, p_text, signed
from eprli_lab.tracking import names

NAN = math.nan
SEEDS_OF_NEW_PROBLEMS = 3  # at 2 its interval covers 89 to 97%


def trials_block(study: StudyData) -> TableBlock:
    """A row a complete trial of a search, as they were drawn."""
    complete = figures.trials(study)
    metric = study.objective
    header = ["trial", "seeds", metric, *complete.values]
    rows = []
    runs = []
    for i, name in enumerate(complete.names):
        of = study.of(name)
        score = complete.scores[i]
        swept = [Cell(f"{v[i]:.4g}" if isinstance(v[i], float) else str(v[i]), v[i]) for v in complete.values.values()]
        rows.append([Cell(name), Cell(str(len(of)), len(of)), Cell(fraction(score), score), *swept])
        runs.append(" ".join(r.run_id for r in of))
    left = len(study.arms) - len(rows)
    note = f"{metric}: mean over the search's seeds. Trials that were pruned or failed are not shown: {left}."
    planned = study.description.trials
    if planned is not None and len(study.arms) < planned:
        note += f" The search has {len(study.arms)} of the {planned} trials that it was to have, so far or for good."
    return TableBlock("complete trials", header, rows, runs, note, filter=True)


def suites_block(study: StudyData, baseline: str | None) -> TableBlock:
    """A row an arm and suite: its difference to its baseline there."""
    rows = []
    for e in suite_effects(study, baseline):
        d = e.difference
        text = "equal at every seed" if d.identical else difference_text(d)
        rows.append([
            Cell(e.arm), Cell(e.suite), Cell(text, d.mean), Cell(p_text(d.p), d.p), Cell(p_text(e.p_holm), e.p_holm),
            Cell(str(d.n), d.n), Cell(e.baseline),
        ])  # fmt: skip
    header = ["arm", "suite", "difference in avg_at_k [95%]", "p (raw)", "p (Holm)", "common seeds", "baseline"]
    note = (
        f"[95%] and p (raw): each comparison by itself, uncorrected; p (Holm): over all arms and suites of this table "
        f"with {JUDGED} common seeds or more."
    )
    note = note if rows else ""
    return TableBlock("differences by suite", header, rows, note=note, filter=len(rows) > 6)


def sampling_block(study: StudyData) -> TableBlock:
    """One answer, any of k, and the majority, before and after: does training find answers, or only sharpen them?"""
    titles = {"avg_at_k": "avg@k", "pass_at_k": "pass@k", "maj_at_k": "maj@k", "truncation_rate": "truncated"}
    rows = []
    ids = []
    for arm in study.arms:
        runs = study.of(arm)
        for suite in study.suites:
            ends = [
                (mean([r.first(m) for r in runs]), mean([r.last(m) for r in runs]))
                for m in (names.evaluation(suite, measure) for measure in titles)
            ]
            cells = [Cell(f"{fraction(start)} → {fraction(end)}", end) for start, end in ends]
            rows.append([Cell(arm), Cell(suite), *cells])
            ids.append(" ".join(r.run_id for r in runs))
    k = ", ".join(dict.fromkeys(r.params.get("evaluation.samples", "-") for r in study.runs))
    note = (
        f"Means over seeds, start → end; k = {k} samples a problem. avg@k that rises while pass@k stands still "
        "sharpens what the policy could do already."
    )
    return TableBlock(
        "one sample, any of k, and the majority", ["arm", "suite", *titles.values()], rows, ids, note, filter=True
    )


def seeds_blocks(table: Comparison, artifacts: Artifacts, margin: float) -> list[TableBlock]:
    """What the seeds can show of each arm, and from MIN_SEEDS seeds aggregates over suites."""
    study = table.study
    rows = []
    outcomes = {arm: _outcomes(study, arm, artifacts) for arm in study.arms}
    many = comparisons(r.difference for r in table.rows if r.difference is not None)
    for r in table.rows:
        if r.difference is None:
            continue
        by_seed = last_by_seed(study, r.arm, study.objective)
        base_by_seed = last_by_seed(study, r.baseline, study.objective)
        sd = paired_sd(by_seed, base_by_seed)
        n = r.difference.n
        least = NAN
        needed = NAN
        ends = ""
        if sd > 0:
            least = minimum_detectable_effect(sd, n, comparisons=many)
            needed = seeds_needed(margin, sd, comparisons=many)
            ends = "{} ({} to {})".format(*map(seeds_text, (needed, *seeds_range(margin, sd, n, many))))
        is_shown = r.difference.is_judged and is_equivalent(study, r.arm, r.baseline, study.objective, margin)
        same = "equivalent" if is_shown else "not shown"
        if r.difference.identical:
            same = "identical" if r.is_identical else "equal"
        anew = new_problems(outcomes[r.arm], outcomes[r.baseline])
        rows.append([
            Cell(r.arm), Cell(str(n), n), Cell(fraction(sd), sd), Cell(fraction(least), least),
            Cell(ends or "-", needed), Cell(same),
            Cell(_interval(anew.mean, anew.low, anew.high) if anew.seeds >= SEEDS_OF_NEW_PROBLEMS else "-", anew.mean),
        ])  # fmt: skip
    header = [
        "arm",
        "common seeds",
        "sd of differences",
        "minimum detectable effect (power .8)",
        f"seeds for {margin:g}",
        f"within ±{margin:g}",
    ]
    header.append("on new problems [95%]")
    note = (
        f"minimum detectable effect: the true difference that these seeds find with power .8, after Holm over "
        f"{many}; seeds for {margin:g}: in brackets what the 95% interval of the sd, known from so few differences, "
        f"makes of it; within ±{margin:g}: two one-sided tests at 5%; on new problems: mean over suites, seeds and "
        f"problems both drawn anew, from {SEEDS_OF_NEW_PROBLEMS} seeds."
    )
    return [TableBlock("what the seeds can show", header, rows, note=note), *_aggregate_blocks(table)]


def _interval(mean: float, low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{signed(mean)} [{signed(low)}, {signed(high)}]"


def _outcomes(study: StudyData, arm: str, artifacts: Artifacts) -> Outcomes:
    """Seed -> (suite, problem) -> share correct at the last evaluation."""
    out: dict[int, dict[tuple[str, str], float]] = {}
    for run in study.of(arm):
        rows = artifacts.last_outcomes(run.run_id)
        if rows:
            out[run.seed] = {(r["suite"], r["problem"]): r["correct"] / r["samples"] for r in rows}
    return out


def _aggregate_blocks(table: Comparison) -> list[TableBlock]:
    """IQM, mean, probability of improvement: from MIN_SEEDS seeds."""
    study = table.study
    rows = []
    for r in table.rows:
        seeds, matrix = suite_scores(study, r.arm)
        if len(seeds) < MIN_SEEDS:
            continue
        other_seeds, other = suite_scores(study, r.baseline)
        common = sorted(set(seeds) & set(other_seeds))
        pick: Callable[[list[int]], list[int]] = lambda of, c=common: [of.index(s) for s in c]  # type: ignore[misc]  # noqa: E731
        better = probability_of_improvement(matrix[pick(seeds)], other[pick(other_seeds)]) if r.difference else None
        cells = [
            Cell(r.arm),
            Cell(str(len(seeds)), len(seeds)),
            _estimate(iqm_interval(matrix)),
            _estimate(mean_interval(matrix)),
        ]
        rows.append([*cells, _estimate(better) if better else Cell("baseline", NAN)])
    if not rows:
        return []
    header = ["arm", "seeds", "IQM over suites [95%]", "mean over suites [95%]", "probability of improvement [95%]"]
    note = (
        "Intervals: whole seeds resampled (never single scores), percentiles widened for the number of seeds; at 5 "
        "seeds those of IQM and mean hold 91% of the time, from 10 on 93% or more. IQM leaves out the lowest and the "
        "highest quarter of all scores: suites much easier or harder than the rest do not move it, the mean they do."
    )
    return [TableBlock("aggregates over suites", header, rows, note=note)]


def _estimate(e: Estimate) -> Cell:
    interval = "" if math.isnan(e.low) else f" [{fraction(e.low)}, {fraction(e.high)}]"
    return Cell(fraction(e.value) + interval, e.value)


def configuration_block(table: Comparison) -> TableBlock:
    """A row an arm: the config values that are not its baseline's."""
    rows = []
    for r in table.rows:
        changes = ", ".join(r.config_diff) or ("no config value" if r.difference else "baseline")
        rows.append([Cell(r.arm), Cell(r.baseline if r.difference else "-"), Cell(changes, words=True)])
    return TableBlock("config differences", ["arm", "compared to", "differs by"], rows)


def runs_block(study: StudyData) -> TableBlock:
    """A row a run, with the numbers of seeds.csv."""
    values = [seed_values(run, study) for run in study.runs]
    keys = list(values[0]) if values else ["arm", "seed", "run_id"]
    rows = [[Cell(_number(v[k]), v[k] if isinstance(v[k], int | float) else str(v[k])) for k in keys] for v in values]
    return TableBlock("runs", keys, rows, [str(v["run_id"]) for v in values], filter=True)


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "-" if math.isnan(value) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
