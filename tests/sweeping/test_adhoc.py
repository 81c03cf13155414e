"""Values on the command line as the arms of a sweep without a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import plan_of

from eprli_lab.config.overrides import expand_shortcuts
from eprli_lab.config.several import defer_values, values_of
from eprli_lab.errors import UserError
from eprli_lab.sweeping.adhoc import with_arms


def node(*several: str, others: tuple[str, ...] = ()) -> dict:
    return with_arms({"name": None, "baseline": None, "question": None}, several, others)[0]


def test_arms_are_the_values_and_the_first_is_the_baseline():
    study, line = with_arms({}, ["curriculum=l1,l2,l3"], [])
    assert study["name"] == "curriculum-l1-l2-l3" and study["question"] == "Which curriculum (l1, l2, l3)?"
    assert list(study["arms"]) == ["curriculum-l1", "curriculum-l2", "curriculum-l3"]
    assert study["arms"]["curriculum-l2"] == {"overrides": ["curriculum=l2"]} and study["baseline"] == "curriculum-l1"
    assert line.splitlines()[:2] == ["arms, compared with curriculum-l1:", "  curriculum-l1: curriculum=l1"]


def test_several_keys_are_crossed_in_the_order_of_the_words():
    study = node("curriculum=l1,l2", "optim.learning_rate=1e-4,5e-4")
    assert list(study["arms"]) == [
        "curriculum-l1__learning_rate-1e-4",
        "curriculum-l1__learning_rate-5e-4",
        "curriculum-l2__learning_rate-1e-4",
        "curriculum-l2__learning_rate-5e-4",
    ]
    assert study["arms"]["curriculum-l2__learning_rate-5e-4"]["overrides"] == [
        "curriculum=l2",
        "optim.learning_rate=0.0005",
    ]


@pytest.mark.parametrize(
    ("word", "arms"),
    [
        ("a.clip.high=.2,0.3,1", ["high-0p2", "high-0p3", "high-1"]),
        ("a.b=[0.9,0.95],[0.8,0.9]", ["b-0p9_0p95", "b-0p8_0p9"]),
        ("a.b='x,y',z", ["b-x_y", "b-z"]),
        ("a.b=-1,1", ["b--1", "b-1"]),
        ("a.b=range(1,4)", ["b-1", "b-2", "b-3"]),
        ("a.b=choice(u,v)", ["b-u", "b-v"]),
        ("a.b='x y','x.y','x/y'", ["b-x_y", "b-x_y-2", "b-x_y-3"]),
        ("a.b='',null", ["b-empty", "b-null"]),
        ("a.b=true,false", ["b-true", "b-false"]),
    ],
)
def test_names_are_spelled_in_the_letters_of_a_name(word: str, arms: list[str]):
    assert list(node(word)["arms"]) == arms


def test_keys_of_one_name_are_told_apart():
    (arm,) = list(node("curriculum.levels.l1.clip.high=0.2,0.3", "curriculum.levels.l2.clip.high=0.4,0.5")["arms"])[:1]
    assert arm == "l1_clip_high-0p2__l2_clip_high-0p4"


def test_the_study_is_named_after_its_values_and_whatever_else_is_not_the_default():
    words = ("curriculum=l1,l2",)
    plain = node(*words)["name"]
    assert node(*words, others=("preset=smoke", "tracking.uri=x", "hydra/launcher=ray"))["name"] == plain
    other = node(*words, others=("budget.amount=1", "optim.learning_rate=2"))["name"]
    assert other.startswith(f"{plain}-") and other != plain
    assert node(*words, others=("optim.learning_rate=2", "budget.amount=1"))["name"] == other
    long = node("data.source.path=" + ",".join(f"a_long_name_of_a_file_{i}.jsonl" for i in range(30)))
    assert len(long["name"]) <= 67 and len(long["arms"]) == 30
    assert node()["name"] == "seeds" and list(node()["arms"]) == ["run"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("a.b=interval(0,1)", "this has no values to run one after another: name them"),
        ("a.b=shuffle(1,2)", "the first value is the baseline"),
        ("a.b=range(0,2000)", "these are more than 1000 arms"),
    ],
)
def test_what_is_no_list_of_arms_is_refused(word: str, said: str):
    with pytest.raises(UserError, match=said):
        node(word)


def test_words_are_told_apart_before_hydra_reads_them():
    def deferred(*words: str) -> list[str]:
        return defer_values(expand_shortcuts(["-m", *words]))[1:]

    assert deferred("curriculum=l1,l2", "seed=0,1") == ["study.seeds=[0,1]", "study.values=['curriculum=l1,l2']"]
    assert deferred("a.b='x,y'", "a.c=[1,2]", "a.d={x:1,y:2}") == ["a.b='x,y'", "a.c=[1,2]", "a.d={x:1,y:2}"]
    assert deferred("curriculum=glob(l?)") == ["study.values=['curriculum=l1,l2,l3,l4']"]
    assert deferred("a.b='it\\'s',c") == ["study.values=['a.b=\\'it\\\\\\'s\\',c']"]
    for untouched in (["sweep=levels", "a=1,2"], ["hydra/sweeper=basic", "seed=0,1"], ["a=1,(2"]):
        assert deferred(*untouched) == untouched
    assert defer_values(expand_shortcuts(["curriculum=l1,l2"])) == ["curriculum=l1,l2"]
    assert values_of(["a.b=1e-4,5e-4"]) == [("a.b", [("1e-4", "a.b=0.0001"), ("5e-4", "a.b=0.0005")])]


@pytest.mark.slow
def test_hydra_composes_them_as_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_of("curriculum=l2,l3", "seed=0,1,2", "curriculum.levels.l3.clip.high=0.3", "preset=smoke")
    assert plan.study.startswith("curriculum-l2-l3-") and plan.study.endswith("-smoke")
    assert plan.arms == ["curriculum-l2", "curriculum-l3"] and plan.spec.seeds == [0, 1, 2]
    assert plan.runs[1].spec.curriculum.levels["l3"].clip.high == 0.3
    assert any("does not apply to arm curriculum-l2" in note for note in plan.notes)
    assert plan_of("seed=0,1").arms == ["run"]
    assert plan_of("sweep=smoke", "seed=5,6").spec.seeds == [5, 6]
    chosen = plan_of("curriculum=l1,l2,l3", "study.only=[curriculum-l3]", "study.baseline=curriculum-l2")
    assert chosen.arms == ["curriculum-l2", "curriculum-l3"]
    for words, said in (
        (("optim.learning_rate=3e-4",), "-m needs a sweep"),
        (("optim.learning_rte=1,2",), "arm learning_rte-1: .*did you mean 'learning_rate'"),
        (("evaluation.samples=2,4",), "what is examined differently is not compared"),
        (("tracking.uri=a,b",), "is the study's, one for all its arms"),
    ):
        with pytest.raises(UserError, match=said):
            plan_of(*words)
