"""The ablation table: one row an arm, as text for a terminal, Markdown, LaTeX, CSV or HTML.

    python -m analysis.table sweep=levels [preset=smoke] (or study=NAME) [format=text|md|latex|csv|html]
        [columns=arm,n,score,difference,p,...] [baseline=ARM] [tracking.uri=URI]

A value is bold only when its interval tells it apart from every other arm's; every arm's run ids go along.
"""

from __future__ import annotations

import csv
import io
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.effects import baselines, difference
from analysis.statistics import PairedDifference, holm, mean
from analysis.store import RunData, StudyData, load_study
from eprli_lab.errors import UserError

ALPHA = 0.05  # of Holm-corrected p
WIDTH = 120  # columns of a terminal
LEVELS_NOTE = "admitted: groups admitted / generated; clipped: fraction of tokens at the low / high clip bound"
NOT_COMPARED = ("seed", "study", "arm", "objective", "tracking.", "checkpoint.")  # params that change no result
Block = tuple[list[str], list[list[str]]]  # header, rows


@dataclass(frozen=True)
class ArmRow:
    """One arm: means over its seeds. nan: not logged."""

    arm: str
    seeds: tuple[int, ...]
    start: dict[str, float]  # suite -> accuracy (avg_at_k) before training
    final: dict[str, float]  # suite -> accuracy after
    score_start: float  # of the objective
    score: float
    difference: PairedDifference | None  # to its baseline; None: it is one
    p_holm: float
    others: dict[str, PairedDifference]  # further objectives of the study -> difference to its baseline
    others_p: dict[str, float]  # those -> p, Holm-corrected over the arms
    against: str  # its baseline
    updates: float
    tokens: float
    response_tokens: float  # mean over suites, after training
    seconds: float
    admission: dict[str, float]  # level -> admitted / generated, over the whole run
    clip_low: dict[str, float]  # level -> fraction of tokens, mean over updates
    clip_high: dict[str, float]
    differs: tuple[str, ...]  # config values that are not the baseline's


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
            parts += [_aligned(*block) for block in _split(header, rows)]
        parts[-1] += f"\n{LEVELS_NOTE}"
        for head, lines in self._remarks():
            parts += ["\n".join([head, *(_wrapped(line) for line in lines)])] if lines else []
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """The same, as Markdown tables."""
        title, *rest = self._title().splitlines()
        parts = [f"## {title}", "\n".join(rest)]
        parts += [_markdown(*block) for block in self._blocks()]
        parts.append(f"{LEVELS_NOTE}.")
        for head, lines in self._remarks():
            parts += [f"**{head}**\n\n" + "\n".join(f"- {line}" for line in lines)] if lines else []
        return "\n\n".join(parts) + "\n"

    def csv(self) -> str:
        """One row an arm, full precision."""
        return _csv([self._flat(row) for row in self.rows])

    def seeds_csv(self) -> str:
        """One row an (arm, seed), full precision."""
        return _csv([seed_values(run, self.study) for run in self.study.runs])

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
        return difference_text(d) + seeds + (f" to {row.against}" if row.against != self.baseline else "")

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
        own = any(r.against != self.baseline for r in others)
        base = "its baseline" if own else self.baseline
        changes = [
            f"{r.arm}{f' (from {r.against})' if own else ''}: {', '.join(r.differs) or 'no config value'}"
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
        out = verdict(r, r.against, first, direction)
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
        out |= {"baseline": r.against, "updates": r.updates, "tokens": r.tokens}
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
        return mean([float(v[column]) for v in values])  # type: ignore[arg-type]

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
        against=base,
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


def differing(runs: Sequence[RunData], base: Sequence[RunData]) -> list[str]:
    """Config values by which an arm's runs differ from the baseline's, as `path=value`, without seed and tracking.

    A level that the baseline does not have reads `level l2 added (...)` with its bounds, and whatever else it does
    not share with the arm's first level.
    """
    if not base:
        return []
    if not runs[0].params and not base[0].params:
        return ["(params were not logged)"]
    mine, theirs = _values(runs), _values(base)
    prefix = "curriculum.levels."
    own = list(dict.fromkeys(k.split(".")[2] for k in mine if k.startswith(prefix)))
    old = list(dict.fromkeys(k.split(".")[2] for k in theirs if k.startswith(prefix)))
    out = []
    for level in sorted(set(own) - set(old)):
        out.append(f"level {level} added ({', '.join(_level_values(mine, level, own[0]))})")
    out += [f"level {level} left out" for level in sorted(set(old) - set(own))]
    changed = set(own) ^ set(old)
    for key in sorted(mine.keys() | theirs.keys()):
        if key.startswith(prefix) and key.split(".")[2] in changed:
            continue
        if mine.get(key) != theirs.get(key):
            out.append(f"{key}={mine.get(key, '(absent)')}")
    return out


def _values(runs: Sequence[RunData]) -> dict[str, str]:
    """Param -> value; values that differ from seed to seed are all named."""
    keys = [k for k in runs[0].params if not k.startswith(NOT_COMPARED)]
    out = {}
    for key in keys:
        several = list(dict.fromkeys(r.params.get(key, "(absent)") for r in runs))
        out[key] = several[0] if len(several) == 1 else f"{', '.join(several)} (by seed)"
    return out


def _level_values(params: Mapping[str, str], level: str, first: str) -> list[str]:
    out = []
    for key, value in params.items():
        path = key.removeprefix(f"curriculum.levels.{level}.")
        always = path in ("quality_threshold", "max_response_tokens")
        if path != key and (always or params.get(f"curriculum.levels.{first}.{path}") != value):
            out.append(f"{path}={value}")
    return out


def told_apart(row: ArmRow) -> bool:
    """The interval excludes zero, and p after Holm's correction is below 5%: the rule of every sentence on an arm."""
    return row.difference is not None and row.difference.distinguishable and row.p_holm < ALPHA


def headline(table: Table) -> str:
    """How many arms a study tells apart from their baselines, and which."""
    compared = [r for r in table.rows if r.difference is not None and r.difference.n]
    if len(table.rows) < 2:
        return "There is one arm, so nothing is compared."
    if not compared:
        return "No arm has a seed in common with a baseline, so nothing is compared."
    up = table.study.objectives[0][1] == "maximize"
    bases = {r.against for r in compared}
    base = bases.pop() if len(bases) == 1 else "their baselines"
    told = [f"{r.arm} ({'better' if (r.difference.mean > 0) == up else 'worse'})" for r in compared if told_apart(r)]  # type: ignore[union-attr]
    arms = f"{len(told) or 'None'} of {len(compared)} arms" if len(compared) > 1 else "The arm"
    is_not = "" if told or len(compared) > 1 else "not"
    which = f": {', '.join(told)}" if told else ""
    return f"{arms} can{is_not} be told apart from {base} in {table.study.objective}{which}."


def verdict(row: ArmRow, baseline: str, objective: str, direction: str = "maximize") -> str:
    """One sentence on an arm's difference; one that the interval cannot tell from zero is said to be so."""
    d = row.difference
    if d is None or d.n == 0:
        return f"no seed in common with {baseline}, so no comparison"
    seeds = f"{d.n} common seed{'s' if d.n > 1 else ''}"
    if d.n == 1:
        return f"{signed(d.mean)} in {objective} on one common seed: no interval, so nothing can be said"
    if math.isnan(d.low):
        return f"{signed(d.mean)} in {objective} on each of {seeds}: without spread there is no interval"
    what = f"{difference_text(d)} in {objective} over {seeds}"
    if d.identical:
        return f"{what}: identical at every seed, so what differs never acted on it"
    if not d.distinguishable:
        return f"{what}: not distinguishable from zero"
    better = "better" if (d.mean > 0) == (direction == "maximize") else "worse"
    if not told_apart(row):
        return f"{what}: {better} by itself, not after correction for the number of arms (p {p_text(row.p_holm)})"
    return f"{what}: {better} than {baseline} (p {p_text(row.p_holm)})"


def fraction(value: float, digits: int = 3) -> str:
    """.899; -.012; 1.000; a dash for nan."""
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def p_text(p: float) -> str:
    """.031; <.001; a dash for nan."""
    return "<.001" if p < 0.001 else fraction(p)


def signed(value: float) -> str:
    """+.012, -.003; a dash for nan."""
    return "-" if math.isnan(value) else f"{'-' if value < 0 else '+'}{fraction(abs(value))}"


def difference_text(d: PairedDifference) -> str:
    """+.041 [+.011, +.071], or why there is no interval."""
    if d.n == 0:
        return "-"
    if math.isnan(d.low):
        return f"{signed(d.mean)} [no interval, n={d.n}]"
    return f"{signed(d.mean)} [{signed(d.low)}, {signed(d.high)}]"


def number(value: float, digits: int) -> str:
    """12,345.6; a dash for nan."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="      ", break_long_words=False)


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]


def _split(header: list[str], rows: list[list[str]]) -> list[Block]:
    """Blocks that fit WIDTH; every one begins with the first column."""
    widths = _widths(header, rows)
    groups: list[list[int]] = [[]]
    used = widths[0]
    for i in range(1, len(header)):
        if groups[-1] and used + 2 + widths[i] > WIDTH:
            groups.append([])
            used = widths[0]
        groups[-1].append(i)
        used += 2 + widths[i]
    return [([header[0]] + [header[i] for i in g], [[r[0]] + [r[i] for i in g] for r in rows]) for g in groups if g]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = _widths(header, rows)
    rule = ["-" * w for w in widths]
    lines = [[line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
             for line in [header, rule, *rows]]  # fmt: skip
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """nan becomes an empty cell; floats keep every digit."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
    return out.getvalue()


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


def _command(arguments: Sequence[str]) -> None:
    from analysis import options
    from analysis.columns import DEFAULT, MACHINE, chosen
    from analysis.formats import FORMATS, render

    usage = "usage: python -m analysis.table sweep=NAME [format=md] [columns=arm,score,difference]; --help says more"
    given = options.parse(arguments, (*options.COMMON, "format", "columns"), usage)
    form, where = given.get("format", "text"), options.tracking(given)
    if form not in (*FORMATS, "text"):
        raise UserError(f"format={form}: there is text, {', '.join(FORMATS)}")
    study = load_study(where.uri, where.experiment, options.study_name(given, usage), wanted)
    table = ablation_table(study, given.get("baseline"))
    names = given["columns"].split(",") if "columns" in given else None
    if form == "text" and names is None:
        print(table.text())
    else:
        shown = chosen(table, names, MACHINE if form == "csv" else DEFAULT)
        print(render(table, shown, "md" if form == "text" else form), end="")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 with one sentence."""
    from analysis.options import command

    return command(_command, arguments, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
