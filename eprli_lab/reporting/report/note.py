"""What MLflow shows beside a study's parent run once there is a table: question, contrasts, figure, table."""

from __future__ import annotations

from urllib.parse import quote

from eprli_lab.escaping import markdown, markdown_paragraph
from eprli_lab.reporting.tables.arm import Comparison
from eprli_lab.reporting.tables.document import document
from eprli_lab.reporting.tables.printers.markdown import print_document
from eprli_lab.reporting.tables.verdicts import headline

LONGEST = 5000  # characters; MLflow refuses descriptions above 8,000
FOLDER = "report"  # of the parent's artifacts


def parent_note(table: Comparison, run_id: str, figure: str | None) -> str:
    """Markdown without ids of runs; where MLflow would refuse its length, what the table says in a sentence.

    `figure`: the file name of the effects figure among the run's artifacts; MLflow's page fetches it from there.
    """
    whole = print_document(document(table), runs=False)
    if len(whole) >= LONGEST:
        says = markdown_paragraph(headline(table))
        whole = (
            f"## {markdown(table.study.name)}\n\n{says} The table is too long for this place: see report/report.html.\n"
        )
    if figure is None:
        return whole
    address = f"get-artifact?path={quote(f'{FOLDER}/{figure}', safe='')}&run_uuid={quote(run_id)}"
    before, bar, table_and_rest = whole.partition("\n\n| ")  # what answers stands before the first table
    image = f"![the difference of each arm, with its interval]({address})"
    return f"{before.rstrip()}\n\n{image}" + (f"{bar}{table_and_rest}" if bar else "\n")
