"""`eprli-lab status`: how far a study is, from any terminal."""

from __future__ import annotations

from eprli_lab.cli import options
from eprli_lab.cli.command import Command
from eprli_lab.cli.options import of_preset
from eprli_lab.cli.words import Key, parse, preset_names, sweep_names
from eprli_lab.errors import UserError
from eprli_lab.escaping import shown

KEYS = (
    Key("preset", "the preset that the sweep was started with (default: default)", preset_names, "smoke"),
    Key("study.storage", "where the study is kept (default: studies/NAME.journal)", example="URL"),
)
USAGE = "write: eprli-lab status NAME [preset=...] [study.storage=...]"


def _status(words: list[str]) -> None:
    from eprli_lab.importing.status import imported_status
    from eprli_lab.sweeping.status import status

    names = [word for word in words if "=" not in word]
    if len(names) != 1:
        raise UserError(USAGE)
    given = parse([word for word in words if "=" in word], [key.name for key in KEYS], USAGE)
    name = of_preset(names[0], given)
    try:
        text = status(name, given.get("study.storage"))
    except UserError:
        imported = imported_status(name, options.tracking({})) if "study.storage" not in given else None
        if imported is None:
            raise
        text = imported
    print(shown(text))


command = Command(
    "status",
    _status,
    "How far a study is: each arm and seed, the processes at work, what failed. It disturbs nobody.",
    usage="NAME [KEY=VALUE]...",
    keys=KEYS,
    examples=(
        ("levels", "the study of the sweep levels"),
        ("levels preset=smoke", "the one at the smallest scale"),
        ("levels study.storage=postgresql://USER@HOST/NAME", "one that several machines share"),
    ),
    first=sweep_names,
)
