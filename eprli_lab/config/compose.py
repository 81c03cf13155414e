"""The composed config without running a Hydra application: for the smaller commands and for tests."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eprli_lab.config.parse import parse_spec
from eprli_lab.config.paths import CONF_DIR
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError, nearest


@contextmanager
def hydra_session() -> Iterator[None]:
    """Hydra on this package's configuration; afterwards its global state is what it was, also of another application.

    Hydra's own context manager puts back a copy, and neither the job's name nor the version that it is to behave like.
    """
    instance, version, runtime = GlobalHydra.instance(), VersionBase.instance(), JobRuntime.instance()
    hydra, base, name = instance.hydra, version.version_base, runtime.get("name")
    instance.clear()
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            yield
    finally:
        GlobalHydra.set_instance(instance)
        instance.hydra, version.version_base = hydra, base
        runtime.set("name", name)


def compose_tree(overrides: list[str], leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Plain tree of the composed config, without what belongs to Hydra or a study. Raises UserError.

    `leave_out`: top-level keys that the caller has no use for; what is missing in them is not asked for.
    """
    try:
        with hydra_session():
            config = compose("config", overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(hydra_error_sentence(error, overrides)) from None
    for key in leave_out:
        config[key] = None
    return {k: v for k, v in spec_tree(config).items() if k not in leave_out}


def compose_spec(overrides: list[str]) -> RunSpec:
    """The validated spec of the composed config. Raises UserError."""
    return parse_spec(compose_tree(overrides))


def compose_data(overrides: list[str]) -> RunSpec:
    """The same for who looks at training data alone: no suites are needed, and no difficulty (UNMEASURED then)."""
    given = [word.partition("=")[0].lstrip("+") for word in overrides]
    unset = [] if "data.difficulty_file" in given else ["data.difficulty_file=null"]  # where a file says ???
    tree = compose_tree([*unset, *overrides], leave_out=("evaluation",))
    unused = {"generated": {"family": "mod10", "problems": 1}}  # nothing is evaluated
    tree["evaluation"] = {"suites": {"unused": unused}}
    data = tree.get("data", {})
    if data.get("difficulty_file") is None and data.get("difficulty_by", "label") == "label":
        data["difficulty_file"] = UNMEASURED
    return parse_spec(tree)


UNMEASURED = "to be measured"
NOT_OF_THE_RUN = ("study", "sweep", "hydra", "preset")


def spec_tree(cfg: DictConfig) -> dict[str, Any]:
    """The composed config as plain data, without what belongs to Hydra or to a study."""
    try:
        tree = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        if "data.generated.family" in str(error):
            raise UserError(
                "evaluation: the held-out suites need generated data, and this data is a file: name suites of your "
                "own, for instance evaluation=benchmarks"
            ) from None
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}: give it a value") from None
    assert isinstance(tree, dict)
    return {str(k): v for k, v in tree.items() if k not in NOT_OF_THE_RUN}


def hydra_error_sentence(error: Exception, overrides: Sequence[str] | None = None) -> str:
    """One sentence for Hydra's and OmegaConf's own errors, with the nearest name.

    `overrides`: what was composed; None: the command line.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name}: there is no such {group}{nearest(name, error.options or [])}"
    text = " ".join(str(error).split())
    found = re.match(r"Could not override '([^']+)'", text)
    if found:
        return f"{found[1]}: unknown key{_nearest_key(found[1], sys.argv[1:] if overrides is None else overrides)}"
    cause = (
        f" ({' '.join(str(error.__cause__).split())})" if error.__cause__ and str(error.__cause__) not in text else ""
    )
    return text + cause


def _nearest_key(path: str, overrides: Sequence[str]) -> str:
    """The nearest sibling of the first part of `path` that the composed default config does not know."""
    groups = r"(curriculum|model|data|evaluation|backend|tracking|preset|sweep)="
    chosen = [a for a in overrides if re.match(groups, a)]
    with hydra_session():
        try:
            node: Any = compose("config", overrides=chosen)
        except HydraException:
            node = compose("config")
    for part in path.split("."):
        if not isinstance(node, DictConfig):
            return ""
        if part not in node:
            return nearest(part, [str(k) for k in node])
        node = node._get_node(part)
    return ""
