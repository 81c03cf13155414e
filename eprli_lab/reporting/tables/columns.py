"""What a table of arms can show, column by column: the text, the number behind it, and where the best one is bold."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from eprli_lab.errors import UserError, nearest
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import last_by_seed
from eprli_lab.reporting.stats.paired import holm, mean, paired_difference
from eprli_lab.reporting.tables.arm import ArmRow
from eprli_lab.reporting.tables.numbers import fraction, number, p_text, signed
from eprli_lab.reporting.tables.rows import Table
from eprli_lab.reporting.tables.verdicts import ALPHA, is_significant

Value = Callable[[ArmRow], float]


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str  # as `columns=` takes it
    title: str
    text: Callable[[ArmRow], str]
    key: Callable[[ArmRow], float | str]  # what it is sorted by, and what a CSV holds
    metric: str = ""  # the metric whose last values it shows; "": none, and never bold
    maximize: bool = True


def columns(table: Table) -> list[Column]:
    """Every column that this study has, in the order in which a table shows them."""
    study, out = table.study, [Column("arm", "arm", lambda r: r.arm, lambda r: r.arm)]
    names = suite_columns(table)
    out.append(Column("n", "seeds", lambda r: str(len(r.seeds)), lambda r: float(len(r.seeds))))
    for suite in study.suites:
        metric = f"eval/{suite}/avg_at_k"
        start, end = operator.attrgetter("start"), operator.attrgetter("final")
        out.append(Column(names[suite], suite, _walk(start, end, suite), _of(end, suite), metric))
    objective, direction = study.objectives[0]
    if objective not in {c.metric for c in out}:
        walk = _walk(operator.attrgetter("score_start"), operator.attrgetter("score"))
        out.append(Column(objective, objective, walk, lambda r: r.score, objective, direction == "maximize"))
    gain: Callable[[ArmRow], str] = lambda r: table.gain(r, r.difference)  # noqa: E731
    out.append(Column("difference", f"difference to {table.baseline} [95%]", gain, _gain_key))
    out.append(Column("baseline", "compared to", lambda r: r.baseline, lambda r: r.baseline))
    for name, i in (("low", 1), ("high", 2)):
        edge = _edge(i)
        out.append(Column(name, f"{name} end [95%]", _shown(signed, edge), edge))
    out.append(Column("p", "p (Holm)", lambda r: p_text(r.p_holm) if r.difference else "", lambda r: r.p_holm))
    for metric, way in study.objectives[1:]:
        out.append(_further(study, metric, way))
        out.append(Column(f"{metric}/difference", f"{metric} difference [95%]", *_difference(table, metric)))
    for name, digits in (("updates", 1), ("tokens", 0), ("response_tokens", 1), ("seconds", 1)):
        value: Value = operator.attrgetter(name)
        if name not in {c.name for c in out}:  # response_tokens may be an objective
            out.append(Column(name, name.replace("_", " "), _shown(partial(number, digits=digits), value), value))
    for level in study.levels:
        for name, title in (("admission", "admitted"), ("clip_low", "clipped low"), ("clip_high", "clipped high")):
            value = _of(operator.attrgetter(name), level)
            text = _shown(partial(fraction, digits=3 if name == "admission" else 4), value)
            out.append(Column(f"{name}/{level}", f"{title} {level}", text, value))
    return out


TAKEN = ("arm", "n", "difference", "low", "high", "baseline", "p", "updates", "tokens", "response_tokens", "seconds")


def suite_columns(table: Table) -> dict[str, str]:
    """Suite -> its column's name: its own, or suite/... where another column has that."""
    taken = {*TAKEN, *(m for m, _ in table.study.objectives)}
    return {s: f"suite/{s}" if s in taken else s for s in table.study.suites}


DEFAULT = ("arm", "n", "SUITES", "OBJECTIVE", "difference", "p", "updates", "tokens")
MACHINE = ("arm", "n", "SUITES", "OBJECTIVE", "difference", "low", "high", "baseline", "p", "updates", "tokens")  # CSV


def chosen(table: Table, names: Sequence[str] | None = None, default: Sequence[str] = DEFAULT) -> list[Column]:
    """The named columns in their order, or those of `default`. Raises UserError for a name that no column has."""
    known = {c.name: c for c in columns(table)}
    if names is None:
        groups = {
            "SUITES": list(suite_columns(table).values()),
            "OBJECTIVE": [o for o in [table.study.objective] if o in known],
        }
        return [known[n] for d in default for n in groups.get(d, [d])]
    for name in names:
        if name not in known:
            raise UserError(f"columns={name}: {table.study.name} has no such column{nearest(name, known)}")
    return [known[n] for n in dict.fromkeys(names)]


def best(table: Table, column: Column) -> str | None:
    """The arm whose value is best and told apart from every other arm's; None without such an arm.

    Told apart: p of the paired difference over common seeds, Holm-corrected over the other arms, is below 5%. All
    columns beside the headline's share another 5%, divided by their number. In the headline's column the comparisons
    of the table must say so too.
    """
    if not column.metric or len(table.rows) < 2:
        return None
    sign = 1.0 if column.maximize else -1.0
    values = {r.arm: sign * float(column.key(r)) for r in table.rows}
    if any(math.isnan(v) for v in values.values()):
        return None
    top = max(values, key=lambda arm: values[arm])
    mine = last_by_seed(table.study, top, column.metric)
    others = [arm for arm in values if arm != top]
    found = [paired_difference(mine, last_by_seed(table.study, arm, column.metric)) for arm in others]
    headline = column.metric == table.study.objective
    alpha = ALPHA if headline else ALPHA / max(1, sum(1 for c in columns(table) if c.metric) - 1)
    told = all(p < alpha and sign * d.mean > 0 for d, p in zip(found, holm([d.p for d in found]), strict=True))
    if headline:
        told = told and all(is_significant(r) for r in table.rows if r.difference and top in (r.arm, r.baseline))
    return top if told else None


def _walk(start: Callable[[ArmRow], Any], end: Callable[[ArmRow], Any], suite: str = "") -> Callable[[ArmRow], str]:
    """start -> end, of one suite where they are by suite."""

    def text(row: ArmRow) -> str:
        before, after = (value(row)[suite] if suite else value(row) for value in (start, end))
        return f"{fraction(before)} -> {fraction(after)}"

    return text


def _of(values: Callable[[ArmRow], Any], key: str) -> Value:
    return lambda row: float(values(row).get(key, math.nan))


def _further(study: StudyData, metric: str, way: str) -> Column:
    """A further objective: its last value, mean over seeds."""
    value: Value = lambda r: mean(list(last_by_seed(study, r.arm, metric).values()))  # noqa: E731
    return Column(metric, metric, _shown(partial(number, digits=3), value), value, metric, way == "maximize")


def _difference(table: Table, metric: str) -> tuple[Callable[[ArmRow], str], Value]:
    """A further objective's difference to the arm's baseline: text, number."""

    def text(row: ArmRow) -> str:
        return table.gain(row, row.others.get(metric))

    return text, lambda row: row.others[metric].mean if metric in row.others else math.nan


def _edge(i: int) -> Value:
    """An end of the difference's interval."""
    return lambda row: row.difference[i] if row.difference else math.nan


def _shown(text: Callable[[float], str], value: Value) -> Callable[[ArmRow], str]:
    return lambda row: text(value(row))


def _gain_key(row: ArmRow) -> float:
    return math.nan if row.difference is None else row.difference.mean
