"""The report of a study, again, from what was logged: HTML, Markdown, tables, figures.

    python -m analysis.report sweep=levels [preset=smoke] [study=NAME] [baseline=ARM] [out=DIR] [tracking.uri=URI]
        [formats=png,svg,pdf] [margin=0.03]
    python -m analysis.report compare=levels,order [preset=smoke]

Reads the tracking store of the working directory unless told otherwise; writes to reports/<study>/ there: report.html
(one file, needs no network), report.md, table.txt, table.md, table.tex, table.csv, seeds.csv, and each figure. All of
it is attached to the study's parent run. `margin`: the smallest difference in the objective that matters, by default
0.03 (3% of its mean, for one that is no fraction).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eprli_lab.cli import options
from eprli_lab.errors import UserError
from eprli_lab.reporting.report.write import write_comparison, write_report
from eprli_lab.tracking.views import view_link

KEYS = (*options.COMMON, "out", "compare", "formats", "margin")
USAGE = "usage: python -m analysis.report sweep=NAME [preset=NAME] (or study=NAME) [baseline=ARM] [out=DIR]"
FORMATS = ("png", "svg", "pdf")


def _command(arguments: Sequence[str]) -> None:
    given = options.parse(arguments, KEYS, USAGE)
    tracking, baseline = options.tracking(given), given.get("baseline")
    if "compare" in given:
        idle = [k for k in ("sweep", "study", "formats", "margin") if k in given]
        if idle:
            raise UserError(f"{idle[0]}={given[idle[0]]} has no meaning beside compare=: leave it out")
        names = [options.of_preset(s, given) for s in given["compare"].split(",") if s]
        if len(set(names)) < 2:
            raise UserError(f"compare={given['compare']}: give two studies or more, as in compare=levels,order")
        out = Path(given.get("out", Path("reports") / f"compare-{'-'.join(names)}"))
        print(f"report: {write_comparison(tracking, list(dict.fromkeys(names)), out, baseline)}")
        return
    name = options.study_name(given, USAGE)
    formats = given.get("formats", "png").split(",")
    if set(formats) - set(FORMATS):
        raise UserError(f"formats={given['formats']}: there is {', '.join(FORMATS)}")
    out = Path(given.get("out", Path("reports") / name))
    margin = options.margin(given["margin"]) if "margin" in given else None
    print(write_report(tracking.uri, tracking.experiment, name, out, baseline, formats, margin))
    print(f"\nreport: {out / 'report.html'}\nruns: mlflow ui, then {view_link(tracking, name)}")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 with one sentence."""
    return options.command(_command, arguments, __doc__)
