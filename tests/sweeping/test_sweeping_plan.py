"""From the command line to a plan, through Hydra and the package's own files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from plans import own_sweep, plan_of

from eprli_lab.backends.openrlhf import dry_run, flag_check, versions
from eprli_lab.backends.openrlhf.flags import Flag
from eprli_lab.config.overrides import expand_shortcuts
from eprli_lab.errors import UserError
from eprli_lab.sweeping.lifecycle import check_study
from eprli_lab.sweeping.spec import factor_and_metric

pytestmark = pytest.mark.slow  # one of many


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        plan_of(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_levels_sweep() -> None:
    plan = plan_of("sweep=levels")
    assert plan.study == "levels" and plan.spec.baseline == "l1"
    assert len(plan.runs) == 6 * 4 and plan.spec.seeds == [0, 1, 2, 3]
    levels = {r.arm: list(r.spec.curriculum.levels) for r in plan.runs}
    assert levels == {
        "l4": ["l1", "l2", "l3", "l4"],
        "l3": ["l1", "l2", "l3"],
        "l2": ["l1", "l2"],
        "l1": ["l1"],
        "l1_matched": ["l1"],
        "l3_shuffled": ["l1", "l2", "l3"],
    }
    assert {(r.spec.model.name, r.spec.data.name) for r in plan.runs} == {("qwen3-0.1m-ladder", "mod10")}
    one_skill = plan_of("sweep=levels", "model=mod10", "evaluation=heldout")
    assert {(r.spec.model.name, r.spec.data.name) for r in one_skill.runs} == {("qwen3-0.1m-mod10", "mod10")}
    evening = plan_of("sweep=levels", "preset=full")
    assert {(r.spec.model.name, r.spec.data.name) for r in evening.runs} == {("qwen3-0.1m-ladder", "mod10")}
    assert {r.arm: r.spec.budget.unit for r in plan.runs} == dict.fromkeys(levels, "tokens") | {"l1_matched": "updates"}
    # every level of every arm is reachable from the command line, also those that the default curriculum lacks
    clip = plan_of("sweep=levels", "curriculum.levels.l4.clip.high=0.2718")
    assert [r.spec.curriculum.levels["l4"].clip.high for r in clip.runs if r.arm == "l4"] == [0.2718] * 4
    assert len(clip.notes) == 5


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
    assert "study.seeds" in refused("sweep=levels", "seed=3", "study.seeds=[1,2]")
    assert "are the same configuration" in refused("sweep=levels", "curriculum=l2")
    assert "no arm 'l22' (did you mean 'l2'?)" in refused("sweep=levels", "study.only=[l22]")


def test_levels_has_its_arms_seeds_and_order():
    plan = plan_of("sweep=levels")
    assert plan.study == "levels"
    assert sorted(plan.arms) == ["l1", "l1_matched", "l2", "l3", "l3_shuffled", "l4"]
    assert plan.description.arms == ("l1", "l1_matched", "l2", "l3", "l4", "l3_shuffled")
    assert [r.seed for r in plan.runs] == [s for s in range(4) for _ in range(6)]
    for seed in range(4):
        arms = [r.arm for r in plan.runs if r.seed == seed]
        assert arms.index("l4") < arms.index("l1_matched")
    matched = next(r for r in plan.runs if r.arm == "l1_matched")
    assert matched.spec.budget.unit == "updates"
    assert matched.after is not None and matched.after.set == {"budget.amount": "progress/updates"}
    assert plan_of("sweep=levels", "preset=smoke").study == "levels-smoke"
    assert plan_of("sweep=levels", "preset=smoke", "study.name=own").study == "own"


def test_arms_differ_in_nothing_but_what_they_say():
    plan = plan_of("sweep=levels")
    specs = {r.arm: r.spec.flat() for r in plan.runs if r.seed == 0}
    differing = {k for k in specs["l1"] if specs["l1"][k] != specs["l1_matched"].get(k)}
    assert differing == {"arm", "budget.unit"}
    assert all(k.startswith(("curriculum.levels.", "arm")) for k in specs["l3"].keys() ^ specs["l1"].keys())


def test_the_command_line_pins_a_value_in_every_arm_that_has_it():
    plan = plan_of("sweep=levels", "curriculum.levels.l2.clip.high=0.2718", "optim.learning_rate=1e-4")
    for run in plan.runs:
        assert run.spec.optim.learning_rate == 1e-4
        if "l2" in run.spec.curriculum.levels:
            assert run.spec.curriculum.levels["l2"].clip.high == 0.2718
    assert plan.notes == tuple(
        f"curriculum.levels.l2.clip.high=0.2718 does not apply to arm {a} (no level l2)" for a in ("l1", "l1_matched")
    )


def test_only_keeps_the_baseline_and_what_is_waited_for():
    assert plan_of("sweep=levels", "study.only=[l3]").arms == ["l1", "l3"]
    assert sorted(plan_of("sweep=levels", "study.only=[l1_matched]").arms) == ["l1", "l1_matched", "l4"]


@pytest.mark.parametrize(
    ("arms", "more", "sentence"),
    [
        ("    a: {}\n    b: {}\n", "", "arms a and b are the same configuration"),
        ("    a: {}\n    b: {overrides: [curriculum=l7]}\n", "", "arm b: curriculum=l7: there is no such curriculum"),
        (
            "    a: {}\n    b: {overrides: [budget.amount=-1]}\n",
            "",
            "arm b: budget.amount: input should be greater than 0",
        ),
        ("    a: {}\n    b: {overides: [seed=1]}\n", "", "study.arms.b.overides: extra inputs are not permitted"),
        ("    b: {}\n", "", "study.baseline: there is no arm 'a'"),
        ("    a: {after: {arm: c, set: {}}}\n", "", "study.arms.a.after.arm: there is no arm 'c'"),
        ("    a: {after: {arm: b, set: {}}}\n    b: {after: {arm: a, set: {}}}\n", "", "a, b wait for each other"),
        (
            "    a: {}\n    b: {after: {arm: a, set: {budget.amuont: score}}}\n",
            "",
            "unknown key 'budget.amuont' (did you",
        ),
    ],
)
def test_bad_sweep_files_are_refused_in_one_sentence(tmp_path, monkeypatch, arms, more, sentence):
    own_sweep(tmp_path, arms + more)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        plan_of("sweep=mine")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_duplicates_are_allowed_when_asked_for(tmp_path, monkeypatch):
    own_sweep(tmp_path, "    a: {}\n    b: {}\n  allow_duplicates: true\n")
    monkeypatch.chdir(tmp_path)
    assert plan_of("sweep=mine").arms == ["a", "b"]


def test_a_sweep_over_values_is_refused():
    with pytest.raises(UserError, match="this sweep has its own arms"):
        plan_of("sweep=levels", "optim.learning_rate=1e-4,1e-3")


def test_short_words_of_a_sweep() -> None:
    given = ["-m", "sweep=thresholds", "force=true", "confirm=3", "trials=40", "optim.learning_rate=0.1"]
    assert expand_shortcuts(given) == [
        "-m",
        "sweep=thresholds",
        "study.force=true",
        "study.search.confirm=3",
        "study.trials=40",
        "optim.learning_rate=0.1",
    ]
    assert expand_shortcuts(["force=true"]) == ["force=true"], "a single run has no such word"
    plan = plan_of("sweep=thresholds", "study.search.confirm=3", "study.trials=40", "study.force=true")
    assert plan.spec.force and plan.spec.trials == 40 and plan.search is not None and plan.search.spec.confirm == 3


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("scor", "no run logs 'scor' (did you mean 'score'?)"),
        ("eval/heldout_hrd/avg_at_k", "(did you mean 'eval/heldout_hard/avg_at_k'?)"),
        ("policy/l7/entropy", "no run logs 'policy/l7/entropy'"),
        ("policy/l1/kl_ref", "no run logs 'policy/l1/kl_ref'"),  # its coefficient is zero
    ],
)
def test_an_objective_that_no_run_logs_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, words: str
) -> None:
    own_sweep(tmp_path, f"    a: {{}}\n  objectives: [{{metric: {metric}, direction: maximize}}]\n")
    monkeypatch.chdir(tmp_path)
    plan = plan_of("sweep=mine")
    assert plan.runs[0].spec.objective == metric
    with pytest.raises(UserError) as caught:
        check_study(plan)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_openrlhfs_parser_is_asked_about_all_arms_at_once_and_after_what_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def answered(flags: Sequence[tuple[Flag, ...]], rehearsal: bool) -> list[str]:
        asked.append(len(flags))
        return ["it has no such estimator" if ("--algo.advantage.estimator", "rloo") in f else "" for f in flags]

    monkeypatch.setattr(flag_check, "_answered", answered)
    monkeypatch.setattr(flag_check, "_answers", {})
    monkeypatch.setattr(versions, "missing", lambda rehearsal: [])
    monkeypatch.setattr(dry_run, "missing", lambda rehearsal: [])
    monkeypatch.setattr(versions, "installed", lambda package: versions.KNOWN[0])
    monkeypatch.chdir(tmp_path)
    own_sweep(
        tmp_path, "    a: {}\n    b: {overrides: [algorithm.advantage=rloo]}\n    c: {overrides: [curriculum=l1]}\n"
    )
    plan = plan_of("sweep=mine", "backend=openrlhf_cpu", "study.seeds=[0,1]")
    with pytest.raises(UserError, match="^arm b: it has no such estimator$"):
        check_study(plan)
    assert asked == [3]
    own_sweep(tmp_path, "    a: {}\n    b: {overrides: [verify.grader=nowhere:f]}\n", name="other")
    with pytest.raises(UserError, match=r"^arm b: verify\.grader"):
        check_study(plan_of("sweep=other", "backend=openrlhf_cpu", "optim.learning_rate=1e-4"))
    assert asked == [3], "what takes seconds comes after what does not"


def test_every_arm_of_two_objectives_aims_at_the_first() -> None:
    plan = plan_of("sweep=length_reward")
    assert {r.spec.objective for r in plan.runs} == {"score"}
    assert [(o.metric, o.direction) for o in plan.description.objectives] == [
        ("score", "maximize"),
        ("response_tokens", "minimize"),
    ]
    assert plan_of("sweep=model_size").description.arm_baselines["l_l2"] == "l_l1"


def test_a_multiple_of_another_arm_s_metric() -> None:
    assert factor_and_metric("progress/updates") == (1, "progress/updates")
    assert factor_and_metric("2 * progress/tokens") == (2, "progress/tokens")
    for wrong in ("0 * progress/tokens", "half * progress/tokens", "-1 * x", "1.5 * x"):
        with pytest.raises(ValueError, match="whole number times one"):
            factor_and_metric(wrong)
