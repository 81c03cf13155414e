"""What arms may not differ in is refused when the study is planned, before anything starts; its seeds are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import rest_exhaustive
from plans import own_sweep, plan_of
from pydantic import ValidationError

from eprli_lab.config.overrides import expand_shortcuts, seed_list
from eprli_lab.errors import UserError
from eprli_lab.sweeping.spec import StudySpec

pytestmark = pytest.mark.slow  # one of many


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(arms: str, *arguments: str) -> str:
    own_sweep(Path(), arms)
    with pytest.raises(UserError) as caught:
        plan_of("sweep=mine", *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- one examination ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("evaluation.temperature=0.5", "evaluation.temperature is 0.5, a has 1.0"),
        (
            "evaluation.suites.heldout_easy.generated.problems=9",
            "evaluation.suites.heldout_easy.generated.problems is 9",
        ),
        ("prompts.suffix=x", "prompts.suffix is x, a has : "),
        ("verify.symbolic=false", "verify.symbolic is False, a has True"),
    ],
)
def test_an_arm_that_is_examined_otherwise_is_refused(override: str, key: str) -> None:
    sentence = refused(f"    a: {{}}\n    b: {{overrides: ['{override}']}}\n")
    assert sentence.startswith(f"arm b: {key}") and "study.varies_evaluation=true" in sentence


def test_what_all_arms_share_and_what_the_study_allows_is_planned() -> None:
    own_sweep(
        Path(), "    a: {}\n    b: {overrides: [optim.weight_decay=0.5, curriculum.levels.l1.prompts.suffix=x]}\n"
    )
    common = plan_of("sweep=mine", "evaluation.temperature=0.5", "prompts.suffix=' now'")
    assert {r.spec.evaluation.temperature for r in common.runs} == {0.5}, "prompts of a level are for training alone"
    own_sweep(Path(), "    a: {}\n    b: {overrides: [evaluation.temperature=0.5]}\n  varies_evaluation: true\n")
    varied = plan_of("sweep=mine")
    assert varied.description.varies_evaluation and len(varied.arms) == 2
    other_data = "{overrides: [model=program, data=program]}"
    own_sweep(Path(), f"    a: {other_data}\n    b: {{overrides: [model=program, data=program, curriculum=l1]}}\n")
    assert len(plan_of("sweep=mine").arms) == 2, "suites follow the data that all arms share"
    assert "arm b: evaluation.suites." in refused(f"    a: {{}}\n    b: {other_data}\n")


# --- what is the study's own -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override",
    [
        "seed=3",
        "study.seeds=[1]",
        "hydra.verbose=true",
        "hydra/launcher=ray",
        "tracking.experiment=x",
        "tracking=server",
    ],
)
def test_what_is_the_studys_is_refused_in_an_arm(override: str) -> None:
    sentence = refused(f"    a: {{}}\n    b: {{overrides: ['{override}']}}\n")
    assert sentence.startswith(f"study.arms.b.overrides: {override} is the study's, one for all its arms")


def test_a_replicate_and_checkpoints_are_an_arms_own() -> None:
    own_sweep(Path(), "    a: {}\n    b: {overrides: [replicate=1, checkpoint.every_updates=3]}\n")
    assert plan_of("sweep=mine").arms == ["a", "b"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("    after: {arm: a, set: {seed: score}}\n", "study.arms.b.after.set: seed is the study's"),
        ("    after: {arm: a, set: {evaluation.samples: score}}\n", "evaluation.samples says how a run is examined"),
    ],
)
def test_nor_may_an_arm_take_it_from_another_run(more: str, words: str) -> None:
    assert words in refused(f"    a: {{}}\n    b:\n      overrides: [optim.weight_decay=0.5]\n  {more}")


@pytest.mark.parametrize(
    ("search", "arguments", "words"),
    [
        ("{seed: 'range(0,9)'}", (), "study.search.space: seed is the study's"),
        ("{study.retries: 'range(0,9)'}", (), "study.search.space: study.retries is the study's"),
        ("{evaluation.temperature: 'interval(0.1,1)'}", (), "evaluation.temperature says how runs are examined"),
        ("{evaluation: 'choice(heldout,rungs)'}", (), "evaluation says how runs are examined"),
        ("{optim.weight_decay: 'interval(0,1)'}", ("verify.symbolic=true,false",), "verify.symbolic says how runs"),
    ],
)
def test_nor_may_a_search(search: str, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(f"    a: {{}}\n  search: {{space: {search}}}\n", *arguments)


def test_a_search_whose_common_overrides_change_the_examination_is_refused() -> None:
    space = "{space: {optim.weight_decay: 'interval(0,1)'}, overrides: [evaluation.temperature=0.5]}"
    assert refused(f"    a: {{}}\n  search: {space}\n").startswith(
        "study.search: evaluation.temperature is 0.5, a has 1.0"
    )


# --- seeds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seeds"),
    rest_exhaustive(
        [
            ("study.seeds=0,1,2", [0, 1, 2]),
            ("study.seeds=range(2,9,3)", [2, 5, 8]),
            ("study.seeds=[0,1]", [0, 1]),
            ("study.seeds='0,1,2'", [0, 1, 2]),
            ("study.seeds=range(0,3)", [0, 1, 2]),
        ],
        2,
    ),
)
def test_seeds_are_read_as_people_write_them(written: str, seeds: list[int]) -> None:
    own_sweep(Path(), "    a: {}\n")
    assert plan_of("sweep=mine", written).spec.seeds == seeds
    [rewritten] = expand_shortcuts(["-m", written])[1:]
    assert plan_of("sweep=mine", rewritten).spec.seeds == seeds, "as a launcher's job gets it"
    search = "    a: {}\n  search: {space: {optim.weight_decay: 'interval(0,1)'}}\n  seeds: [77]\n"
    own_sweep(Path(), search)
    found = plan_of("sweep=mine", "study.seeds=[77]", written.replace("study.seeds", "study.search_seeds"))
    assert found.search is not None and list(found.search.seeds) == seeds


@pytest.mark.parametrize(
    "written",
    rest_exhaustive(
        ["3", "[0,-1]", "a,b", "range(0,2.5)", "1.5,2", "[0,1.0]", "[true]", "choice(0,1)", "null", "'0;1'"], 4
    ),
)
def test_what_is_no_list_of_seeds_is_refused_and_never_ignored(written: str) -> None:
    for key in ("study.seeds", "study.search_seeds"):
        sentence = refused("    a: {}\n", f"{key}={written}")
        assert sentence.startswith(f"{key}: ") and "is no list of seeds (whole numbers from 0 on)" in sentence


def test_seeds_of_a_sweep_file_and_other_lists_of_the_study() -> None:
    assert seed_list("range(0,100000)") is None and seed_list("range(3,3)") == []
    study = StudySpec.model_validate({"name": "s", "baseline": "a", "arms": {"a": {}}, "seeds": "range(0,3)"})
    assert study.seeds == [0, 1, 2]
    with pytest.raises(ValidationError):
        StudySpec.model_validate({"name": "s", "baseline": "a", "arms": {"a": {}}, "seeds": [True]})
    assert "study.only=a,b: a study has one value of it; a list is written study.only=[...]" in refused(
        "    a: {}\n    b: {overrides: [replicate=1]}\n", "study.only=a,b"
    )


# --- contrasts ---------------------------------------------------------------------------------------------------

THREE = "    a: {}\n    b: {overrides: [replicate=1]}\n    c: {overrides: [replicate=2]}\n"


def test_contrasts_of_a_file_and_of_the_command_line() -> None:
    own_sweep(Path(), f"{THREE}  contrasts: [c - b]\n")
    assert plan_of("sweep=mine").description.contrasts == ("c - b",)
    assert plan_of("sweep=mine", "study.contrasts=[b - a, c - a]").description.contrasts == ("b - a", "c - a")
    only = plan_of("sweep=mine", "study.only=[c]")
    assert only.notes == ("study.contrasts: c - b is left out: study.only plans no b",)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("  contrasts: [c - bb]\n", "study.contrasts: 'c - bb': there is no arm 'bb' (did you mean 'b'?)"),
        ("  contrasts: [c-b]\n", "study.contrasts: 'c-b' is no contrast of two arms: write ARM - ARM"),
        ("  expected: [{contrast: c - d, above: 0.1}]\n", "study.expected: 'c - d': there is no arm 'd'"),
        (
            "  expected: [{arm: cc, near: 0.1, within: 0.1}]\n",
            "study.expected: 'cc': there is no arm 'cc' (did you mean",
        ),
    ],
)
def test_contrasts_of_arms_that_are_not_there_are_refused(more: str, words: str) -> None:
    assert words in refused(THREE + more)
