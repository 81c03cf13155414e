"""`eprli-lab` alone: what this is, what to type next, and what is in this directory already."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import click

from eprli_lab import __version__
from eprli_lab.cli.command import PROGRAM
from eprli_lab.errors import shortened
from eprli_lab.escaping import shown
from eprli_lab.sweeping.found import FoundStudy, studies_here

WIDTH = 80  # columns that it fits in
MOST = 6  # studies that are listed
ABOUT = """Change one thing in a recipe for RL with verifiable rewards, run it over common
seeds at an equal budget, and read a table that says how much it mattered."""


def welcome() -> None:
    """Print it."""
    studies = studies_here()
    program = PROGRAM if shutil.which(PROGRAM) else "python -m eprli_lab"
    blocks = [f"EPRLI Lab {__version__}\n{ABOUT}", _next_steps(program)]
    blocks += [_here(studies, program)] if studies else []
    blocks.append(f"All commands: {program} --help")
    click.echo("\n\n".join(blocks))


def _next_steps(program: str) -> str:
    steps = [
        ("doctor", "does it work on this machine?"),
        ("run", "a first run: one policy, trained"),
        ("run -m sweep=smoke", "a first sweep: 2 arms x 2 seeds"),
    ]
    width = max(len(words) for words, _ in steps)
    return "Start here:\n" + "\n".join(f"  {program} {words:<{width}}  # {what}" for words, what in steps)


def _here(studies: list[FoundStudy], program: str) -> str:
    width = min(max(len(study.name) for study in studies[:MOST]), 36)
    lines = [f"In this directory ({shortened(str(Path.cwd()), WIDTH - 22)}):"]
    lines += [f"  {shortened(study.name, width):<{width}}  {_how_far(study)}" for study in studies[:MOST]]
    if len(studies) > MOST:
        lines.append(f"  and {len(studies) - MOST} more in studies/ and reports/")
    reports = [(page.stat().st_mtime, study.name) for study in studies if (page := study.report) is not None]
    if reports:
        when, name = max(reports)
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
        lines.append(f"Last report, of {made}: {program} open {name}")
    under_way = next((s for s in studies if s.kind and not s.is_over), None)
    if under_way is not None:
        lines.append(f"How far it is:  {program} status {under_way.name} --watch")
    return shown("\n".join(lines))


def _how_far(study: FoundStudy) -> str:
    unit = "trials" if study.kind == "search" else "runs"
    if not study.kind:
        far = "kept elsewhere"
    else:
        far = f"{study.complete} of {study.total} {unit}" if study.total else "begun"
    return far + (", report" if study.report is not None else ", no report yet")
