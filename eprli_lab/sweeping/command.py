"""`-m sweep=...`: from Hydra's arguments to a plan, a study, and its table."""

from __future__ import annotations

import sys
from typing import Any

from omegaconf import OmegaConf, open_dict

from eprli_lab.errors import UserError
from eprli_lab.sweeping.plan import Plan, build_plan


def sweep(loader: Any, config: Any, arguments: list[str]) -> int:
    """Run the study that `config.study` describes. Exits with 0, 1 (a run failed for good) or 130 (interrupted)."""
    from eprli_lab.run import check_study, finish_study, start_study
    from eprli_lab.sweeping.controller import run_study
    from eprli_lab.sweeping.study import Study

    plan = plan_from_hydra(loader, config, arguments)
    check_study(plan)
    study = Study(plan)  # before anything is logged: it may be refused
    parent = start_study(plan)
    for note in plan.notes:
        print(note)
    planned = {r.key for r in plan.runs}
    done = len(planned & study.complete().keys())
    already = f", {done} of them done before" if done else ""
    print(
        f"study {plan.study}: {len(plan.arms)} arms x {len(plan.node.seeds)} seeds = {len(plan.runs)} runs{already}",
        flush=True,
    )
    result = run_study(plan, study, executor="eprli_lab.run:execute", parent_run_id=parent)
    if result.interrupted:
        done = len(planned & result.complete.keys())
        print(f"interrupted with {done} of {len(planned)} runs complete: the same command resumes", file=sys.stderr)
        sys.exit(130)
    if planned & result.complete.keys():
        finish_study(plan, result)
    for (arm, seed), reason in result.failed.items():
        print(f"failed: {arm} seed {seed}: {reason}", file=sys.stderr)
    if result.failed:
        sys.exit(1)
    return 0


def plan_from_hydra(loader: Any, config: Any, arguments: list[str]) -> Plan:
    """The plan of a composed sweep config and the command line's other overrides. Raises UserError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from eprli_lab.run import explain, spec_tree

    for override in OverridesParser.create().parse_overrides(arguments):
        if override.is_sweep_override():
            raise UserError(
                f"{override.input_line}: this sweep has its own arms; give one value to pin it for every arm"
            )
        if override.key_or_group == "seed":
            raise UserError(f"{override.input_line}: the arms of a sweep share study.seeds; set study.seeds=[...]")
    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    assert isinstance(choices, dict)

    def compose(overrides: list[str]) -> dict[str, Any]:
        try:
            master = loader.load_configuration(
                config_name=config.hydra.job.config_name, overrides=overrides, run_mode=_run_mode()
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error)) from None
        with open_dict(master):
            del master["hydra"]
        return spec_tree(master)

    node: Any = OmegaConf.to_container(config.study, resolve=True)
    # `sweep=` stays in: what its file sets beside `study` is common to all arms
    own = [a for a in arguments if not a.startswith(("study.", "hydra.", "hydra/"))]
    named = [a for a in arguments if a.startswith("study.name=")]
    return build_plan(compose, node, str(choices.get("preset")), [*own, *node["pinned"], *named])


def _run_mode() -> Any:
    from hydra.types import RunMode

    return RunMode.RUN
