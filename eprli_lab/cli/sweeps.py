"""`eprli-lab sweeps`: what there is, what it asks and what it costs."""

from __future__ import annotations

from eprli_lab.cli.command import Command
from eprli_lab.cli.words import ANY, Key, check_overrides, preset_names, sweep_names
from eprli_lab.errors import UserError, counted, nearest

USAGE = "usage: eprli-lab sweeps [only=NAME] [preset=NAME] [KEY=VALUE ...]; how far a study is: eprli-lab status NAME"


def listing(words: list[str]) -> str:
    """One block a sweep, of those that `only=` names. Raises UserError when none composes with these overrides."""
    from eprli_lab.sweeping.catalogue import names, planner
    from eprli_lab.sweeping.cost import measured_rates, plan_cost

    overrides = [word for word in words if not word.startswith("only=")]
    asked = [name for word in words if word.startswith("only=") for name in word.removeprefix("only=").split(",")]
    for name in asked:
        if name not in names():
            raise UserError(f"only={name}: there is no such sweep{nearest(name, names())}")
    blocks = []
    errors = []
    for name in asked or names():
        try:
            with planner() as plan_of:
                plan = plan_of(name, overrides)
        except UserError as error:
            blocks.append(f"{name}: does not compose: {error}")
            errors.append(error)
            continue
        cost = plan_cost(plan)
        price = f"about {cost / 60:.1f} CPU-minutes" if cost is not None else "cost not measured for this model"
        runs = f"{counted(len(plan.arms), 'arm')} x {counted(len(plan.spec.seeds), 'seed')}"
        if plan.search is not None:
            runs += f", after a search of {plan.spec.trials} trials x {len(plan.search.seeds)} seeds"
        blocks.append(f"{name}: {plan.spec.question or ''}\n    {runs}; {price}\n    {', '.join(plan.arms)}")
    if (overrides or asked) and len(errors) == len(blocks):
        raise errors[0]
    text = "\n".join(blocks)
    if any("CPU-minutes" in block for block in blocks):
        text += f"\n\nCPU-minutes as measured on {measured_rates()['machine']}; one run takes one core."
    return text + _own_files()


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
        Key("only", "some of them, at once", sweep_names, "levels,order"),
        Key("preset", "their scale (default: default)", preset_names, "smoke"),
        ANY,
    ),
    examples=(
        ("", "every sweep"),
        ("only=levels", "one of them, in a second"),
        ("preset=smoke", "the same at another scale"),
        ("budget.amount=120000", "with twice the tokens"),
    ),
    overrides=True,
)
