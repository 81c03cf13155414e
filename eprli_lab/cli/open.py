"""`eprli-lab open`: the report of a study in the browser."""

from __future__ import annotations

import os
import sys
import webbrowser

from eprli_lab.cli.command import Command
from eprli_lab.cli.options import TRACKING, of_preset, tracking
from eprli_lab.cli.words import Key, parse, preset_names
from eprli_lab.errors import UserError, nearest
from eprli_lab.sweeping.found import REPORTS, page_of, studies_here, study_here

KEYS = (Key("preset", "the preset that it was run at (default: default)", preset_names, "smoke"), *TRACKING)
USAGE = "write: eprli-lab open NAME [preset=NAME]"
ABOUT = """The report of a study in the browser; its path where there is none.

Says where MLflow shows the study's runs too, if a server answers on this machine. It starts none."""


def _open(words: list[str]) -> None:
    from eprli_lab.config.fields import checked_name

    names = [word for word in words if "=" not in word]
    if len(names) != 1:
        raise UserError(USAGE)
    given = parse([word for word in words if "=" in word], [key.name for key in KEYS], USAGE)
    name = checked_name("open", of_preset(names[0], given))
    page = page_of(name)
    if page is None:
        raise UserError(_missing(name, given))
    shows = has_browser() and webbrowser.open(page.resolve().as_uri())
    print(f"report: {page.resolve()}{'' if shows else '   (no browser here: open this file)'}", flush=True)
    print(_runs(name, given))


def has_browser() -> bool:
    """Whether a window could open: a display, or a browser that the user named."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def _missing(name: str, given: dict[str, str]) -> str:
    """Why there is no report, and the command that makes one."""
    from eprli_lab.tracking.commands import tracking_command

    study = study_here(name)
    page = REPORTS / name / "report.html"
    again = tracking_command(["eprli-lab", "report", f"study={name}"], tracking(given))
    if study is None:
        known = [s.name for s in studies_here()]
        also = nearest(name, known) if known else ""
        return f"{page}: there is no such report here{also}; of a study that is logged, this makes it: {again}"
    far = f"{study.complete} of {study.total} {'trials' if study.kind == 'search' else 'runs'} are complete"
    return f"{page}: there is no report of {name} yet ({far}): the sweep writes one at its end, and now: {again}"


def _runs(name: str, given: dict[str, str]) -> str:
    """Where MLflow shows the runs, or what would."""
    from eprli_lab.tracking import served
    from eprli_lab.tracking.commands import ui_command

    where = tracking(given)
    page = where.uri.rstrip("/") if where.uri.startswith("http") else served.PAGE
    if served.answers(page):
        if served.holds(name, where.experiment, page):
            from eprli_lab.tracking.views import view_link

            return f"runs: {view_link(where, name)}"
        return f"runs: the MLflow server at {page} holds no study {name}"
    command = ui_command(where)
    return "runs: no MLflow server answers here" + (f"; this starts one: {command}" if command else "")


def _names() -> list[str]:
    return [study.name for study in studies_here() if study.report is not None]


command = Command(
    "open",
    _open,
    ABOUT,
    usage="NAME [KEY=VALUE]...",
    keys=KEYS,
    examples=(
        ("levels", "the report of the sweep levels"),
        ("levels preset=smoke", "of its smallest scale: the study levels-smoke"),
    ),
    first=_names,
)
