"""`eprli-lab upload`: runs that were spooled while their tracking server could not be reached, sent now."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from eprli_lab.cli.command import Command
from eprli_lab.cli.options import TRACKING
from eprli_lab.cli.words import parse
from eprli_lab.errors import UserError

KEYS = TRACKING[:1]
USAGE = "usage: eprli-lab upload RUN_DIR ... [tracking.uri=URI]"


def _upload(words: list[str]) -> None:
    from eprli_lab.tracking.upload import upload

    directories = [word for word in words if not _is_key(word)]
    given = parse([word for word in words if _is_key(word)], [key.name for key in KEYS], USAGE)
    if not directories:
        raise UserError(USAGE)
    refused: list[UserError] = []
    for directory in dict.fromkeys(directories):
        try:
            run_id, sent = upload(Path(directory), given.get("tracking.uri"))
        except UserError as error:  # the others are sent all the same
            refused.append(error)
            continue
        print(f"{directory}: {sent} points sent to run {run_id}")
    for other in refused[1:]:
        print(f"eprli_lab: {other}", file=sys.stderr)
    if refused:
        raise refused[0]


def _is_key(word: str) -> bool:
    """A directory may have a `=` in its name."""
    return "=" in word and not os.path.exists(word)  # Path's raises for a name too long


command = Command(
    "upload",
    _upload,
    """Runs that were spooled while their tracking server could not be reached, sent now.

A run that is stored already is not sent again.""",
    usage="RUN_DIR... [KEY=VALUE]",
    keys=KEYS,
    examples=(
        ("outputs/levels/l2/seed0", "one run"),
        ("outputs/levels/*/* tracking.uri=http://127.0.0.1:5000", "a study's runs, to another server"),
    ),
    files=True,
)
