"""Config files of the working directory: found, refused where they stand in the way, named where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from eprli_lab.cli.words import config_groups
from eprli_lab.config import own
from eprli_lab.config.compose import compose_spec, compose_tree
from eprli_lab.config.paths import CONF_DIR, SWEEPS_DIR
from eprli_lab.errors import UserError


def write(name: str, text: str) -> None:
    file = Path("conf") / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_files_of_the_working_directory_are_chosen_like_those_of_the_package():
    plain = compose_spec([]).fingerprint()
    write("model/mine", "defaults: [mod10, _self_]\nname: mine\n")
    write("experiment/half", "# @package _global_\nbudget:\n  amount: 777\n")
    write("curriculum/level/narrow", "defaults: [base, _self_]\ngroup_size: 8\n")
    write("config", "defaults: [nothing]\n")  # of somebody else's application
    write("nobody/x", "a: 1\n")
    spec = compose_spec(["model=mine", "experiment=half"])
    assert (spec.model.name, spec.budget.amount) == ("mine", 777)
    assert spec.fingerprint() != plain and compose_spec([]).fingerprint() == plain
    assert own.offered() == {"curriculum/level": ["narrow"], "experiment": ["half"], "model": ["mine"]}
    assert "mine" in {k.name: list(k.values()) for k in config_groups()}["model"]


def test_a_name_of_the_package_is_refused_when_it_is_chosen_and_says_something_else():
    write("model/mod10", (CONF_DIR / "model" / "mod10.yaml").read_text())  # a copy says the same
    write("model/ladder", "name: other\n")
    assert compose_spec([]).model.name == "qwen3-0.1m-mod10"
    with pytest.raises(UserError, match=r"^conf/model/ladder\.yaml: model=ladder comes with the package.*rename it"):
        compose_spec(["model=ladder"])
    assert own.shadowing() == ["conf/model/ladder.yaml"] and own.offered() == {}


def test_so_is_the_name_of_a_shipped_sweep():
    Path("sweeps").mkdir()
    Path("sweeps/levels.yaml").write_bytes((SWEEPS_DIR / "levels.yaml").read_bytes())
    Path("sweeps/aa.yaml").write_text("study: {name: mine}\n")
    compose_tree(["sweep=levels"])
    with pytest.raises(UserError, match=r"^sweeps/aa\.yaml: sweep=aa comes with the package.*rename it"):
        compose_tree(["sweep=aa"])
    assert own.shadowing() == ["sweeps/aa.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defaults: [mod10, _self_]\nhiden: 3\n", r"model\.hiden: unknown key .*\(in conf/model/bad\.yaml\)$"),
        ("defaults: [mod10, _self_]\nname: 3\n", r"model\.name: input should be .*\(in conf/model/bad\.yaml\)$"),
        ("a: [1\nb: 2\n", r"^conf/model/bad\.yaml:2: is no YAML"),
        ("- 1\n", r"^conf/model/bad\.yaml: holds no keys"),
        ("defaults: [mod11, _self_]\n", r"^model=mod11: there is no such model \(in conf/model/bad\.yaml\)$"),
    ],
)
def test_what_is_wrong_with_a_file_names_the_file(text: str, said: str):
    write("model/bad", text)
    with pytest.raises(UserError, match=said):
        compose_spec(["model=bad"])


def test_a_mistake_of_the_command_line_is_not_a_files():
    write("experiment/x", "# @package _global_\nbudget:\n  amount: 777\n")
    with pytest.raises(UserError) as said:
        compose_spec(["experiment=x", "budget.amount=-1"])
    assert "conf/" not in str(said.value)


def test_in_a_checkout_nothing_doubles(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CONF_DIR.parent)
    assert own.own_directory() is None and own.offered() == {} and own.shadowing() == []
    assert compose_tree([])["model"]["name"] == "qwen3-0.1m-mod10"


def test_a_sweep_file_that_is_no_yaml_is_named():
    Path("sweeps").mkdir()
    Path("sweeps/mine.yaml").write_text("study:\n  a: [1\n  b: 2\n")
    with pytest.raises(UserError, match=r"^sweeps/mine\.yaml:3: is no YAML"):
        compose_tree(["sweep=mine"])
