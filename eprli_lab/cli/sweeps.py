"""`eprli-lab sweeps`: what there is, what it asks and what it costs."""

from __future__ import annotations

from eprli_lab.cli.command import Command
from eprli_lab.cli.words import ANY, Key, check_overrides, preset_names
from eprli_lab.errors import UserError

USAGE = "usage: eprli-lab sweeps [preset=NAME] [KEY=VALUE ...]; how far a study is: eprli-lab status NAME"


def listing(overrides: list[str]) -> str:
    """One block a sweep. Raises UserError when none composes with these overrides."""
    from eprli_lab.sweeping.catalogue import names, planner
    from eprli_lab.sweeping.cost import measured_rates, plan_cost

    blocks = []
    errors = []
    for name in names():
        try:
            with planner() as plan_of:
                plan = plan_of(name, overrides)
        except UserError as error:
            blocks.append(f"{name}: does not compose: {error}")
            errors.append(error)
            continue
        cost = plan_cost(plan)
        price = f"about {cost / 60:.1f} CPU-minutes" if cost is not None else "cost not measured for this model"
        runs = f"{len(plan.arms)} arms x {len(plan.spec.seeds)} seeds"
        if plan.search is not None:
            runs += f", after a search of {plan.spec.trials} trials x {len(plan.search.seeds)} seeds"
        blocks.append(f"{name}: {plan.spec.question or ''}\n    {runs}; {price}\n    {', '.join(plan.arms)}")
    if overrides and len(errors) == len(blocks):
        raise errors[0]
    where = measured_rates()["machine"]
    return "\n".join(blocks) + f"\n\nCPU-minutes as measured on {where}; one run takes one core." + _own_files()


def _own_files() -> str:
    """What ./conf of the working directory adds, and what of it has a name that is taken; '' where there is none."""
    from eprli_lab.config.own import offered, shadowing

    words = [f"{group}={name}" for group, names in offered().items() for name in names]
    text = f"\nFrom ./conf: {', '.join(words)}" if words else ""
    taken = shadowing()
    return text + (f"\nNot usable, as the package has one of the name: {', '.join(taken)}" if taken else "")


def _sweeps(words: list[str]) -> None:
    check_overrides(words, USAGE)
    print(listing(words))


command = Command(
    "sweeps",
    _sweeps,
    "The sweeps that there are, those of ./sweeps too: each one's question, runs, cost and arms.",
    usage="[KEY=VALUE]...",
    keys=(
        Key("preset", "their scale (default: default)", preset_names, "smoke"),
        ANY,
    ),
    examples=(
        ("", "every sweep"),
        ("preset=smoke", "the same at another scale"),
        ("budget.amount=120000", "with twice the tokens"),
    ),
    overrides=True,
)
