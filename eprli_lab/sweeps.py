"""The sweeps there are, and how far a study is.

python -m eprli_lab.sweeps                        every sweep: its question, runs, cost
python -m eprli_lab.sweeps preset=smoke           the same at another scale
python -m eprli_lab.sweeps status levels          how far the study `levels` is, from any terminal
python -m eprli_lab.sweeps status levels study.storage=postgresql://USER@HOST/NAME
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError
from eprli_lab.paths import ASSETS_DIR, CONF_DIR, SWEEPS_DIR
from eprli_lab.spec import RunSpec
from eprli_lab.sweeping.plan import Plan


def names() -> list[str]:
    """Sweeps of the package and of ./sweeps in the working directory."""
    own = Path.cwd() / "sweeps"
    return sorted({p.stem for d in (SWEEPS_DIR, own) if d.is_dir() for p in d.glob("*.yaml")})


@contextmanager
def planner() -> Iterator[Any]:
    """A function (sweep, overrides) -> Plan; all arms at the price of one start of Hydra."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    from eprli_lab.run import explain, lengthen, pin_levels, spec_tree
    from eprli_lab.sweeping.command import plan_from

    def config(overrides: list[str]) -> Any:
        try:
            return compose("config", overrides=overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error)) from None

    def tree(overrides: list[str]) -> dict[str, Any]:
        composed = config(overrides)
        with open_dict(composed):
            del composed["hydra"]
        return spec_tree(composed)

    def plan(sweep: str, overrides: list[str]) -> Plan:
        arguments = pin_levels(lengthen(["-m", f"sweep={sweep}", *overrides]))[1:]
        composed = config(arguments)
        node: Any = OmegaConf.to_container(composed.study, resolve=True)
        return plan_from(tree, node, str(composed.hydra.runtime.choices.get("preset")), arguments)

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield plan


@cache
def _measured() -> dict[str, Any]:
    """What `python benchmarks/throughput.py` measured."""
    found: dict[str, Any] = json.loads((ASSETS_DIR / "throughput.json").read_text())
    return found


def run_cost(spec: RunSpec) -> float | None:
    """CPU-seconds of one run on the machine that throughput.json was measured on; None for a model not measured."""
    rates = _measured()["models"].get(spec.model.name)
    if rates is None:
        return None
    tokens, levels = spec.budget.amount, spec.curriculum.levels.values()
    if spec.budget.unit == "updates":
        groups = sum(level.buffer_groups * level.group_size for level in levels) / len(levels)
        tokens = spec.budget.amount * groups * rates["response_tokens"]
    elif spec.budget.unit == "seconds":
        return spec.budget.amount
    passes = sum(level.inner_iterations for level in levels) / len(levels)
    evaluation = spec.evaluation
    sizes = [s.generated.problems if s.generated else 0 for s in evaluation.suites.values()]
    between = sum(min(n, evaluation.boundary_problems or n) for n in sizes)
    stages = max(evaluation.curve_points, len(levels) - 1)
    answers = evaluation.samples * (2 * sum(sizes) + stages * between)
    cost = (
        tokens * (rates["generate"] + passes * rates["train"]) + answers * rates["response_tokens"] * rates["generate"]
    )
    return float(rates["start"] + cost)


def plan_cost(plan: Plan) -> float | None:
    """CPU-seconds of a whole sweep, no trial pruned; None where a model was not measured."""
    by_key = {run.key: run for run in plan.runs}
    # what an arm that waits for another one takes from it is not known yet: it counts like that one
    counted = [by_key[run.after.arm, run.seed] if run.after else run for run in plan.runs]
    costs = [run_cost(run.spec) for run in counted]
    if plan.search is not None:
        one = run_cost(plan.searching().sample)
        trials = plan.node.trials * len(plan.search.seeds) + plan.search.spec.confirm * len(plan.node.seeds)
        costs += [one] * trials
    return None if any(c is None for c in costs) else sum(c for c in costs if c is not None)


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
        runs = f"{len(plan.arms)} arms x {len(plan.node.seeds)} seeds"
        if plan.search is not None:
            runs += f", after a search of {plan.node.trials} trials x {len(plan.search.seeds)} seeds"
        blocks.append(f"{name}: {plan.node.question or ''}\n    {runs}; {price}\n    {', '.join(plan.arms)}")
    where = _measured()["machine"]
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


if __name__ == "__main__":
    sys.exit(main())
