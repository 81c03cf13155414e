"""What stands in a report: the sections of one study, and of several side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis import figures
from analysis.aggregates import (
    MIN_SEEDS,
    Estimate,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
)
from analysis.artifacts import Artifacts
from analysis.columns import best, columns
from analysis.diagnosis import Finding, diagnose
from analysis.effects import last_by_seed, suite_effects, suite_scores
from analysis.formats import BOLD
from analysis.hierarchical import Outcomes, new_problems
from analysis.page import Cell, Grid, Item, Page, Section, Shown
from analysis.passk import evaluation_interval
from analysis.power import (
    comparisons,
    equivalence,
    minimum_detectable_effect,
    paired_sd,
    seeds_needed,
    seeds_range,
    seeds_text,
)
from analysis.reference import load_references
from analysis.statistics import mean
from analysis.store import StudyData
from analysis.table import Table, difference_text, fraction, headline, p_text, search_note, seed_values, signed

NAN = math.nan
SEEDS_OF_NEW_PROBLEMS = 3  # at 2 its interval covers 89 to 97%
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
        told = looks(found)
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
    sections.append(_provenance(study, again))
    return Page(title, str(d.get("claim") or ""), summary, sections)


def looks(found: Sequence[Finding]) -> list[Item]:
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


def _trials(study: StudyData) -> Grid:
    """A row a complete trial, as they were drawn."""
    found = figures.trials(study)
    metric = study.objective
    header = ["trial", "seeds", metric, *found.values]
    rows, runs = [], []
    for i, name in enumerate(found.names):
        of = study.of(name)
        swept = [Cell(f"{v[i]:.4g}" if isinstance(v[i], float) else str(v[i]), v[i]) for v in found.values.values()]
        rows.append([Cell(name), Cell(str(len(of)), len(of)), Cell(fraction(found.scores[i]), found.scores[i]), *swept])
        runs.append(" ".join(r.run_id for r in of))
    left = len(study.arms) - len(rows)
    note = f"{metric}: mean over the search's seeds. Trials that were pruned or failed are not shown: {left}."
    return Grid("complete trials", header, rows, runs, note, filter=True)


def versus_page(tables: Sequence[Table], drawn: Sequence[figures.Picture] = ()) -> Page:
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
                Cell(f"{difference_text(d)} to {r.against}" if d else "baseline", d.mean if d else NAN),
                Cell(p_text(r.p_holm) if d else "", r.p_holm), Cell(f"{r.updates:,.1f}", r.updates),
                Cell(", ".join(r.differs), words=True),
            ])  # fmt: skip
            runs.append(" ".join(run.run_id for run in t.study.of(r.arm)))
    note = "p is corrected over the arms of its own study; differences of different studies are not compared."
    grid = Grid("arms of all studies", header, rows, runs, note, filter=True)
    sections.append(Section("arms", "Side by side", tables=[grid]))
    for t in tables:
        name, question = t.study.name, t.study.description.get("question")
        shown = _shown([p for p in drawn if p.name == f"effects-{name}"])
        items = [(f"{r.arm}:", t.verdicts(r)) for r in t.rows if r.difference]
        sections.append(Section(f"study-{name}", name, [str(question)] if question else (), items, figures=shown))
    names = " and ".join(t.study.name for t in tables)
    return Page(f"{names}, side by side", "", f"{len(tables)} studies, {len(rows)} arms.", sections)


def _shown(drawn: Sequence[figures.Picture]) -> list[Shown]:
    return [Shown(p.name, p.title, p.alt, figures.svg(p)) for p in drawn]


def _pick(shown: Sequence[Shown], *names: str) -> list[Shown]:
    return [s for s in shown if s.name in names]


def arms_grid(table: Table) -> Grid:
    """The ablation table with every column; the best value is marked only where its intervals say so."""
    hidden = ("low", "high") if _own_baselines(table) else ("low", "high", "baseline")
    shown = [c for c in columns(table) if c.name not in hidden]
    winners = {c.name: best(table, c) for c in shown}
    rows = [
        [Cell(c.text(r).replace("->", "→") + (" ★" if winners[c.name] == r.arm else ""), c.key(r)) for c in shown]
        for r in table.rows
    ]
    ids = [" ".join(run.run_id for run in table.study.of(r.arm)) for r in table.rows]
    note = "admitted: groups admitted / generated; clipped: fraction of tokens at that bound."
    marked = BOLD.replace("Bold", "★") if any(winners.values()) else "No value is told apart from every other arm's."
    return Grid("the arms", [c.title for c in shown], rows, ids, f"{note} {marked}", filter=len(rows) > 3)


def _own_baselines(table: Table) -> bool:
    return any(r.difference is not None and r.against != table.baseline for r in table.rows)


def _suites(study: StudyData, baseline: str | None) -> Grid:
    rows = []
    for e in suite_effects(study, baseline):
        d = e.difference
        text = "identical at every seed" if d.identical else difference_text(d)
        rows.append([
            Cell(e.arm), Cell(e.suite), Cell(text, d.mean), Cell(p_text(e.p_holm), e.p_holm),
            Cell(str(d.n), d.n), Cell(e.baseline),
        ])  # fmt: skip
    header = ["arm", "suite", "difference in avg_at_k [95%]", "p (Holm)", "common seeds", "baseline"]
    note = "p: Holm over all arms and suites of this table." if rows else ""
    return Grid("differences by suite", header, rows, note=note, filter=len(rows) > 6)


def _sampling(study: StudyData) -> Grid:
    """One answer, any of k, and the majority, before and after: does training find answers, or only sharpen them?"""
    names = {"avg_at_k": "avg@k", "pass_at_k": "pass@k", "maj_at_k": "maj@k", "truncation_rate": "truncated"}
    rows, ids = [], []
    for arm in study.arms:
        runs = study.of(arm)
        for suite in study.suites:
            ends = [
                (mean([r.first(m) for r in runs]), mean([r.last(m) for r in runs]))
                for m in (f"eval/{suite}/{name}" for name in names)
            ]
            cells = [Cell(f"{fraction(start)} → {fraction(end)}", end) for start, end in ends]
            rows.append([Cell(arm), Cell(suite), *cells])
            ids.append(" ".join(r.run_id for r in runs))
    k = ", ".join(dict.fromkeys(r.params.get("evaluation.samples", "-") for r in study.runs))
    note = (
        f"Means over seeds, start → end; k = {k} samples a problem. avg@k that rises while pass@k stands still "
        "sharpens what the policy could do already."
    )
    return Grid(
        "one sample, any of k, and the majority", ["arm", "suite", *names.values()], rows, ids, note, filter=True
    )


def _statistics(table: Table, artifacts: Artifacts, margin: float) -> list[Grid]:
    study, rows = table.study, []
    outcomes = {arm: _outcomes(study, arm, artifacts) for arm in study.arms}
    many = comparisons(r.difference for r in table.rows if r.difference is not None)
    for r in table.rows:
        if r.difference is None:
            continue
        mine, theirs = (last_by_seed(study, a, study.objective) for a in (r.arm, r.against))
        sd, n = paired_sd(mine, theirs), r.difference.n
        least, needed, ends = NAN, NAN, ""
        if sd > 0:
            least = minimum_detectable_effect(sd, n, comparisons=many)
            needed = seeds_needed(margin, sd, comparisons=many)
            ends = "{} ({} to {})".format(*map(seeds_text, (needed, *seeds_range(margin, sd, n, many))))
        same = "equivalent" if equivalence(mine, theirs, margin).equivalent else "not shown"
        anew = new_problems(outcomes[r.arm], outcomes[r.against])
        rows.append([
            Cell(r.arm), Cell(str(n), n), Cell(fraction(sd), sd), Cell(fraction(least), least),
            Cell(ends or "-", needed), Cell("identical" if r.difference.identical else same),
            Cell(_interval(anew.mean, anew.low, anew.high) if anew.seeds >= SEEDS_OF_NEW_PROBLEMS else "-", anew.mean),
        ])  # fmt: skip
    header = [
        "arm",
        "common seeds",
        "sd of differences",
        "detectable (power .8)",
        f"seeds for {margin:g}",
        f"within ±{margin:g}",
    ]
    header.append("on new problems [95%]")
    note = (
        f"detectable: the true difference that these seeds find four times out of five, after Holm over "
        f"{many}; seeds for {margin:g}: in brackets what the 95% interval of the sd, known from so few differences, "
        f"makes of it; within ±{margin:g}: two one-sided tests at 5%; on new problems: mean over suites, seeds and "
        f"problems both drawn anew, from {SEEDS_OF_NEW_PROBLEMS} seeds."
    )
    return [Grid("what the seeds can show", header, rows, note=note), *_aggregates(table)]


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


def _aggregates(table: Table) -> list[Grid]:
    """IQM, mean, probability of improvement: from MIN_SEEDS seeds."""
    study, rows = table.study, []
    for r in table.rows:
        seeds, matrix = suite_scores(study, r.arm)
        if len(seeds) < MIN_SEEDS:
            continue
        other_seeds, other = suite_scores(study, r.against)
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
    return [Grid("aggregates over suites", header, rows, note=note)]


def _estimate(e: Estimate) -> Cell:
    interval = "" if math.isnan(e.low) else f" [{fraction(e.low)}, {fraction(e.high)}]"
    return Cell(fraction(e.value) + interval, e.value)


def _configuration(table: Table) -> Grid:
    rows = []
    for r in table.rows:
        differs = ", ".join(r.differs) or ("no config value" if r.difference else "baseline")
        rows.append([Cell(r.arm), Cell(r.against if r.difference else "-"), Cell(differs, words=True)])
    return Grid("config differences", ["arm", "compared to", "differs by"], rows)


def _runs(table: Table) -> Grid:
    values = [seed_values(run, table.study) for run in table.study.runs]
    keys = list(values[0]) if values else ["arm", "seed", "run_id"]
    rows = [[Cell(_number(v[k]), v[k] if isinstance(v[k], int | float) else str(v[k])) for k in keys] for v in values]
    return Grid("runs", keys, rows, [str(v["run_id"]) for v in values], filter=True)


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "-" if math.isnan(value) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


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
        Section("reference", "Beside published numbers", tables=[Grid("published numbers", header, rows, note=note)])
    ]


def _made_by(tags: Mapping[str, str]) -> dict[str, Any]:
    """What a run says made it; {} where it does not, or what it says cannot be read."""
    try:
        found = json.loads(tags.get("eprli.provenance", "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _provenance(study: StudyData, again: Sequence[str]) -> Section:
    made = [m for m in [_made_by(study.tags)] if m]
    items: list[Item] = []
    for m in made:
        items += [
            (f"{key}:", _flat(m[key])) for key in ("command", "commit", "python", "packages", "hardware") if m.get(key)
        ]
    of_runs = [m for run in study.runs if (m := _made_by(run.tags))]
    machines = {_flat({k: m.get(k, "") for k in ("commit", "packages", "hardware")}) for m in of_runs}
    if machines - {_flat({k: m.get(k, "") for k in ("commit", "packages", "hardware")}) for m in made}:
        items += [("runs were made with:", m) for m in sorted(machines)]
    backends = sorted({r.params["backend.kind"] for r in study.runs if "backend.kind" in r.params})
    items += [("backend:", ", ".join(backends))] if backends else []
    prints = sorted({r.tags["fingerprint"] for r in study.runs if "fingerprint" in r.tags})
    items += [("config fingerprints:", ", ".join(prints))] if prints else []
    items += [("parent run:", study.parent_run_id)] if study.parent_run_id else []
    items.append(("this report again:", " ".join(["python -m analysis.report", f"study={study.name}", *again])))
    return Section("provenance", "Provenance", items=items)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items() if v)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
