"""The sweeps there are, and how far a study is.

python -m eprli_lab.sweeps                        every sweep: its question, runs, cost
python -m eprli_lab.sweeps preset=smoke           the same at another scale
python -m eprli_lab.sweeps status levels          how far the study `levels` is, from any terminal
python -m eprli_lab.sweeps status levels study.storage=postgresql://USER@HOST/NAME
"""

from __future__ import annotations

import sys

from eprli_lab.errors import UserError
from eprli_lab.sweeping.catalogue import names, planner
from eprli_lab.sweeping.cost import measured_rates, plan_cost


def listing(overrides: list[str]) -> str:
    """One block a sweep."""
    blocks = []
    for name in names():
        try:
            with planner() as plan_of:
                plan = plan_of(name, overrides)
        except UserError as error:
            blocks.append(f"{name}: does not compose: {error}")
            continue
        cost = plan_cost(plan)
        price = f"about {cost / 60:.1f} CPU-minutes" if cost is not None else "cost not measured for this model"
        runs = f"{len(plan.arms)} arms x {len(plan.spec.seeds)} seeds"
        if plan.search is not None:
            runs += f", after a search of {plan.spec.trials} trials x {len(plan.search.seeds)} seeds"
        blocks.append(f"{name}: {plan.spec.question or ''}\n    {runs}; {price}\n    {', '.join(plan.arms)}")
    where = measured_rates()["machine"]
    return "\n".join(blocks) + f"\n\nCPU-minutes as measured on {where}; one run takes one core."


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 for the user's mistake."""
    given = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(given):
        print(__doc__)
        return 0
    try:
        if given[:1] == ["status"]:
            from eprli_lab.sweeping.status import status

            wanted = [a for a in given[1:] if "=" not in a]
            options = dict(a.split("=", 1) for a in given[1:] if "=" in a)
            unknown = set(options) - {"study.storage", "preset"}
            if len(wanted) != 1 or unknown:
                raise UserError("write: python -m eprli_lab.sweeps status NAME [preset=...] [study.storage=...]")
            preset = options.get("preset", "default")
            name = wanted[0] if preset == "default" else f"{wanted[0]}-{preset}"
            print(status(name, options.get("study.storage")))
        else:
            print(listing(given))
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        return 2
    return 0
