"""A study's beginning and end: its checks, its tracking parent, its table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import UserError
from eprli_lab.escaping import code_block, markdown_paragraph
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.store import close_dead_runs, prepare
from eprli_lab.training.preflight import (
    check_inputs,
    check_launch,
    check_logged,
    check_writable,
    foresee_launches,
    logged_names,
)

if TYPE_CHECKING:
    from eprli_lab.config.spec import RunSpec
    from eprli_lab.config.tracking import TrackingSpec
    from eprli_lab.sweeping.plan import Plan


def check_study(plan: Plan) -> list[str]:
    """Every arm's data is read before anything is started. Raises UserError.

    Lines to print: the first prompts of the first arm, then of every other arm what a reader must know of its own.
    """
    from eprli_lab.config.parse import parse_spec

    check_writable(Path.cwd())
    specs = [run.spec for run in plan.runs]
    specs += [parse_spec(tree) for tree in plan.search.bases.values()] if plan.search else []
    lines: list[str] = []
    known: set[str] = set()
    unlike = list({s.fingerprint(): s for s in (s.model_copy(update={"seed": 0}) for s in specs)}.values())
    for spec in unlike:
        with _said_of(spec):
            prompts = check_inputs(spec)
            for o in plan.objectives:
                check_logged("study.objectives", o.metric, spec)
            for e in plan.spec.expected:
                if e.metric is not None and e.arm in (None, spec.arm):
                    check_logged("study.expected", e.metric, spec)
        lines = lines or prompts.lines()
        lines += [f"warning: arm {spec.arm}: {note}" for note in prompts.notes() if known and note not in known]
        known |= {"", *prompts.notes()}
    foresee_launches(unlike)
    for spec in unlike:
        with _said_of(spec):
            check_launch(spec)
    return lines


@contextlib.contextmanager
def _said_of(spec: RunSpec) -> Iterator[None]:
    """What is refused names its arm."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{f'arm {spec.arm}' if spec.arm else 'study.search'}: {error}") from None


def start_study(plan: Plan, forced: list[str]) -> str:
    """Open the study's parent run, close what died; the parent's run id. `forced`: changes that were gone over."""
    where = plan.sample.tracking
    prepare(where)
    close_dead_runs(where)
    description = plan.description.model_copy(update={"forced": tuple(forced)})
    specs = {run.arm: run.spec for run in plan.runs}.values() or [plan.sample]
    expected = {name for spec in specs for name in logged_names(spec) if "{" not in name}
    return open_parent(where, plan.study, description, expected)


def finish_search(
    plan: Plan, trials: list[Any], winners: list[tuple[str, Any]], parent: str, early_end: str = ""
) -> str:
    """What a person wants to know of a search; the same goes to its tracking parent."""
    from eprli_lab.reporting.report.write import write_report
    from eprli_lab.sweeping.summary import summarise
    from eprli_lab.tracking.parent import parent_summary

    text, values = summarise(plan, trials, winners, early_end)
    if parent:
        out = Path("reports") / plan.study
        where = plan.sample.tracking
        write_report(where.uri, where.experiment, plan.study, out, parent_run_id=parent, with_figures=plan.spec.figures)
        lines = [markdown_paragraph(line) if line.strip() else "" for line in text.splitlines()]
        (out / "search.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        note = f"## {plan.study}\n\n{code_block(text)}"
        parent_summary(where, parent, values, artifacts=[out / "search.md"], note=note, end=True)
        text += "\n" + "\n".join(_report_lines(plan, where, out))
    return text


def finish_study(plan: Plan, parent: str = "", looks: str = "") -> None:
    """Print the table, write the report, and say where to look. `parent`: run id of the study's parent, where known.

    `looks`: those that were taken (Study.looks).
    """
    from eprli_lab.reporting.report.write import write_report
    from eprli_lab.reporting.tables.printers.text import terminal_columns
    from eprli_lab.tracking.commands import where_to_look
    from eprli_lab.tracking.description import LOOKS
    from eprli_lab.tracking.parent import tag_parent

    where = plan.runs[0].spec.tracking
    out = Path("reports") / plan.study
    parent_run_id = parent or None
    if looks and parent_run_id:
        tag_parent(where, parent_run_id, {LOOKS: looks})
    print(
        write_report(
            where.uri,
            where.experiment,
            plan.study,
            out,
            end=True,
            parent_run_id=parent_run_id,
            width=terminal_columns(),
            with_figures=plan.spec.figures,
        )
    )
    print("\n".join(["", *_report_lines(plan, where, out), *where_to_look(where, plan.study)]))


def _report_lines(plan: Plan, where: TrackingSpec, out: Path) -> list[str]:
    """Where the report is, and how it is drawn again."""
    from eprli_lab.tracking.commands import open_command, tracking_command

    again = tracking_command(["eprli-lab", "report", f"study={plan.study}"], where)
    how = "again" if plan.spec.figures else "with figures (study.figures=false left them out)"
    return [f"report: {out}/   open it: {open_command(where, plan.study)}", f"{how}: {again}"]
