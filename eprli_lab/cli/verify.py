"""`eprli-lab verify`: is a run, a checkpoint or a model what was written?"""

from __future__ import annotations

from pathlib import Path

import click

from eprli_lab.cli.command import Command
from eprli_lab.errors import UserError

USAGE = "usage: eprli-lab verify DIR ...; --help says more"


def _verify(words: list[str]) -> int:
    from eprli_lab.training.verify import verify

    unknown = next((w for w in words if w.startswith("-") and not Path(w).exists()), None)
    if unknown or not words:
        raise UserError(f"{unknown}: there is no such option; {USAGE}" if unknown else USAGE)
    verdicts = [verdict for word in words for verdict in verify(Path(word))]
    for verdict in verdicts:
        mark = click.style("DAMAGED", fg="red", bold=True) if verdict.fault else click.style("ok     ", fg="green")
        click.echo(f"{mark} {verdict.path}  {verdict.fault or verdict.measured}")
    damaged = sum(bool(verdict.fault) for verdict in verdicts)
    click.echo(
        f"{damaged} of {len(verdicts)} things are damaged" if damaged else f"all {len(verdicts)} things are good"
    )
    return 1 if damaged else 0


command = Command(
    "verify",
    _verify,
    """Is a run, a checkpoint or a model what was written?

Reads every file of the directories and compares it with the manifest that was written with it (size and SHA-256):
checkpoints, kept networks, tables, spec.json and run.json of a run; one checkpoint; a model that this package saved.
Nothing is changed. Exit code 0: all is good; 1: something is damaged; 2: there is no such thing.""",
    usage="DIR...",
    examples=(
        ("outputs/levels/l2/seed0", "one run"),
        ("outputs/levels/*/*", "a study's runs"),
        ("outputs/levels/l2/seed0/checkpoint-00000040/policy", "the policy of a checkpoint, or a copy of it"),
    ),
    files=True,
)
