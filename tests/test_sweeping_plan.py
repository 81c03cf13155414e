"""From the command line to a plan, through Hydra and the package's own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.plugins import Plugins
from hydra.types import RunMode

from eprli_lab.errors import UserError
from eprli_lab.paths import CONF_DIR
from eprli_lab.run import pin_levels
from eprli_lab.sweeping.command import plan_from_hydra
from eprli_lab.sweeping.plan import Plan


def plan_of(*arguments: str) -> Plan:
    """The plan of `python -m eprli_lab.run -m <arguments>`."""
    arguments = tuple(pin_levels(["-m", *arguments])[1:])
    Plugins.instance()
    loader = ConfigLoaderImpl(create_automatic_config_search_path(None, None, str(CONF_DIR)))
    config = loader.load_configuration("config", overrides=list(arguments), run_mode=RunMode.MULTIRUN)
    return plan_from_hydra(loader, config, list(arguments))


def own_sweep(directory: Path, arms: str, common: str = "", name: str = "mine") -> None:
    """A sweep file in a user's own `sweeps` folder; its baseline is arm a."""
    (directory / "sweeps").mkdir(exist_ok=True)
    head = "# @package _global_\ndefaults:\n  - override /hydra/sweeper: ablation\n"
    study = f"study:\n  name: {name}\n  baseline: a\n  arms:\n{arms}"
    (directory / "sweeps" / f"{name}.yaml").write_text(head + common + study)


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        plan_of(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_levels_sweep() -> None:
    plan = plan_of("sweep=levels")
    assert plan.study == "levels" and plan.baseline == "l1"
    assert len(plan.runs) == 5 * 4 and plan.node.seeds == [0, 1, 2, 3]
    levels = {r.arm: list(r.spec.curriculum.levels) for r in plan.runs}
    assert levels == {
        "l4": ["l1", "l2", "l3", "l4"],
        "l3": ["l1", "l2", "l3"],
        "l2": ["l1", "l2"],
        "l1": ["l1"],
        "l1_matched": ["l1"],
    }
    assert {r.arm: r.spec.budget.unit for r in plan.runs} == dict.fromkeys(levels, "tokens") | {"l1_matched": "updates"}
    # every level of every arm is reachable from the command line, also those that the default curriculum lacks
    clip = plan_of("sweep=levels", "curriculum.levels.l4.clip.high=0.2718")
    assert [r.spec.curriculum.levels["l4"].clip.high for r in clip.runs if r.arm == "l4"] == [0.2718] * 4
    assert len(clip.notes) == 4


def test_names_and_seeds_from_the_command_line() -> None:
    assert plan_of("sweep=levels", "preset=smoke").study == "levels-smoke"
    plan = plan_of("sweep=levels", "preset=smoke", "study.name=mine", "study.seeds=[7]", "study.only=[l2]")
    assert [(plan.study, r.key) for r in plan.runs] == [("mine", ("l1", 7)), ("mine", ("l2", 7))]


def test_values_common_to_all_arms_of_a_sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = "    a: {}\n    b: {overrides: [optim.weight_decay=0.5]}\n"
    own_sweep(tmp_path, arms, "optim:\n  learning_rate: 0.25\n  weight_decay: 0.125\n")
    monkeypatch.chdir(tmp_path)
    optim = [(r.spec.optim.learning_rate, r.spec.optim.weight_decay) for r in plan_of("sweep=mine").runs[:2]]
    assert optim == [(0.25, 0.125), (0.25, 0.5)]
    pinned = plan_of("sweep=mine", "optim.learning_rate=0.0625")
    assert {r.spec.optim.learning_rate for r in pinned.runs} == {0.0625}


def test_what_makes_no_sense_in_a_sweep() -> None:
    assert "has its own arms" in refused("sweep=levels", "curriculum=l1,l2")
    assert "study.seeds" in refused("sweep=levels", "seed=3")
    assert "are the same configuration" in refused("sweep=levels", "curriculum=l2")
    assert "no arm 'l22' (did you mean 'l2'?)" in refused("sweep=levels", "study.only=[l22]")
