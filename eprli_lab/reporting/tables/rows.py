"""The ablation table: one row an arm, and how it reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eprli_lab.errors import UserError
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.effects import baselines, difference
from eprli_lab.reporting.stats.paired import PairedDifference, holm, mean
from eprli_lab.reporting.tables.arm import ArmRow
from eprli_lab.reporting.tables.config_diff import differing
from eprli_lab.reporting.tables.numbers import difference_text, fraction, number, p_text
from eprli_lab.reporting.tables.text import Block, aligned, split_to_width, to_csv, to_markdown, wrapped
from eprli_lab.reporting.tables.verdicts import ALPHA, is_significant, verdict

LEVELS_NOTE = "admitted: groups admitted / generated; clipped: fraction of tokens at the low / high clip bound"


@dataclass(frozen=True)
class Table:
    """Rows, and how they read."""

    study: StudyData
    baseline: str
    rows: list[ArmRow]

    def text(self) -> str:
        """Aligned, at most WIDTH columns wide; blocks that are wider are split."""
        parts = [self._title()]
        for header, rows in self._blocks():
            parts += [aligned(*block) for block in split_to_width(header, rows)]
        parts[-1] += f"\n{LEVELS_NOTE}"
        for head, lines in self._remarks():
            parts += ["\n".join([head, *(wrapped(line) for line in lines)])] if lines else []
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """The same, as Markdown tables."""
        title, *rest = self._title().splitlines()
        parts = [f"## {title}", "\n".join(rest)]
        parts += [to_markdown(*block) for block in self._blocks()]
        parts.append(f"{LEVELS_NOTE}.")
        for head, lines in self._remarks():
            parts += [f"**{head}**\n\n" + "\n".join(f"- {line}" for line in lines)] if lines else []
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """One row an arm, full precision."""
        return to_csv([self._flat(row) for row in self.rows])

    def seeds_csv(self) -> str:
        """One row an (arm, seed), full precision."""
        return to_csv([seed_values(run, self.study) for run in self.study.runs])

    def _title(self) -> str:
        d = self.study.description
        seeds = ", ".join(str(s) for s in d.get("seeds") or sorted({r.seed for r in self.study.runs}))
        head = f"{self.study.name}: {d['question']}" if d.get("question") else self.study.name
        lines = [head] + ([f"Claim: {d['claim']}"] if d.get("claim") else [])
        lines.append(f"Baseline {self.baseline}; seeds {seeds}; objective {self.study.objective}; start -> end.")
        return "\n".join(lines)

    def _accuracy(self) -> Block:
        suites = self.study.suites
        header = ["arm", "n", *suites, self.study.objective, f"difference to {self.baseline} [95%]", "p (Holm)"]
        rows = []
        for r in self.rows:
            cells = [f"{fraction(r.start[s])} -> {fraction(r.final[s])}" for s in suites]
            cells.append(f"{fraction(r.score_start)} -> {fraction(r.score)}")
            cells += [self.gain(r, r.difference), p_text(r.p_holm) if r.difference else ""]
            rows.append([r.arm, str(len(r.seeds)), *cells])
        return header, rows

    def _further(self) -> Block:
        """The study's other objectives, one difference each."""
        metrics = [m for m, _ in self.study.objectives[1:]]
        header = ["arm", *(x for m in metrics for x in (m, "difference [95%]"))]
        rows = []
        for r in self.rows:
            cells = []
            for m in metrics:
                value = mean([run.last(m) for run in self.study.of(r.arm)])
                cells += [number(value, 3), self.gain(r, r.others.get(m))]
            rows.append([r.arm, *cells])
        return header, rows

    def gain(self, row: ArmRow, d: PairedDifference | None) -> str:
        """A difference as a cell, with its seeds and baseline where they are not the row's and the table's."""
        if d is None:
            return "baseline"
        seeds = f" (n={d.n})" if d.n and d.n != len(row.seeds) and not math.isnan(d.low) else ""
        return difference_text(d) + seeds + (f" to {row.baseline}" if row.baseline != self.baseline else "")

    def _blocks(self) -> list[Block]:
        further = [self._further()] if len(self.study.objectives) > 1 else []
        return [self._accuracy(), *further, self._dynamics(), self._by_level()]

    def _dynamics(self) -> Block:
        header = ["arm", "updates", "tokens", "response tokens", "seconds"]
        rows = [
            [r.arm, number(r.updates, 1), number(r.tokens, 0), number(r.response_tokens, 1), number(r.seconds, 1)]
            for r in self.rows
        ]
        return header, rows

    def _by_level(self) -> Block:
        levels = [lv for lv in self.study.levels if any(lv in r.admission for r in self.rows)]
        header = ["arm"]
        header += [f"admitted {lv}" for lv in levels] + [f"clipped {lv}" for lv in levels]
        rows = []
        for r in self.rows:
            clips = [(r.clip_low.get(lv, math.nan), r.clip_high.get(lv, math.nan)) for lv in levels]
            rows.append(
                [r.arm]
                + [fraction(r.admission.get(lv, math.nan)) for lv in levels]
                + ["-" if math.isnan(lo) else f"{fraction(lo, 4)}/{fraction(hi, 4)}" for lo, hi in clips]
            )
        return header, rows

    def _remarks(self) -> list[tuple[str, list[str]]]:
        others = [r for r in self.rows if r.difference is not None]
        unfinished = [
            f"{u.arm} seed {u.seed}: {u.status}{f' ({u.reason})' if u.reason else ''}" for u in self.study.unfinished
        ]
        own = any(r.baseline != self.baseline for r in others)
        base = "its baseline" if own else self.baseline
        changes = [
            f"{r.arm}{f' (from {r.baseline})' if own else ''}: {', '.join(r.differs) or 'no config value'}"
            for r in others
            if r.seeds
        ]
        return [
            ("How it reads:", [f"{r.arm}: {self.verdicts(r)}" for r in others]),
            (f"Differs from {base} by:", changes),
            ("Runs that are not in the table:", unfinished),
            ("Notes:", self.study.notes),
        ]

    def verdicts(self, r: ArmRow) -> str:
        """The headline's sentence, and a short one for each further objective."""
        first, direction = self.study.objectives[0]
        out = verdict(r, r.baseline, first, direction)
        for metric, way in self.study.objectives[1:]:
            d = r.others[metric]
            what = "no comparison" if math.isnan(d.low) else "not distinguishable from zero"
            what = "identical at every seed" if d.identical else what
            if d.distinguishable:
                what = "better" if (d.mean > 0) == (way == "maximize") else "worse"
                p = r.others_p[metric]
                what += f" (p {p_text(p)})" if p < ALPHA else f" by itself, not after correction (p {p_text(p)})"
            out += f"; {metric} {difference_text(d)}: {what}"
        return out

    def _flat(self, r: ArmRow) -> dict[str, object]:
        d = r.difference or PairedDifference(math.nan, math.nan, math.nan, math.nan, 0)
        out: dict[str, object] = {"arm": r.arm, "n": len(r.seeds), "seeds": " ".join(map(str, r.seeds))}
        for suite in self.study.suites:
            out |= {f"{suite}/start": r.start[suite], f"{suite}/end": r.final[suite]}
        objective = self.study.objective
        out |= {f"{objective}/start": r.score_start, f"{objective}/end": r.score, "difference": d.mean}
        out |= {"difference_low": d.low, "difference_high": d.high, "p": d.p, "p_holm": r.p_holm, "common_seeds": d.n}
        for metric, _ in self.study.objectives[1:]:
            one = r.others.get(metric, PairedDifference(math.nan, math.nan, math.nan, math.nan, 0))
            out |= {f"{metric}/difference": one.mean, f"{metric}/low": one.low, f"{metric}/high": one.high}
        out |= {"baseline": r.baseline, "updates": r.updates, "tokens": r.tokens}
        out |= {"response_tokens": r.response_tokens, "seconds": r.seconds}
        for level in self.study.levels:
            out[f"admission_rate/{level}"] = r.admission.get(level, math.nan)
            out[f"clip_fraction_low/{level}"] = r.clip_low.get(level, math.nan)
            out[f"clip_fraction_high/{level}"] = r.clip_high.get(level, math.nan)
        return out | {"differs": "; ".join(r.differs)}


