"""`eprli-lab data`: what a run would read of its training data, before there is a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eprli_lab.cli.command import Command
from eprli_lab.cli.words import ANY, split
from eprli_lab.errors import UserError
from eprli_lab.escaping import visible
from eprli_lab.masking import mask

if TYPE_CHECKING:
    from eprli_lab.training.data_report import DataReport

ABOUT = """What would be loaded of training data: columns, problems, strata, prompts.

PATH is a file, a folder or a pattern of files, read as data=jsonl says; data=NAME reads it as NAME says, and without
PATH what NAME itself names. With model=... prompts are those of its tokenizer and template. The exit code is 1 where
a run would be refused."""
WITH_MODEL = ("model", "experiment", "+experiment")  # groups that name a policy
WIDTH = 12


def _data(words: list[str]) -> int:
    from eprli_lab.config.compose import compose_data
    from eprli_lab.training.data_report import data_report

    paths = [w for w in words if "=" not in w and not w.startswith(("~", "-"))]
    if len(paths) > 1:
        raise UserError(
            f"{paths[1]}: one PATH is enough, and {paths[0]} is one: give a folder or a pattern for several"
        )
    _, overrides = split([w for w in words if w not in paths], ())
    keys = [w.partition("=")[0] for w in overrides]
    if paths:
        quoted = paths[0].replace("\\", "\\\\").replace("'", "\\'")
        overrides = [*([] if "data" in keys else ["data=jsonl"]), *overrides, f"data.source.path='{quoted}'"]
    with_model = any(key.partition(".")[0] in WITH_MODEL for key in keys)
    spec = compose_data(overrides)
    report = data_report(spec, with_model=with_model or spec.data.source is None)
    for line in lines(report):
        click.echo(line)
    return 1 if report.faults else 0


def lines(report: DataReport) -> list[str]:
    """The record as a table: what, and what was found."""
    rows: list[tuple[str, str]] = [("source", mask(report.source))]
    rows += [("rows", f"{report.rows}")] if report.rows is not None else []
    rows.append(("problems", f"{report.problems}"))
    rows += [
        ("left out", f"{count} {reason} ({place}{', ...' if count > 1 else ''})")
        for reason, count, place in report.left_out
    ]
    rows += [("repeated", f"{report.repeated} rows, with the same answers")] if report.repeated else []
    wide = max((len(name) for name, _ in report.columns), default=0)
    rows += [
        ("columns" if not i else "", f"{name:<{wide}}  {used or '-'}") for i, (name, used) in enumerate(report.columns)
    ]
    known = report.difficulty
    span = f"{known[0]:.3g} to {known[2]:.3g}, median {known[1]:.3g}, from " if known else ""
    rows.append(("difficulty", span + report.difficulty_from))
    rows += [
        ("strata" if not i else "", f"{name:<4} {bounds:<16} {count:>7}")
        for i, (name, bounds, count) in enumerate(report.strata)
    ]
    asked = "; ".join(f"{count} prompts ask for {words or 'none'}" for words, count in report.asked)
    rows.append(("format", f"read: {report.format}; {asked}"))
    length, unit, problem = report.longest
    rows.append(("longest", f"{length} {unit}, problem {problem}"))
    rows.append(("first", f"answer {' | '.join(report.first_answers)}"))
    rows += [("", f"| {line}") for line in report.first.splitlines()]
    rows += [("note", note) for note in report.notes]
    return [f"{what:<{WIDTH}}{visible(found)}" for what, found in rows] + [
        click.style(f"{'REFUSED':<{WIDTH}}", fg="red", bold=True) + visible(fault) for fault in report.faults
    ]


command = Command(
    "data",
    _data,
    ABOUT,
    usage="[PATH] [KEY=VALUE]...",
    keys=(ANY,),
    examples=(
        ("problems.jsonl data.source.columns.id=null", "a file of your own"),
        ("data=verl_gsm8k", "what a configuration names"),
        ("train.parquet data=verl_math model=path model.path=DIR", "prompts as a model has them"),
    ),
    overrides=True,
    files=True,
)
