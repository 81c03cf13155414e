"""From Hydra's arguments to a plan."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf, open_dict

from eprli_lab.config.overrides import SEEDS
from eprli_lab.errors import UserError, shortened
from eprli_lab.sweeping.comparable import key_of
from eprli_lab.sweeping.plan import Plan, build_plan
from eprli_lab.sweeping.search import Compose


def plan_from_hydra(loader: Any, config: Any, arguments: list[str]) -> Plan:
    """The plan of a composed sweep config and the command line's other overrides. Raises UserError."""
    from eprli_lab.config.compose import composing, spec_tree, study_node

    def compose(overrides: list[str]) -> dict[str, Any]:
        with composing():
            master = loader.load_configuration(
                config_name=config.hydra.job.config_name, overrides=overrides, run_mode=_run_mode()
            )
        with open_dict(master):
            del master["hydra"]
        return spec_tree(master)

    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    assert isinstance(choices, dict)
    return plan_from(compose, study_node(config), str(choices.get("preset")), arguments)


def plan_from(compose: Compose, node: dict[str, Any], preset: str, arguments: list[str]) -> Plan:
    """The plan of a `study` node and the command line's overrides, in Hydra's grammar. Raises UserError."""
    from eprli_lab.config.compose import parsed

    node = {k: v for k, v in node.items() if k not in ("job", "home")}
    _refuse_values_without_sweep(node, arguments)
    node |= _study_sweeps([a for a in arguments if a.startswith("study.")])
    # `sweep=` stays in: what its file sets beside `study` is common to all arms
    of_config = [a for a in arguments if not a.startswith(("study.", "hydra.", "hydra/"))]
    named = [a for a in arguments if a.startswith("study.name=")]
    values: list[str] = []
    spaces: dict[str, str] = {}
    for override in parsed([*of_config, *_texts("study.pinned", node.get("pinned"))]):
        line = str(override.input_line)
        if override.key_or_group == "seed":
            raise UserError(f"{line}: the arms of a sweep share study.seeds; set study.seeds=[...]")
        if override.is_sweep_override():
            spaces[str(override.key_or_group)] = line.partition("=")[2]
        else:
            values.append(line)
    plan = build_plan(compose, node, preset, [*values, *named], spaces)
    if plan.search is None:
        _refuse_words_of_a_search(arguments)
    return plan


def _refuse_values_without_sweep(node: dict[str, Any], arguments: list[str]) -> None:
    """Raises UserError for `-m seed=0,1` without a sweep: who writes several values of a key means arms, or seeds."""
    from eprli_lab.config.compose import parsed

    if node.get("arms"):
        return
    several = next((o for o in parsed(arguments) if o.is_sweep_override()), None)
    if several is None:
        return
    key, _, text = str(several.input_line).partition("=")
    advice = f"write {key}={text.split(',')[0]} and the others as arms into a file (arms: overrides: [{key}=...])"
    if key == "seed":
        advice = f"name a sweep and write study.seeds=[{text}]"
    raise UserError(
        f"{several.input_line}: several values of a key need a sweep that names its arms: {advice}: docs/sweeps.md"
    )


def _refuse_words_of_a_search(arguments: list[str]) -> None:
    """Raises UserError for trials and seeds of a search in a sweep that has none: they would change nothing."""
    word = next((a for a in arguments if key_of(a) in ("study.trials", "study.search_seeds")), None)
    if word is not None:
        raise UserError(f"{word}: this sweep has its own arms and no search, so it would change nothing: leave it out")


def _study_sweeps(arguments: list[str]) -> dict[str, Any]:
    """Seeds that are written as Hydra writes several values, which it does not hand on; {} of all else.

    Raises UserError for several values of another key of the study.
    """
    from eprli_lab.config.compose import parsed

    seeds: dict[str, Any] = {}
    for override in parsed(arguments):
        if override.is_sweep_override():
            key, _, text = str(override.input_line).partition("=")
            if key not in SEEDS:
                raise UserError(f"{override.input_line}: a study has one value of it; a list is written {key}=[...]")
            seeds[key.removeprefix("study.")] = text
    return seeds


def _texts(where: str, value: Any) -> list[str]:
    """A list of texts. Raises UserError for anything else."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise UserError(f"{where}: {shortened(repr(value))} is no list of overrides: write [KEY=VALUE, ...]")
    return value


def _run_mode() -> Any:
    from hydra.types import RunMode

    return RunMode.RUN
