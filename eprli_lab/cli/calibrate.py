"""`eprli-lab calibrate`: the controls, and the certificate of this instrument."""

from __future__ import annotations

from pathlib import Path

from eprli_lab.cli.command import Command
from eprli_lab.cli.options import of_preset
from eprli_lab.cli.words import ANY, Key, check_overrides, preset_names, split

USAGE = "usage: eprli-lab calibrate [preset=NAME] [only=NAME,...]"
ABOUT = """What does this instrument find? All controls at a preset, and their certificate.

A control is a sweep whose answer is known before it runs:

\b
  control_ladder        a task that a curriculum must win
  control_interference  two conventions that one network cannot keep
  control_hints         a hard rung that needs hints
  control_limits        a response limit that must cost accuracy
  aa                    the same config twice

The certificate says which were passed, and the smallest effect that would be seen; reports of studies on the same task
cite it. It is written to reports/certificate/, beside the report of each control. The same command goes on where it
was stopped. Exit code 1 when a control failed."""


def _calibrate(words: list[str]) -> int:
    from eprli_lab.reporting.certificate import certificate_text, write_certificate
    from eprli_lab.sweeping.calibrate import calibrate

    given, overrides = split(words, ("preset", "only"))
    check_overrides(overrides, USAGE)
    preset = given.get("preset", "default")
    only = given["only"].split(",") if "only" in given else None
    done = calibrate(overrides, preset, only)
    if done.interrupted:
        raise KeyboardInterrupt
    path = write_certificate(done.records, preset, Path("reports") / of_preset("certificate", given))
    print(f"\n{certificate_text(done.records, preset)}\ncertificate: {path}")
    return 1 if done.failed_runs or any(r.verdict == "failed" for r in done.records) else 0


def _controls() -> tuple[str, ...]:
    from eprli_lab.sweeping.calibrate import CONTROLS

    return CONTROLS


command = Command(
    "calibrate",
    _calibrate,
    ABOUT,
    usage="[KEY=VALUE]...",
    keys=(
        Key("preset", "the scale (default: default, four seeds)", preset_names, "smoke"),
        Key("only", "some of the controls", _controls, "aa,control_ladder"),
        ANY,
    ),
    examples=(
        ("", "all of them"),
        ("only=control_ladder", "the ladder alone"),
        ("preset=smoke", "does the way through them work? Two seeds judge nothing"),
    ),
    overrides=True,
    sentences={"interrupted": "interrupted; the same command goes on"},
)
