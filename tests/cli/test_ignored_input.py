"""What would change nothing is refused with a sentence, never ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from eprli_lab.api import load_study
from eprli_lab.cli.main import main
from eprli_lab.cli.options import tracking
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError

pytestmark = pytest.mark.slow  # one of many


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run -m", "-m needs a sweep, a file that names its arms"),
        ("run -m optim.learning_rate=3e-4", "-m needs a sweep"),
        ("run curriculum=l1,l2", "curriculum=l1,l2: these are several values: with -m each is an arm"),
        ("run -m seed=0,1 study.seeds=[1]", "seed=0,1: the seeds are given twice"),
        ("run -m optim.learning_rate=interval(1e-4,1e-3)", "this has no values to run one after another"),
        ("run -m curriculum=l1,l1", "arms curriculum-l1 and curriculum-l1-2 are the same configuration"),
        ("run -m sweep=smoke curriculum=l1,l2", "leave out sweep=, and the values are the arms"),
        ("run hydra.mode=MULTIRUN", "-m needs a sweep"),
        ("run study.seeds=[1,2]", "study.seeds=[1,2]: one run has no study, so it would change nothing"),
        ("run ++study.workers=2", "one run has no study"),
        ("run curriculum.target.start=${oc.decode:5}", "curriculum.target.start: TypeError raised while resolving"),
        ("run study=two", "study: two is no study"),
        ("run -m sweep=smoke study.trials=3", "study.trials=3: this sweep has its own arms and no search"),
        ("run -m sweep=smoke study.search_seeds=[7,8]", "this sweep has its own arms and no search"),
        ("run -m sweep=smoke study.seeds=abc", "study.seeds: 'abc' is no list of seeds"),
        ("run -m sweep=smoke study.only=[nope]", "study.only: there is no arm 'nope'"),
        ("run --experimental-rerun=x", "--experimental-rerun reads a pickle"),
        ("run --nope", "unrecognized arguments: --nope; eprli-lab run --help says more"),
        ("run seed=1 --nope budget.amount=5000", "unrecognized arguments: --nope; eprli-lab run --help says more"),
        ("run study.only=[nope] -m sweep=smoke", "study.only: there is no arm 'nope'"),
        ("data ++study.seeds=[1]", "++study.seeds=[1]: there is no study here"),
        ("data +sweep=levels", "there is no study here"),
        ("report study=mine preset=smoke", "preset=smoke: study=mine is the whole name already"),
        ("table study=mine sweep=levels", "sweep=levels: study=mine is the whole name already"),
    ],
)
def test_one_sentence(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    sentences = [line for line in error.splitlines() if line.startswith("eprli_lab: ")]
    assert len(sentences) == 1
    assert "Error executing job" not in error
    assert said in sentences[0]
    assert not any(Path.cwd().iterdir()), "nothing was started"


def test_variables_of_mlflow_are_obeyed_where_the_config_names_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    spec = compose_spec([]).tracking
    assert (spec.uri, spec.experiment) == ("sqlite:///other.db", "mine")
    assert tracking({}) == TrackingSpec(uri="sqlite:///other.db", experiment="mine")
    given = compose_spec(["tracking.uri=sqlite:///a.db", "tracking.experiment=e"]).tracking
    assert (given.uri, given.experiment) == ("sqlite:///a.db", "e")
    with pytest.raises(UserError, match=r"other\.db"):
        load_study("levels")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(UserError, match=r"'\./mlruns' is no tracking URI"):
        compose_spec([])
    with pytest.raises(UserError, match=r"'\./mlruns' is no tracking URI"):
        load_study("levels")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert compose_spec([]).tracking == TrackingSpec(uri="sqlite:///mlflow.db", experiment="eprli_lab")


def test_numbers_with_an_exponent_are_numbers_only_where_one_belongs() -> None:
    from eprli_lab.config.parse import parse_spec

    tree = compose_spec([]).model_dump(mode="json")
    tree["optim"]["learning_rate"] = "3e-4"
    tree["optim"]["betas"] = ["9e-1", "9.5e-1"]
    tree["data"]["name"] = "1e5"
    tree["prompts"] = {"suffix": "2e3", "arguments": {"version": "1e5"}}
    spec = parse_spec(tree)
    assert (spec.optim.learning_rate, spec.optim.betas) == (3e-4, (0.9, 0.95))
    assert (spec.data.name, spec.prompts.suffix, spec.prompts.arguments) == ("1e5", "2e3", {"version": "1e5"})
    for bad in ("5e", "1-e5", "e5", "1e", "٣e1", "1e5e5"):
        tree["optim"]["learning_rate"] = bad
        with pytest.raises(UserError, match=r"^optim\.learning_rate: input should be a valid number"):
            parse_spec(tree)
