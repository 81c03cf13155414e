"""`eprli-lab table`: the ablation table, one row an arm, for a terminal, Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

from collections.abc import Iterable

from eprli_lab.cli import options
from eprli_lab.cli.command import Command
from eprli_lab.cli.words import Key, parse
from eprli_lab.errors import UserError


def _columns() -> Iterable[str]:
    """Names that every study has; those of its suites are known when it is read."""
    from eprli_lab.reporting.tables.columns import MACHINE

    return [name for name in MACHINE if name.islower()]


def _formats() -> Iterable[str]:
    from eprli_lab.reporting.tables.render import PRINTERS

    return PRINTERS


KEYS = (
    *options.STUDY,
    options.BASELINE,
    Key("format", "text, md, latex, csv or html (default: text)", _formats, "md"),
    Key(
        "columns", "which, in this order; a wrong name is refused with the nearest", _columns, "arm,n,score,difference"
    ),
    *options.TRACKING,
)
USAGE = "usage: eprli-lab table sweep=NAME [format=md] [columns=arm,score,difference]; --help says more"
ABOUT = """The ablation table: one row an arm, as text for a terminal, Markdown, LaTeX, CSV or HTML.

A value is bold only when it is told apart from every other arm's, after correction; every arm's run ids go along."""


def _table(words: list[str]) -> None:
    from eprli_lab.reporting.load import load_study
    from eprli_lab.reporting.tables.columns import chosen
    from eprli_lab.reporting.tables.document import document
    from eprli_lab.reporting.tables.printers.text import print_document, terminal_columns
    from eprli_lab.reporting.tables.render import PRINTERS, render
    from eprli_lab.reporting.tables.rows import ablation_table, wanted

    given = parse(words, [key.name for key in KEYS], USAGE)
    form = given.get("format", "text")
    where = options.tracking(given)
    if form not in PRINTERS:
        raise UserError(f"format={form}: there is {', '.join(PRINTERS)}")
    study = load_study(where.uri, where.experiment, options.study_name(given, USAGE), wanted)
    table = ablation_table(study, given.get("baseline"))
    shown = chosen(table, given["columns"].split(",")) if "columns" in given else None
    text = print_document(document(table, shown), terminal_columns()) if form == "text" else render(table, shown, form)
    print(text.rstrip("\n"))


command = Command(
    "table",
    _table,
    ABOUT,
    usage="KEY=VALUE...",
    keys=KEYS,
    examples=(
        ("sweep=levels", "as text"),
        ("sweep=levels preset=smoke format=latex > table.tex", "for a paper, with booktabs"),
        ("study=mine columns=arm,n,score,difference format=md", "four columns, as Markdown"),
    ),
)
