"""`eprli-lab plan`: the seeds that a sweep needs, before it is run, and what they cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from eprli_lab.cli.command import Command
from eprli_lab.cli.words import ANY, Key, preset_names, sweep_names
from eprli_lab.errors import UserError, counted
from eprli_lab.escaping import shown

if TYPE_CHECKING:
    from eprli_lab.sweeping.prospect import Prospect

OWN = ("effect", "power", "from", "sd")
USAGE = "usage: eprli-lab plan SWEEP effect=0.05 [power=0.8] [from=STUDY | sd=0.04]; --help says more"
ABOUT = """How many seeds does a sweep need to find an effect, and what do they cost?

For every comparison that the sweep names: seeds for the power asked for, by itself and after Holm's correction, with
the uncertainty of a spread that few pilot seeds gave; the smallest effect that the planned seeds find; minutes on this
machine, or GPU-hours. The spread from seed to seed comes from past runs of the sweep, from another study (from=) or
from you (sd=). docs/power.md says what the numbers are. `--effect 0.05` may be written, too."""


def as_words(given: list[str]) -> list[str]:
    """`--effect 0.05` and `--effect=0.05` as `effect=0.05`. Raises UserError for another option."""
    words: list[str] = []
    rest = list(given)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            words.append(word)
            continue
        name, is_whole, value = word[2:].partition("=")
        if name not in (*OWN, "preset"):
            raise UserError(f"{word}: there is no such option; {USAGE}")
        if not is_whole and (not rest or rest[0].startswith("--")):
            raise UserError(
                f"{word}: its value is missing, for instance {word} {'0.05' if name == 'effect' else 'VALUE'}"
            )
        words.append(f"{name}={value if is_whole else rest.pop(0)}")
    return words


def _arguments(given: list[str]) -> tuple[str, dict[str, str], list[str]]:
    """(sweep, the command's own keys, overrides of the sweep). Raises UserError."""
    own: dict[str, str] = {}
    overrides: list[str] = []
    sweeps: list[str] = []
    for word in as_words(given):
        key, sign, value = word.partition("=")
        if not sign and not word.startswith("~"):
            sweeps.append(word)
        elif key == "sweep":
            sweeps.append(value)
        elif key in OWN:
            if key in own:
                raise UserError(f"{key}: given twice ({own[key]}, {value})")
            own[key] = value
        else:
            overrides.append(word)
    if len(sweeps) != 1:
        raise UserError(f"which sweep? {USAGE}" if not sweeps else f"{' '.join(sweeps)}: plan one sweep at a time")
    if "effect" not in own:
        raise UserError(
            "effect: give the smallest difference in the objective that would matter, for instance effect=0.05"
        )
    if "from" in own and "sd" in own:
        raise UserError(f"from={own['from']} and sd={own['sd']}: either past runs say how far seeds differ, or you do")
    return sweeps[0], own, overrides


def _number(key: str, text: str, above: float, below: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not above < value < below:
        limit = f"above {above:g}" + (f" and below {below:g}" if math.isfinite(below) else "")
        raise UserError(f"{key}={text}: a number {limit} is needed")
    return value


def _plan(words: list[str]) -> None:
    from eprli_lab.config.fields import checked_name
    from eprli_lab.sweeping.catalogue import planner
    from eprli_lab.sweeping.prospect import Question, prospect

    sweep, own, overrides = _arguments(words)
    effect = _number("effect", own["effect"], 0.0, math.inf)
    power = _number("power", own.get("power", "0.8"), 0.05, 1.0)
    sd = _number("sd", own["sd"], 0.0, math.inf) if "sd" in own else None
    pilot = checked_name("from", own["from"]) if "from" in own else None
    with planner() as plan_of:
        plan = plan_of(sweep, overrides)
    print(shown("\n".join(text(prospect(plan, Question(effect, power, sd, pilot))))))


def text(answer: Prospect) -> list[str]:
    """Lines for a terminal."""
    from eprli_lab.reporting.tables.numbers import fraction

    plan = answer.plan
    question = answer.question
    planned = len(plan.spec.seeds)
    lines = [
        f"{plan.study}: to find a difference of {fraction(question.effect)} in {plan.objectives[0].metric} with power "
        f"{fraction(question.power, 2)}",
        "(paired t test over common seeds, two-sided 5%; a verdict needs three)",
        f"spread from seed to seed: {answer.source}",
        *(f"note: {note}" for note in answer.notes),
        "",
        *_table(answer, planned),
        "",
        *_study(answer, planned),
        *_looks(answer),
    ]
    return lines


def _table(answer: Prospect, planned: int) -> list[str]:
    from eprli_lab.reporting.stats.power import seeds_text
    from eprli_lab.reporting.tables.numbers import fraction

    many = len(answer.comparisons)
    is_piloted = any(c.spread.pilot for c in answer.comparisons)
    head = ["comparison", "sd (pilot; 80% bound)" if is_piloted else "sd"]
    head += ["seeds alone", f"seeds, Holm over {many}"] if many > 1 else ["seeds"]
    head += [f"{planned} seeds detect", "their power"]
    rows = [head]
    for c in answer.comparisons:
        n = c.need
        mark = "*" if c.spread.borrowed else ""
        pilot = f" ({c.spread.pilot} seeds{mark}; {fraction(c.spread.upper)})" if c.spread.pilot else ""
        sizes = [(n.alone, n.sure_alone), (n.corrected, n.sure_corrected)][: 1 if many == 1 else 2]
        seeds = [seeds_text(a) + (f" (sure: {seeds_text(b)})" if c.spread.pilot else "") for a, b in sizes]
        detects = fraction(n.detectable_alone) + (f", Holm {fraction(n.detectable_corrected)}" if many > 1 else "")
        if planned < 3:
            detects = "no verdict"
        rows.append([c.name, fraction(c.spread.sd) + pilot, *seeds, detects, fraction(n.power, 2)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    if is_piloted:
        lines.append(
            "sure: where the spread is at the upper bound that four pilots of five stay below; seeds planned with the "
            "sd itself reach the power in about half of them"
        )
    if any(c.spread.borrowed for c in answer.comparisons):
        lines.append("*: it has no two common seeds yet: the spread of the others together")
    return lines


def _study(answer: Prospect, planned: int) -> list[str]:
    """The seeds of the whole study and their cost."""
    from eprli_lab.reporting.stats.power import MOST_SEEDS, seeds_text

    sizes = [("as planned", planned), (_all(answer), max(c.need.corrected for c in answer.comparisons))]
    if any(c.spread.pilot for c in answer.comparisons):
        sizes.append(("the same, sure", max(c.need.sure_corrected for c in answer.comparisons)))
    arms = len(answer.plan.arms)
    lines = []
    for what, seeds in sizes:
        if seeds >= MOST_SEEDS:
            lines.append(f"{what}: {seeds_text(seeds)} seeds: the effect is too small for its spread")
            continue
        price = f", about {answer.cost.text(seeds)}" if answer.cost else ""
        size = f"{counted(seeds, 'seed')} x {counted(arms, 'arm')} = {counted(seeds * arms, 'run')}"
        lines.append(f"{what}: {size}{price}")
    if answer.cost is None:
        return [*lines, "cost: not known for this model; past runs of every arm would say"]
    by = (
        "past runs of its arms (their loops; to start and to close a run takes seconds more)"
        if answer.cost.is_measured
        else "measured rates (eprli-lab sweeps), not by runs made here"
    )
    if answer.cost.gpus and not answer.cost.is_measured:
        by = "formulas (backend.dry_run=true), orders of magnitude"
    return [*lines, f"cost: by {by}" + ("" if answer.cost.gpus else f"; {answer.cost.workers} runs at a time")]


def _all(answer: Prospect) -> str:
    return "all comparisons, Holm" if len(answer.comparisons) > 1 else "for the power"


def _looks(answer: Prospect) -> list[str]:
    from eprli_lab.reporting.stats.planning import MOST_LOOKED_AT, shown_sizes
    from eprli_lab.reporting.tables.numbers import fraction

    spec = answer.plan.spec
    if answer.looked is None:
        return []
    planned = len(spec.seeds)
    by = ", ".join(fraction(share, 2) for share in answer.looked.stops)
    needs = f"{answer.looked_seeds} seeds" if answer.looked_seeds else f"more than {MOST_LOOKED_AT} seeds"
    return [
        "",
        f"looks after {shown_sizes(planned, spec.looks)} seeds ({spec.spending}), {answer.widest.name}: decided "
        f"by then with chance {by}; {answer.looked.seeds:.1f} of {planned} seeds on average; for the power it needs "
        f"{needs} with {spec.looks} looks (simulated)",
    ]


command = Command(
    "plan",
    _plan,
    ABOUT,
    usage="SWEEP effect=NUMBER [KEY=VALUE]...",
    keys=(
        Key("effect", "the smallest difference in the objective that would matter", example="0.05"),
        Key("power", "the chance to find it (default: 0.8)", example="0.9"),
        Key("from", "the study whose runs say how far seeds differ (default: the sweep's own)", example="STUDY"),
        Key("sd", "in place of past runs: standard deviation of the paired differences", example="0.04"),
        Key("preset", "the scale (default: default)", preset_names, "smoke"),
        ANY,
    ),
    examples=(
        ("levels effect=0.05", "from the runs of the sweep so far"),
        ("levels --effect 0.05 --sd 0.04", "before there are any"),
        ("levels effect=0.05 from=levels-smoke", "from a pilot at a smaller scale"),
        ("levels effect=0.05 sd=0.04 'study.seeds=range(0,9)' study.looks=3", "of a study that may stop early"),
    ),
    overrides=True,
    first=sweep_names,
)
