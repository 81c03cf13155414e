"""The sweeps that there are, composed without running a Hydra application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eprli_lab.config.paths import SWEEPS_DIR
from eprli_lab.sweeping.plan import Plan


def names() -> list[str]:
    """Names of the sweeps of the package and of ./sweeps in the working directory, sorted."""
    user_directory = Path.cwd() / "sweeps"
    return sorted({p.stem for d in (SWEEPS_DIR, user_directory) if d.is_dir() for p in d.glob("*.yaml")})


@contextmanager
def planner() -> Iterator[Any]:
    """A function (sweep, overrides) -> Plan; all arms at the price of one start of Hydra."""
    from hydra import compose
    from omegaconf import open_dict

    from eprli_lab.config.compose import composing, hydra_session, spec_tree, study_node
    from eprli_lab.config.overrides import defer_level_overrides, expand_shortcuts
    from eprli_lab.sweeping.compose_plan import plan_from

    def config(overrides: list[str]) -> Any:
        with composing(overrides):
            return compose("config", overrides=overrides, return_hydra_config=True)

    def tree(overrides: list[str]) -> dict[str, Any]:
        composed = config(overrides)
        with open_dict(composed):
            del composed["hydra"]
        return spec_tree(composed)

    def plan(sweep: str, overrides: list[str]) -> Plan:
        arguments = defer_level_overrides(expand_shortcuts(["-m", f"sweep={sweep}", *overrides]))[1:]
        composed = config(arguments)
        return plan_from(tree, study_node(composed), str(composed.hydra.runtime.choices.get("preset")), arguments)

    with hydra_session():
        yield plan
