"""Names of ours that become parts of paths: any other text is refused in a sentence, whoever gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import SMALL, small_spec
from plans import own_sweep, plan_of

from eprli_lab.cli.main import main
from eprli_lab.config.fields import LONGEST_NAME, checked_name
from eprli_lab.config.parse import parse_spec
from eprli_lab.errors import UserError

pytestmark = pytest.mark.slow  # one of many

HOSTILE = (
    "../up", "/etc/cron.d/x", "a/b", ".hidden", "a b", "-rf", "a\nb", "a\n", "\x1b[31m", "\u202ea", "<b>", "$(id)", "a;b",
    "=1+1", "%2e%2e", "a" * 300, "", "~", "CON:",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_none_is_refused_everywhere(name: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tree = small_spec().model_dump(mode="json")
    levels = {name: next(iter(tree["curriculum"]["levels"].values()))}
    suites = {name: next(iter(tree["evaluation"]["suites"].values()))}
    for changed, where in (
        ({"curriculum": tree["curriculum"] | {"levels": levels}}, "curriculum.levels"),
        ({"evaluation": tree["evaluation"] | {"suites": suites}}, "evaluation.suites"),
        ({"study": name}, "study"),
        ({"arm": name}, "arm"),
    ):
        with pytest.raises(UserError, match=rf"^{where}: '.* is no name: use letters") as refusal:
            parse_spec(tree | changed)
        assert "\n" not in str(refusal.value) and "\x1b" not in str(refusal.value)
        assert len(str(refusal.value)) < 300
    if name:
        for words in (["status", name], ["report", f"study={name}"], ["table", f"study={name}"]):
            assert main(words) == 2
            assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../up", "/tmp/x", "a" * 101, "a b"])
def test_a_study_and_its_arms_have_names(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_sweep(tmp_path, f"    a: {{}}\n    '{name}': {{overrides: [optim.learning_rate=1e-3]}}\n")
    with pytest.raises(UserError, match=r"^study\.name: '.* is no name: use letters, digits, _ and -"):
        plan_of("sweep=levels", "preset=smoke", f"study.name='{name}'")
    with pytest.raises(UserError, match=r"^study\.arms: '.* is no name: use letters, digits, _ and -"):
        plan_of("sweep=mine", *SMALL)


@pytest.mark.parametrize("name", ["l4", "l1_matched", "a-b", "0", "A" * LONGEST_NAME])
def test_an_ordinary_name_is_taken(name: str):
    assert checked_name("study", name) == name
    assert parse_spec(small_spec().model_dump(mode="json") | {"arm": name}).arm == name


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.name='../x'", "^data.name: '../x' names files: leave out /"),
        ("data.name='.x'", "^data.name: '.x' names files"),
        ("data.name=''", "^data.name: give 1 to 200 characters"),
        ("model.name='a\x1b[31m'", "^model.name: give 1 to 200 characters, none of them a control character"),
        ("tracking.experiment='\u202eb'", "^tracking.experiment: give 1 to 200 characters"),
    ],
)
def test_a_label_is_short_and_can_be_seen(override: str, sentence: str):
    with pytest.raises(UserError, match=sentence):
        small_spec(override)
