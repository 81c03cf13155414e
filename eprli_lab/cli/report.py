"""`eprli-lab report`: the report of a study, again, from what was logged."""

from __future__ import annotations

from pathlib import Path

from eprli_lab.cli import options
from eprli_lab.cli.command import Command
from eprli_lab.cli.words import Key, parse, sweep_names
from eprli_lab.errors import UserError

FORMATS = ("png", "svg", "pdf", "csv")
KEYS = (
    *options.STUDY,
    options.BASELINE,
    Key("compare", "two studies or more, on one page", sweep_names, "levels,order"),
    Key("out", "the directory to write (default: reports/STUDY)", example="DIR"),
    Key("formats", f"of the figures, csv their data: {', '.join(FORMATS)} (default: png)", lambda: FORMATS, "png,pdf"),
    options.MARGIN,
    *options.TRACKING,
)
LONGEST_FOLDER = 200  # characters of its name; file systems take 255 bytes
USAGE = "usage: eprli-lab report sweep=NAME [preset=NAME] (or study=NAME) [baseline=ARM] [out=DIR]"
ABOUT = """The report of a study, again, from what was logged: HTML, Markdown, tables, figures.

Reads the tracking store of the working directory unless told otherwise; writes to reports/STUDY there: report.html
(one file, needs no network), report.md, table.txt, table.md, table.tex, table.csv, seeds.csv, and each figure. All of
it is attached to the study's parent run."""


def _report(words: list[str]) -> None:
    from eprli_lab.reporting.report.write import write_report
    from eprli_lab.reporting.tables.printers.text import terminal_columns
    from eprli_lab.tracking.commands import open_command, where_to_look

    given = parse(words, [key.name for key in KEYS], USAGE)
    tracking = options.tracking(given)
    if "compare" in given:
        _compare(given)
        return
    name = options.study_name(given, USAGE)
    formats = given.get("formats", "png").split(",")
    if set(formats) - set(FORMATS):
        raise UserError(f"formats={given['formats']}: there is {', '.join(FORMATS)}")
    out = Path(given.get("out", Path("reports") / name))
    margin = options.margin(given["margin"]) if "margin" in given else None
    columns = terminal_columns()
    where, baseline = (tracking.uri, tracking.experiment), given.get("baseline")
    print(write_report(*where, name, out, baseline, formats, margin, width=columns))
    how = "" if "out" in given else f"   open it: {open_command(tracking, name)}"
    print("\n".join([f"\nreport: {out / 'report.html'}{how}", *where_to_look(tracking, name)]))


def _compare(given: dict[str, str]) -> None:
    """Several studies on one page."""
    from eprli_lab.reporting.report.write import write_comparison

    idle = [k for k in ("sweep", "study", "formats", "margin") if k in given]
    if idle:
        raise UserError(f"{idle[0]}={given[idle[0]]} has no meaning beside compare=: leave it out")
    studies = [options.of_preset(s, given) for s in given["compare"].split(",") if s]
    names = [options.study_name({"study": name}, USAGE) for name in studies]
    if len(set(names)) < 2:
        raise UserError(f"compare={given['compare']}: give two studies or more, as in compare=levels,order")
    folder = f"compare-{'-'.join(names)}"
    if len(folder) > LONGEST_FOLDER and "out" not in given:
        raise UserError(f"compare={given['compare'][:40]}...: these names are too long for a folder: give out=DIR")
    out = Path(given.get("out", Path("reports") / folder))
    page = write_comparison(options.tracking(given), list(dict.fromkeys(names)), out, given.get("baseline"))
    print(f"report: {page}")


command = Command(
    "report",
    _report,
    ABOUT,
    usage="KEY=VALUE...",
    keys=KEYS,
    examples=(
        ("sweep=levels", "the report of the sweep levels"),
        ("sweep=levels preset=smoke baseline=l1 margin=0.05", "of its smallest scale, against one level"),
        ("study=mine formats=png,pdf out=paper", "figures for a paper"),
        ("compare=levels,order", "two studies on one page"),
    ),
)