def ablation_table(study: StudyData, baseline: str | None = None) -> Table:
    """One row an arm. Raises UserError when the baseline is no arm of the study, or the study is a search.

    A given baseline goes before those that arms have of their own.
    """
    if study.description.get("kind") == "search":
        raise UserError(search_note(study))
    arms = study.arms
    if not arms:
        raise UserError(f"study={study.name} has no run that belongs to an arm: run its sweep first")
    base = baseline or str(study.description.get("baseline") or arms[0])
    against = baselines(study, baseline)
    metrics = [m for m, _ in study.objectives]
    found = {m: {arm: difference(study, arm, other, m) for arm, other in against.items()} for m in metrics}
    adjusted = {m: dict(zip(ds, holm([d.p for d in ds.values()]), strict=True)) for m, ds in found.items()}
    return Table(study, base, [_row(study, arm, against.get(arm, arm), found, adjusted) for arm in arms])


def search_note(study: StudyData) -> str:
    """Why a search has no table."""
    return (
        f"study={study.name} is a search: the values of its trials chose its winners and are no comparison; the "
        f"winners on fresh seeds are in study={study.description.get('confirmed_in')}"
    )


def _row(
    study: StudyData,
    arm: str,
    base: str,
    found: Mapping[str, Mapping[str, PairedDifference]],
    adjusted: Mapping[str, Mapping[str, float]],
) -> ArmRow:
    """`found`, `adjusted`: objective -> arm -> difference, Holm-corrected p."""
    runs, further = study.of(arm), [m for m, _ in study.objectives[1:] if arm != base]
    values = [seed_values(run, study) for run in runs]

    def average(column: str) -> float:
        return mean([float(v[column]) for v in values])

    levels = [lv for lv in study.levels if any(f"buffer/{lv}/groups/generated" in r.histories for r in runs)]
    return ArmRow(
        arm=arm,
        seeds=tuple(r.seed for r in runs),
        start={s: average(f"{s}/start") for s in study.suites},
        final={s: average(f"{s}/end") for s in study.suites},
        score_start=average(f"{study.objective}/start"),
        score=average(f"{study.objective}/end"),
        difference=found[study.objective].get(arm),
        p_holm=adjusted[study.objective].get(arm, math.nan),
        others={m: found[m][arm] for m in further},
        others_p={m: adjusted[m][arm] for m in further},
        baseline=base,
        updates=average("updates"),
        tokens=average("tokens"),
        response_tokens=average("response_tokens"),
        seconds=average("seconds"),
        admission={lv: pooled_admission(runs, lv) for lv in levels},
        clip_low={lv: average(f"clip_fraction_low/{lv}") for lv in levels},
        clip_high={lv: average(f"clip_fraction_high/{lv}") for lv in levels},
        differs=tuple(differing(runs, study.of(base))) if runs and arm != base else (),
    )


