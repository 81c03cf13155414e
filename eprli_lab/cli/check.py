"""The three checks that readers of the paper ask for, each one command with its figure.

    python -m analysis.check levels     # one level against two (study levels)
    python -m analysis.check sharing    # one shared policy against one a level (study sharing)
    python -m analysis.check buffer     # utilisation and reward variance across difficulty levels (study levels)

    [preset=smoke] [study=NAME] [arms=l1,l2] [out=DIR] [margin=0.03] [tracking.uri=URI]

Each reads what its sweep logged (run it first: python -m eprli_lab.run -m sweep=levels), prints what was found, and
writes figures to reports/check-<check>/.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eprli_lab.cli import options
from eprli_lab.errors import UserError, nearest
from eprli_lab.reporting.check import CHECKS, compare, restricted, utilisation
from eprli_lab.reporting.load import load_study

USAGE = f"usage: python -m analysis.check {{{','.join(CHECKS)}}} [preset=NAME] [study=NAME]; --help says more"
KEYS = (*(k for k in options.COMMON if k != "baseline"), "arms", "out", "margin")


def _command(arguments: Sequence[str]) -> None:
    from eprli_lab.reporting import figures

    check = arguments[0] if arguments else ""
    if check not in CHECKS:
        raise UserError(f"which check? {USAGE}{nearest(check, CHECKS) if check else ''}")
    given = options.parse(arguments[1:], KEYS, USAGE)
    margin = options.margin(given["margin"]) if "margin" in given else None
    sweep, arms = CHECKS[check]
    where = options.tracking(given)
    name = options.study_name(given if "study" in given else {"sweep": sweep} | given, USAGE)
    study = load_study(where.uri, where.experiment, name, figures.wanted)
    chosen = tuple(given["arms"].split(",")) if "arms" in given else arms
    study = restricted(study, chosen) if chosen else study
    lines = utilisation(study) if check == "buffer" else compare(study, margin)
    if not lines or not study.runs:
        raise UserError(f"study={name} has nothing to check: no finished run of two arms, or nothing was logged")
    print("\n".join(lines))
    out = Path(given.get("out", Path("reports") / f"check-{check}"))
    wanted = ("buffer", "reward_variance") if check == "buffer" else ("effects", "learning_curves", "forgetting")
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = [f for p in figures.pictures(study, only=wanted) for f in figures.write(p, out)]
    except OSError as error:
        raise UserError(f"out={out} cannot be written ({error.strerror}): give another directory") from None
    if files:
        print("figures: " + " ".join(map(str, files)))


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 with one sentence."""
    return options.command(_command, arguments, __doc__)
