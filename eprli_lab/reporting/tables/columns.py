"""The one list of what a table of arms can show: a name, one meaning; its title, its text, the number behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from eprli_lab.errors import UserError, nearest
from eprli_lab.reporting.derived import TRANSFER
from eprli_lab.reporting.stats.effects import corrected_p, difference
from eprli_lab.reporting.stats.paired import ALPHA, PairedDifference
from eprli_lab.reporting.tables.arm import ArmRow, Comparison
from eprli_lab.reporting.tables.numbers import fraction, number, p_text, signed
from eprli_lab.reporting.tables.verdicts import is_significant
from eprli_lab.tracking import names

Value = float | int | str
PICKED = "picked"  # the block of columns that were asked for by name
# names of earlier versions -> those of today; before the / of a level in the second
RENAMED = {"low": "difference_low", "high": "difference_high", "differs": "config_diff"}
RENAMED_BY_LEVEL = {
    "admission": "admission_rate",
    "clip_low": "clip_fraction_low",
    "clip_high": "clip_fraction_high",
}
# what people read and what programs read: names that every study has, beside those of suites, objectives and levels
DEFAULT = ("arm", "n", "difference", "p_raw", "p_holm", "updates", "tokens", "response_tokens", "seconds")
MACHINE = (
    "arm", "n", "seeds", "difference", "difference_low", "difference_high", "p_raw", "p_holm", "common_seeds",
    "baseline", "updates", "tokens", "response_tokens", "seconds", "entropy", "parameters", "forward_transfer",
    "backward_transfer", "forgetting", "config_diff",
)  # fmt: skip
# names that no suite's column may have
TAKEN = (*MACHINE, "runs", "admission_rate", "clip_fraction", "clip_fraction_low", "clip_fraction_high")


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str  # as `columns=` takes it and a CSV heads it
    title: str  # as people read it
    text: Callable[[ArmRow], str]
    key: Callable[[ArmRow], Value]  # what it is sorted by, and what a CSV holds
    block: str = ""  # of the document that people read; "": it is for programs
    parts: tuple[str, ...] = ()  # the columns that a CSV holds in its place; (): itself
    metric: str = ""  # the metric whose last values it shows; "": none, and never bold
    maximize: bool = True


def columns(table: Comparison) -> list[Column]:
    """Every column that this study has, each name once, in the order of a CSV."""
    return [
        Column("arm", "arm", lambda r: r.arm, lambda r: r.arm, "every"),
        Column("n", "n", lambda r: str(len(r.seeds)), lambda r: len(r.seeds), "accuracy"),
        Column("seeds", "seeds", _seeds, _seeds),
        *_scores(table),
        *_difference(table),
        *_further(table),
        Column("baseline", "compared to", lambda r: r.baseline, lambda r: r.baseline),
        *_training(table),
        *_transfer(table),
        *_levels(table),
        Column("config_diff", "differs by", _config_diff, _config_diff),
    ]


def suite_columns(table: Comparison) -> dict[str, str]:
    """Suite -> its column's name: its own, or suite/... where another column has that."""
    taken = {*TAKEN, *(metric for metric, _ in table.study.objectives)}
    return {s: f"suite/{s}" if s in taken else s for s in table.study.suites}


def _scores(table: Comparison) -> Iterable[Column]:
    """Accuracy of every suite and the objective, before and after training."""
    for suite, name in suite_columns(table).items():
        start = partial(_of, field="start", key=suite)
        yield from _start_and_end(name, suite, start, partial(_of, field="final", key=suite), names.accuracy(suite))
    objective, direction = table.study.objectives[0]
    pair = _start_and_end(objective, objective, lambda r: r.score_start, lambda r: r.score, objective)
    yield from (replace(c, maximize=direction == "maximize") for c in pair)


def _start_and_end(
    name: str, title: str, start: Callable[[ArmRow], float], end: Callable[[ArmRow], float], metric: str
) -> Iterable[Column]:
    """For people `start -> end`, for programs two numbers."""
    parts = (f"{name}/start", f"{name}/end")
    walk: Callable[[ArmRow], str] = lambda r: f"{fraction(start(r))} -> {fraction(end(r))}"  # noqa: E731
    yield Column(name, title, walk, end, "accuracy", parts, metric)
    yield Column(parts[0], f"{title} before", lambda r: fraction(start(r)), start)
    yield Column(parts[1], f"{title} after", lambda r: fraction(end(r)), end)


