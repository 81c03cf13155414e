"""`eprli-lab check`: the three checks that readers of the paper ask for, each one command with its figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eprli_lab.cli import options
from eprli_lab.cli.command import Command
from eprli_lab.cli.words import Key, parse
from eprli_lab.errors import UserError, nearest
from eprli_lab.escaping import visible

KEYS = (
    *options.STUDY,
    Key("arms", "which arms, the first of them as baseline", example="l1,l2"),
    Key("out", "the directory to write (default: reports/check-CHECK)", example="DIR"),
    options.MARGIN,
    *options.TRACKING,
)
ABOUT = """The three checks that readers of the paper ask for.

\b
  levels    one level against two (study levels)
  sharing   one shared policy against one a level (study sharing)
  buffer    utilisation and reward variance across difficulty levels (study levels)

Each reads what its sweep logged (run it first: eprli-lab run -m sweep=levels), prints what was found, and writes
figures to reports/check-CHECK."""


def _checks() -> Sequence[str]:
    from eprli_lab.reporting.check import CHECKS

    return tuple(CHECKS)


def usage() -> str:
    return f"usage: eprli-lab check {{{','.join(_checks())}}} [preset=NAME] [study=NAME]; --help says more"


def _check(words: list[str]) -> None:
    from eprli_lab.reporting import figures
    from eprli_lab.reporting.check import CHECKS, compare, restricted, utilisation
    from eprli_lab.reporting.load import load_study

    check = words[0] if words else ""
    if check not in CHECKS:
        raise UserError(f"which check? {usage()}{nearest(check, CHECKS) if check else ''}")
    sweep, arms = CHECKS[check]
    given = parse(words[1:], [key.name for key in KEYS], usage())
    margin = options.margin(given["margin"]) if "margin" in given else None
    where = options.tracking(given)
    name = options.study_name(given if "study" in given else {"sweep": sweep} | given, usage())
    study = load_study(where.uri, where.experiment, name, figures.wanted)
    chosen = tuple(given["arms"].split(",")) if "arms" in given else arms
    study = restricted(study, chosen) if chosen else study
    lines = utilisation(study) if check == "buffer" else compare(study, margin)
    if not lines or not study.runs:
        raise UserError(f"study={name} has nothing to check: no finished run of two arms, or nothing was logged")
    print(visible("\n".join(lines)))
    out = Path(given.get("out", Path("reports") / f"check-{check}"))
    pictures = ("buffer", "reward_variance") if check == "buffer" else ("effects", "learning_curves", "forgetting")
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = [f for p in figures.pictures(study, only=pictures) for f in figures.write(p, out)]
    except OSError as error:
        raise UserError(f"out={out} cannot be written ({error.strerror}): give another directory") from None
    if files:
        print("figures: " + " ".join(map(str, files)))


command = Command(
    "check",
    _check,
    ABOUT,
    usage="CHECK [KEY=VALUE]...",
    keys=KEYS,
    examples=(
        ("levels", "one level against two"),
        ("sharing preset=smoke", "shared weights, at the smallest scale"),
        ("buffer study=mine arms=l1,l2 out=figures", "what the buffer keeps, of a study of another name"),
    ),
    first=_checks,
)
