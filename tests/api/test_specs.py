"""`import eprli_lab` and `compose`: light, repeatable, and no trace in anybody's Hydra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase

import eprli_lab
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.sweeping.catalogue import planner

pytestmark = pytest.mark.slow  # one of many


def python(code: str, directory: Path) -> str:
    """What a script prints that runs in a directory; it must succeed."""
    script = directory / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, script], cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_is_imported_without_what_its_interface_needs(tmp_path: Path) -> None:
    code = "import sys, eprli_lab\nprint(sorted(n for n in sys.modules if n.startswith('eprli_lab')))\n"
    code += "print({'torch', 'pandas', 'mlflow', 'hydra', 'optuna', 'pydantic', 'matplotlib'} & set(sys.modules))\n"
    code += "import eprli_lab.api\nprint({'torch', 'pandas', 'mlflow', 'optuna', 'matplotlib'} & set(sys.modules))"
    assert python(code, tmp_path).splitlines() == ["['eprli_lab']", "set()", "set()"]


def test_every_function_is_found_on_the_package() -> None:
    import eprli_lab.api

    assert list(eprli_lab._INTERFACE) == eprli_lab.api.__all__
    stub = (REPO / "eprli_lab" / "__init__.pyi").read_text()
    for name in eprli_lab.api.__all__:
        assert getattr(eprli_lab, name) is getattr(eprli_lab.api, name) and name in dir(eprli_lab)
        assert f"import {name} as {name}\n" in stub and getattr(eprli_lab, name).__doc__
    with pytest.raises(AttributeError, match="module 'eprli_lab' has no attribute 'trian'"):
        _ = eprli_lab.trian


def test_compose_is_the_spec_of_the_command_line_as_often_as_one_likes() -> None:
    overrides = ["curriculum=l3", "optim.learning_rate=3e-4", "seed=4"]
    spec = eprli_lab.compose(overrides)
    assert isinstance(spec, RunSpec) and spec == compose_spec(overrides) == eprli_lab.compose(tuple(overrides))
    assert (spec.seed, spec.optim.learning_rate, list(spec.curriculum.levels)) == (4, 3e-4, ["l1", "l2", "l3"])
    assert overrides == ["curriculum=l3", "optim.learning_rate=3e-4", "seed=4"]
    assert eprli_lab.compose().fingerprint() == compose_spec([]).fingerprint() != spec.fingerprint()


def state() -> tuple[object, ...]:
    return GlobalHydra.instance(), GlobalHydra.instance().hydra, VersionBase.instance().version_base, JobRuntime.instance().get("name")  # fmt: skip


def test_hydra_is_left_as_it_was(tmp_path: Path) -> None:
    """Within another application's Hydra, also when the composition fails."""
    GlobalHydra.instance().clear()
    before = state()
    eprli_lab.compose(["seed=1"])
    assert state() == before and not GlobalHydra.instance().is_initialized()
    (tmp_path / "theirs.yaml").write_text("value: 7\nother: ${hydra:job.name}\n")
    with initialize_config_dir(str(tmp_path), job_name="theirs", version_base="1.2"):
        before = state()
        eprli_lab.compose(["seed=1"])
        with pytest.raises(UserError):
            eprli_lab.compose(["sed=1"])
        with planner() as plan:
            assert plan("smoke", []).study == "smoke"
        assert state() == before
        assert hydra_compose("theirs", overrides=["value=8"]).value == 8


def test_within_a_hydra_application_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("value: 7\n")
    code = "import hydra\nimport eprli_lab\nfrom hydra.core.hydra_config import HydraConfig\n"
    code += "@hydra.main(config_path='.', config_name='mine', version_base='1.3')\ndef app(cfg):\n"
    code += "    spec = eprli_lab.compose(['seed=3'])\n"
    code += "    print(cfg.value, spec.seed, HydraConfig.get().job.name, hydra.core.global_hydra.GlobalHydra.instance().is_initialized())\n"
    assert python(code + "app()\n", tmp_path).split() == ["7", "3", "script", "True"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("curriculum=l3", "compose: give the overrides as a list, ['curriculum=l3']"),
        ([1], 'compose: an override is a string such as "seed=1", not 1'),
        (["curriculum=l9"], "curriculum=l9: there is no such curriculum (did you mean 'l"),
        (["optim.learning_rat=1"], "optim.learning_rat: unknown key (did you mean 'learning_rate'?)"),
        (["curriculum=l3", "curriculum.levels.l3.group_sise=4"], "unknown key (did you mean 'group_size'?)"),
        (["budget.amount=-1"], "budget.amount: input should be greater than 0, not -1"),
    ],
)
def test_a_mistake_is_one_sentence(overrides, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        eprli_lab.compose(overrides)
    assert sentence in str(error.value) and "\n" not in str(error.value)
