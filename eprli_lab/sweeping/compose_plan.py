"""From Hydra's arguments to a plan."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import OmegaConf, open_dict

from eprli_lab.config.overrides import SEEDS, key_of
from eprli_lab.errors import UserError, shortened
from eprli_lab.sweeping.adhoc import with_arms
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
    node |= _study_sweeps([a for a in arguments if a.startswith("study.")])
    # `sweep=` stays in: what its file sets beside `study` is common to all arms
    of_config = [a for a in arguments if not a.startswith(("study.", "hydra.", "hydra/"))]
    named = [a for a in arguments if a.startswith("study.name=")]
    node, of_config, notes = _with_arms_of_values(node, arguments, of_config)
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
    return dataclasses.replace(plan, notes=(*notes, *plan.notes))


def _with_arms_of_values(
    node: dict[str, Any], arguments: list[str], words: list[str]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """(node, words that give one value, lines to print): without a sweep's arms, several values of a key are the arms.

    `words`: those of the config. With a sweep they stay words, which are the spaces of its search.
    """
    from eprli_lab.config.compose import parsed

    several = _texts("study.values", node.pop("values", None) or [])
    if node.get("arms"):
        return node, [*several, *words], []
    several += [str(o.input_line) for o in parsed(words) if o.is_sweep_override()]
    rest = [word for word in words if word not in several]
    sweep = next((w for w in rest if key_of(w) == "sweep" and not w.endswith(("=", "=null"))), None)
    if sweep is not None or not (several or any(key_of(a) == "study.seeds" for a in arguments)):
        return node, words, []
    node, line = with_arms(node, several, [*rest, *_texts("study.pinned", node.get("pinned"))])
    return node, rest, [line] if line else []


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
