"""Arms: composed, pinned, ordered, refused, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeping_work import arms, make_plan

from eprli_lab.config.compose import compose_tree
from eprli_lab.errors import UserError
from eprli_lab.sweeping.plan import _ordered, build_plan
from eprli_lab.sweeping.spec import StudySpec

pytestmark = pytest.mark.slow  # one of many

LEVELS: dict[str, Any] = {
    "l1": {"overrides": ["curriculum=l1"]},
    "l1_matched": {
        "overrides": ["curriculum=l1", "budget.unit=updates"],
        "after": {"arm": "l4", "set": {"budget.amount": "progress/updates"}},
    },
    "l2": {"overrides": ["curriculum=l2"]},
    "l4": {"overrides": ["curriculum=l4"]},
}


def refused(node: dict[str, Any], command_line: list[str] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        make_plan(node, command_line)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_runs_are_seed_by_seed_and_what_others_wait_for_comes_first() -> None:
    plan = make_plan({"arms": LEVELS, "seeds": [3, 1], "name": "levels"})
    assert [r.key for r in plan.runs] == [
        *(("l4", 3), ("l1", 3), ("l1_matched", 3), ("l2", 3)),
        *(("l4", 1), ("l1", 1), ("l1_matched", 1), ("l2", 1)),
    ]
    assert plan.runs[0].directory == Path("outputs/levels/l4/seed3")
    first = plan.runs[0].spec
    assert (first.study, first.arm, first.seed, len(first.curriculum.levels)) == ("levels", "l4", 3, 4)
    assert plan.runs[2].after is not None and plan.runs[2].after.arm == "l4"
    assert len({r.spec.fingerprint() for r in plan.runs}) == 8


def test_the_command_line_pins_what_arms_vary() -> None:
    plan = make_plan({"arms": arms("a", "b")}, ["optim.weight_decay=0.01"])
    assert [(r.spec.optim.learning_rate, r.spec.optim.weight_decay) for r in plan.runs] == [(1e-4, 0.01), (2e-4, 0.01)]
    pinned = make_plan({"arms": arms("a", "b"), "allow_duplicates": True}, ["optim.learning_rate=0.3"])
    assert [r.spec.optim.learning_rate for r in pinned.runs] == [0.3, 0.3]


def test_a_level_override_applies_to_the_arms_that_have_the_level() -> None:
    plan = make_plan({"arms": LEVELS, "name": "x"}, ["curriculum.levels.l2.clip.high=0.2718"])
    found = {r.arm: r.spec.curriculum.levels["l2"].clip.high for r in plan.runs if "l2" in r.spec.curriculum.levels}
    assert found == {"l4": 0.2718, "l2": 0.2718}
    assert [n for n in plan.notes if "l1" in n] == [
        f"curriculum.levels.l2.clip.high=0.2718 does not apply to arm {arm} (no level l2)"
        for arm in ("l1", "l1_matched")
    ]
    assert "no arm has a level 'l7' (did you mean" in refused({"arms": LEVELS}, ["curriculum.levels.l7.clip.high=0.3"])


def test_names_of_studies() -> None:
    node = {"name": "n", "baseline": "a", "seeds": [0], "arms": arms("a")}
    assert build_plan(compose_tree, node, "default", []).study == "n"
    assert build_plan(compose_tree, node, "smoke", []).study == "n-smoke"
    assert build_plan(compose_tree, node, "smoke", ["study.name=n"]).study == "n"


def test_only_keeps_the_baseline_and_what_is_waited_for() -> None:
    plan = make_plan({"arms": LEVELS, "only": ["l1_matched"], "baseline": "l1"})
    assert plan.arms == ["l4", "l1", "l1_matched"]
    assert plan.description.arms == ("l1", "l1_matched", "l4")


def test_the_binding_knows_no_seeds_and_no_tracking() -> None:
    bound, of_other_seeds = (
        make_plan({"arms": arms("a", "b"), "seeds": seeds}).strategy.binding() for seeds in ([0], [5, 6])
    )
    assert bound == of_other_seeds
    elsewhere = make_plan({"arms": arms("a", "b")}, ["tracking.experiment=other", "checkpoint.every_updates=3"])
    assert elsewhere.strategy.binding() == bound
    assert bound["a"]["optim.learning_rate"] == 1e-4
    after = make_plan({"arms": LEVELS}).strategy.binding()["l1_matched"]
    assert after["after.l4.budget.amount"] == "progress/updates"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"baseline": "aa"}, "study.baseline: there is no arm 'aa' (did you mean 'a'?)"),
        ({"only": ["bb"]}, "study.only: there is no arm 'bb' (did you mean 'b'?)"),
        ({"seeds": []}, "study.seeds is empty"),
        ({"seeds": [1, 2, 1]}, "names a seed twice"),
        ({"seeds": [-1]}, "seed"),
        ({"arms": {}}, "-m needs a sweep"),
        ({"retrys": 2}, "study.retrys"),
        ({"workers": 0}, "study.workers"),
        ({"arms": {"a": {}, "b": {}}}, "arms a and b are the same configuration"),
        ({"arms": {"a": {"overrides": ["optim.learnin_rate=1"]}}}, "arm a: optim.learnin_rate: unknown key"),
        ({"arms": {"a": {"overrides": ["curriculum=l9"]}}}, "arm a: curriculum=l9: there is no such curriculum"),
        ({"arms": {"a": {"overrides": ["optim.learning_rate=7"]}}}, "arm a: optim.learning_rate: "),
    ],
)
def test_mistakes_are_refused_in_one_sentence(change: dict[str, Any], words: str) -> None:
    assert words in refused({"arms": arms("a", "b"), **change})


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ({"arm": "c", "set": {"seed": "x"}}, None, "study.arms.a.after.arm: there is no arm 'c'"),
        (
            {"arm": "b", "set": {"budget.amoun": "x"}},
            None,
            "unknown key 'budget.amoun' (did you mean 'budget.amount'?)",
        ),
        ({"arm": "b", "set": {}}, {"arm": "a", "set": {}}, "a, b wait for each other"),
        ({"arm": "a", "set": {}}, None, "a wait for each other"),
    ],
)
def test_mistakes_in_after(a: dict[str, Any], b: dict[str, Any] | None, words: str) -> None:
    node = arms("a", "b")
    node["a"]["after"] = a
    node["b"]["after"] = b
    assert words in refused({"arms": node})


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_every_arm_comes_after_the_one_it_waits_for(data: st.DataObject) -> None:
    names = [f"a{i}" for i in range(data.draw(st.integers(1, 8)))]
    node: dict[str, Any] = {}
    for i, name in enumerate(names):  # waiting only for earlier names: no cycle
        awaited = data.draw(st.none() | st.sampled_from(names[:i])) if i else None
        node[name] = {"after": {"arm": awaited, "set": {}}} if awaited else {}
    shuffled = dict(data.draw(st.permutations(list(node.items()))))
    study = StudySpec.model_validate({"name": "s", "baseline": names[0], "seeds": [0], "arms": shuffled})
    order = _ordered(list(shuffled), study)
    assert sorted(order) == sorted(names)
    for name, arm in study.arms.items():
        assert arm.after is None or order.index(arm.after.arm) < order.index(name)
