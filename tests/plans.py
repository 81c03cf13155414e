"""Plans as the command line makes them."""

from __future__ import annotations

import functools
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.plugins import Plugins
from hydra.types import RunMode

from eprli_lab.config.overrides import defer_level_overrides, expand_shortcuts
from eprli_lab.config.paths import CONF_DIR
from eprli_lab.config.several import defer_values
from eprli_lab.sweeping.compose_plan import plan_from_hydra
from eprli_lab.sweeping.plan import Plan


def plan_of(*arguments: str) -> Plan:
    """The plan of `python -m eprli_lab.run -m <arguments>`; made once where the directory has no sweeps of its own."""
    return _plan_of(arguments) if Path("sweeps").exists() else _cached_plan_of(arguments)


def _plan_of(arguments: tuple[str, ...]) -> Plan:
    arguments = tuple(defer_level_overrides(defer_values(expand_shortcuts(["-m", *arguments])))[1:])
    Plugins.instance()
    loader = ConfigLoaderImpl(create_automatic_config_search_path(None, None, str(CONF_DIR)))
    config = loader.load_configuration("config", overrides=list(arguments), run_mode=RunMode.MULTIRUN)
    return plan_from_hydra(loader, config, list(arguments))


_cached_plan_of = functools.cache(_plan_of)


def own_sweep(directory: Path, arms: str, common: str = "", name: str = "mine") -> None:
    """A sweep file in a user's own `sweeps` folder; its baseline is arm a."""
    (directory / "sweeps").mkdir(exist_ok=True)
    head = "# @package _global_\ndefaults:\n  - override /hydra/sweeper: ablation\n"
    study = f"study:\n  name: {name}\n  baseline: a\n  arms:\n{arms}"
    (directory / "sweeps" / f"{name}.yaml").write_text(head + common + study)