def seed_values(run: RunData, study: StudyData) -> dict[str, float | str | int]:
    """The numbers of one run."""
    out: dict[str, float | str | int] = {"arm": run.arm, "seed": run.seed, "run_id": run.run_id}
    for s in study.suites:
        out |= {f"{s}/start": run.first(f"eval/{s}/avg_at_k"), f"{s}/end": run.last(f"eval/{s}/avg_at_k")}
    out[f"{study.objective}/start"] = run.first(study.objective)
    out[f"{study.objective}/end"] = run.last(study.objective)
    out |= {"updates": run.last("progress/updates"), "tokens": run.last("progress/tokens")}
    out["response_tokens"] = mean([run.last(f"eval/{s}/response_tokens") for s in study.suites])
    out["seconds"] = run.last("time/total")
    for level in study.levels:
        out[f"admission_rate/{level}"] = pooled_admission([run], level)
        out[f"clip_fraction_low/{level}"] = run.mean(f"policy/{level}/clip_fraction/low")
        out[f"clip_fraction_high/{level}"] = run.mean(f"policy/{level}/clip_fraction/high")
    return out


def pooled_admission(runs: Sequence[RunData], level: str) -> float:
    """All groups admitted / all groups generated, over the steps of all these runs."""
    counts = [(r.total(f"buffer/{level}/groups/admitted"), r.total(f"buffer/{level}/groups/generated")) for r in runs]
    known = [(a, g) for a, g in counts if not math.isnan(a + g)]
    generated = math.fsum(g for _, g in known)
    return math.fsum(a for a, _ in known) / generated if generated else math.nan


def wanted(metric: str) -> bool:
    """The metrics that a table reads."""
    parts = metric.split("/")
    return (
        len(parts) == 1  # score, response_tokens
        or parts[0] == "eval"
        or metric in ("progress/updates", "progress/tokens", "time/total")
        or (parts[0] == "buffer" and parts[2:] in (["groups", "admitted"], ["groups", "generated"]))
        or (parts[0] == "policy" and parts[2:3] == ["clip_fraction"])
    )


def headline(table: Table) -> str:
    """How many arms a study tells apart from their baselines, and which."""
    compared = [r for r in table.rows if r.difference is not None and r.difference.n]
    if len(table.rows) < 2:
        return "There is one arm, so nothing is compared."
    if not compared:
        return "No arm has a seed in common with a baseline, so nothing is compared."
    up = table.study.objectives[0][1] == "maximize"
    bases = {r.baseline for r in compared}
    base = bases.pop() if len(bases) == 1 else "their baselines"
    told = [
        f"{r.arm} ({'better' if (r.difference.mean > 0) == up else 'worse'})"
        for r in compared
        if r.difference is not None and is_significant(r)
    ]
    arms = f"{len(told) or 'None'} of {len(compared)} arms" if len(compared) > 1 else "The arm"
    is_not = "" if told or len(compared) > 1 else "not"
    which = f": {', '.join(told)}" if told else ""
    return f"{arms} can{is_not} be told apart from {base} in {table.study.objective}{which}."