def _difference(table: Comparison) -> Iterable[Column]:
    """The objective's difference to the arm's baseline; p before and after Holm's correction over the arms."""
    title = f"difference to {table.baseline} [95%]"
    text: Callable[[ArmRow], str] = lambda r: table.format_difference(r, r.difference)  # noqa: E731
    yield Column("difference", title, text, lambda r: _paired(r.difference).mean, "accuracy")
    yield _shown("difference_low", "low end [95%]", signed, lambda r: _paired(r.difference).low)
    yield _shown("difference_high", "high end [95%]", signed, lambda r: _paired(r.difference).high)
    raw: Callable[[ArmRow], str] = lambda r: p_text(r.difference.p) if r.difference else ""  # noqa: E731
    yield Column("p_raw", "p (raw)", raw, lambda r: _paired(r.difference).p, "accuracy")
    holm: Callable[[ArmRow], str] = lambda r: p_text(r.p_holm) if r.difference else ""  # noqa: E731
    yield Column("p_holm", "p (Holm)", holm, lambda r: r.p_holm, "accuracy")
    yield Column(
        "common_seeds", "common seeds", lambda r: str(_paired(r.difference).n), lambda r: _paired(r.difference).n
    )


def _further(table: Comparison) -> Iterable[Column]:
    """The study's further objectives: last value, and difference to the arm's baseline."""
    for metric, direction in table.study.objectives[1:]:
        last = partial(_of, field="secondary_score", key=metric)
        three = partial(number, digits=3)
        shown = _shown(metric, metric, three, last, "objectives")
        yield replace(shown, parts=(f"{metric}/end",), metric=metric, maximize=direction == "maximize")
        yield _shown(f"{metric}/end", f"{metric} after", three, last)
        yield from _further_difference(table, metric)


def _further_difference(table: Comparison, metric: str) -> Iterable[Column]:
    """Named `{metric}/...`, as those of the first objective are named."""
    of: Callable[[ArmRow], PairedDifference] = lambda r: _paired(r.secondary.get(metric))  # noqa: E731
    text: Callable[[ArmRow], str] = lambda r: table.format_difference(r, r.secondary.get(metric))  # noqa: E731
    title = f"{metric} difference"
    yield Column(f"{metric}/difference", f"{title} [95%]", text, lambda r: of(r).mean, "objectives")
    yield _shown(f"{metric}/difference_low", f"{title}, low end", signed, lambda r: of(r).low)
    yield _shown(f"{metric}/difference_high", f"{title}, high end", signed, lambda r: of(r).high)
    yield _shown(f"{metric}/p_raw", f"{metric} p (raw)", p_text, lambda r: of(r).p)
    yield _shown(f"{metric}/p_holm", f"{metric} p (Holm)", p_text, partial(_of, field="secondary_p", key=metric))


def _training(table: Comparison) -> Iterable[Column]:
    """What training took: means over seeds."""
    objectives = {metric for metric, _ in table.study.objectives}
    yield _shown("updates", "updates", partial(number, digits=1), lambda r: r.updates, "training")
    yield _shown("tokens", "tokens", partial(number, digits=0), lambda r: r.tokens, "training")
    if names.RESPONSE_TOKENS not in objectives:  # else it is shown as what it is
        one_digit = partial(number, digits=1)
        yield _shown("response_tokens", "response tokens", one_digit, lambda r: r.response_tokens, "training")
    yield _shown("seconds", "seconds", partial(number, digits=1), lambda r: r.seconds, "training")

    block = "training" if any(math.isfinite(r.entropy) for r in table.rows) else ""
    yield _shown("entropy", "entropy at the end", fraction, lambda r: r.entropy, block)
    block = "training" if any(math.isfinite(r.parameters) for r in table.rows) else ""
    yield _shown("parameters", "parameters", partial(number, digits=0), lambda r: r.parameters, block)


def _transfer(table: Comparison) -> Iterable[Column]:
    """What the levels of a curriculum did to each other: means over seeds, of arms with level after level."""
    for name in TRANSFER:
        value = partial(_of, field="transfer", key=name)
        block = "transfer" if any(math.isfinite(value(r)) for r in table.rows) else ""
        yield _shown(name, name.replace("_", " "), signed, value, block)


def _levels(table: Comparison) -> Iterable[Column]:
    """What the buffer admitted and the clip bounds cut, level by level."""
    four = partial(fraction, digits=4)
    for level in table.study.levels:
        block = "levels" if any(level in r.admission_rate for r in table.rows) else ""
        rate = partial(_of, field="admission_rate", key=level)
        yield _shown(f"admission_rate/{level}", f"admitted level {level}", fraction, rate, block)
    for level in table.study.levels:
        block = "levels" if any(level in r.admission_rate for r in table.rows) else ""
        low = partial(_of, field="clip_fraction_low", key=level)
        high = partial(_of, field="clip_fraction_high", key=level)
        parts = (f"clip_fraction_low/{level}", f"clip_fraction_high/{level}")
        both = partial(_both, low=low, high=high)
        either = partial(_either, low=low, high=high)
        yield Column(f"clip_fraction/{level}", f"clipped level {level}", both, either, block, parts)
        yield _shown(parts[0], f"clipped low level {level}", four, low)
        yield _shown(parts[1], f"clipped high level {level}", four, high)


