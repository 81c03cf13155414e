"""The composed config without running a Hydra application: for the smaller commands and for tests."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from eprli_lab.errors import UserError
from eprli_lab.paths import CONF_DIR
from eprli_lab.run import explain, spec_tree
from eprli_lab.spec import RunSpec, parse_spec


def compose_tree(overrides: list[str], leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Plain tree of the composed config, without what belongs to Hydra or a study. Raises UserError.

    `leave_out`: top-level keys that the caller has no use for; what is missing in them is not asked for.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = compose("config", overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from None
    for key in leave_out:
        config[key] = None
    return {k: v for k, v in spec_tree(config).items() if k not in leave_out}


def compose_spec(overrides: list[str]) -> RunSpec:
    """The validated spec of the composed config. Raises UserError."""
    return parse_spec(compose_tree(overrides))
