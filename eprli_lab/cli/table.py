"""The ablation table: one row an arm, as text for a terminal, Markdown, LaTeX, CSV or HTML.

    python -m analysis.table sweep=levels [preset=smoke] (or study=NAME) [format=text|md|latex|csv|html]
        [columns=arm,n,score,difference,p,...] [baseline=ARM] [tracking.uri=URI]

A value is bold only when its interval tells it apart from every other arm's; every arm's run ids go along.
"""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.errors import UserError
from eprli_lab.reporting.load import load_study
from eprli_lab.reporting.tables.rows import ablation_table, wanted


def _command(arguments: Sequence[str]) -> None:
    from eprli_lab.cli import options
    from eprli_lab.reporting.tables.columns import DEFAULT, MACHINE, chosen
    from eprli_lab.reporting.tables.render import FORMATS, render

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
    from eprli_lab.cli.options import command

    return command(_command, arguments, __doc__)