def chosen(table: Comparison, wanted: Sequence[str] | None = None, default: Sequence[str] = DEFAULT) -> list[Column]:
    """The wanted columns in their order; with None all that people read (DEFAULT), or programs (MACHINE).

    Raises UserError for a name that no column has, with the nearest one that is.
    """
    known = {c.name: c for c in columns(table)}
    if wanted is None and default == DEFAULT:
        return [c for c in known.values() if c.block]
    if wanted is None:
        return [replace(c, block=PICKED) for c in known.values() if not c.parts]
    for name in wanted:
        if name not in known:
            raise UserError(f"columns={name}: {table.study.name} has no such column{_hint(name, known)}")
    return [replace(known[name], block=PICKED) for name in dict.fromkeys(wanted)]


def expanded(table: Comparison, shown: Sequence[Column]) -> list[Column]:
    """The columns that a CSV holds for these: of the whole document all that programs read."""
    if all(c.block != PICKED for c in shown):
        return chosen(table, None, MACHINE)
    known = {c.name: c for c in columns(table)}
    return [known[name] for name in dict.fromkeys(n for c in shown for n in c.parts or (c.name,))]


def numbers_of(table: Comparison, shown: Sequence[Column]) -> list[Column]:
    """The columns that hold these cells' numbers one by one: both ends of a walk, mean and ends of a difference."""
    known = {c.name: c for c in columns(table)}
    names = [n for c in shown for n in c.parts or (c.name, f"{c.name}_low", f"{c.name}_high")]
    return [known[name] for name in dict.fromkeys(names) if name in known]


def best(table: Comparison, column: Column) -> str | None:
    """The arm whose value is best and told apart from every other arm's; None without such an arm.

    Told apart: p of the paired difference over three common seeds or more, Holm-corrected over the other arms, is below
    5%. All metrics beside the headline's share another 5%, divided by their number. In the headline's column the
    comparisons of the table must say so too.
    """
    if not column.metric or len(table.rows) < 2:
        return None
    sign = 1.0 if column.maximize else -1.0
    values = {r.arm: sign * float(column.key(r)) for r in table.rows}
    if any(math.isnan(v) for v in values.values()):
        return None
    top = max(values, key=lambda arm: values[arm])
    compared = [(top, arm, column.metric) for arm in values if arm != top]
    differences = [difference(table.study, *pair) for pair in compared]
    is_headline = column.metric == table.study.objective
    beside = len({c.metric for c in columns(table) if c.metric}) - 1
    alpha = ALPHA if is_headline else ALPHA / max(1, beside)
    p_holm = corrected_p(table.study, compared, differences)
    is_apart = all(p < alpha and sign * d.mean > 0 for d, p in zip(differences, p_holm, strict=True))
    if is_headline:
        involved = [r for r in table.rows if r.difference and top in (r.arm, r.baseline)]
        is_apart = is_apart and all(map(is_significant, involved))
    return top if is_apart else None


def _hint(name: str, known: dict[str, Column]) -> str:
    if name == "p":
        return " (p: p_raw or p_holm)"
    head, slash, level = name.partition("/")
    today = RENAMED.get(name) or RENAMED_BY_LEVEL.get(head, "") + slash + level
    return f" (did you mean '{today}'?)" if today in known else nearest(name, known)


def _paired(difference: PairedDifference | None) -> PairedDifference:
    """A difference of no seeds where there is none: a baseline's."""
    return difference or PairedDifference(math.nan, math.nan, math.nan, math.nan, 0)


def _of(row: ArmRow, field: str, key: str) -> float:
    """An entry of one of the row's dicts; nan where it has none."""
    return float(getattr(row, field).get(key, math.nan))


def _both(row: ArmRow, low: Callable[[ArmRow], float], high: Callable[[ArmRow], float]) -> str:
    """.0135/.0016: at the low and at the high bound."""
    if math.isnan(low(row)):
        return "-"
    return f"{fraction(low(row), 4)}/{fraction(high(row), 4)}"


def _either(row: ArmRow, low: Callable[[ArmRow], float], high: Callable[[ArmRow], float]) -> float:
    """Fraction of tokens at one of the two bounds: no token is at both."""
    return low(row) + high(row)


def _shown(
    name: str, title: str, text: Callable[[float], str], value: Callable[[ArmRow], float], block: str = ""
) -> Column:
    """A column of one number."""
    return Column(name, title, lambda row: text(value(row)), value, block)


def _seeds(row: ArmRow) -> str:
    return " ".join(map(str, row.seeds))


def _config_diff(row: ArmRow) -> str:
    return "; ".join(row.config_diff)
