"""What is planted is named, what is clean is not; effects on one stratum are found there."""

from __future__ import annotations

import dataclasses
import math
import random
import statistics

import pytest
from planted import START, STEPS, SUITES, change, clean_run, described, params, put, study

from eprli_lab.errors import UserError
from eprli_lab.reporting.diagnosis import diagnose
from eprli_lab.reporting.diagnosis.finding import KINDS, Finding
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.stats.effects import baselines, suite_effects
from eprli_lab.reporting.stats.power import minimum_detectable_effect
from eprli_lab.tracking.description import StudyDescription


def only(findings: list[Finding], kind: str) -> list[Finding]:
    assert {f.kind for f in findings} == {kind}, findings
    return findings


@pytest.mark.parametrize("seeds", [3, 4, 8])
def test_a_clean_study_has_no_finding(seeds):
    assert diagnose(study(seeds=seeds)) == []
    assert diagnose(study(("a", "b", "c", "d"), seeds=seeds)) == []


def test_a_clean_study_with_tables_has_no_finding():
    clean = study()
    assert diagnose(clean, *tables(clean, lambda d, rng: d)) == []


def test_an_empty_study_one_arm_and_missing_metrics_have_no_finding():
    assert diagnose(StudyData("empty", StudyDescription(), None, [], [])) == []
    assert diagnose(study(("alone",))) == []
    bare = study()
    for run in bare.runs:
        run.histories.clear()
    assert diagnose(bare) == []
    assert diagnose(dataclasses.replace(bare, runs=[])) == []


# --- starvation --------------------------------------------------------------------------------------------------

REASONS = {
    "too_hard": "lower curriculum.levels.l2.admission.accuracy_min (now 0.125) or curriculum.levels.l2.quality_threshold",
    "too_easy": "raise curriculum.levels.l2.admission.accuracy_max (now 0.875) or curriculum.levels.l2.quality_threshold",
    "no_signal": "narrow curriculum.levels.l2.admission.accuracy_min (now 0.125) to accuracy_max (now 0.875), or raise",
    "errored": "see verify/*",
}


@pytest.mark.parametrize("verdict", REASONS)
def test_starvation_names_the_level_and_the_threshold(verdict):
    def plant(run, rng):
        if run.seed == 3:
            return
        for step in range(STEPS + 1, 2 * STEPS + 1):
            put(run, f"buffer/l2/groups/{verdict}", step, 60)
            put(run, "buffer/l2/groups/admitted", step, 2)
            put(run, "buffer/l2/groups/generated", step, 64)
            put(run, "buffer/l2/fill_fraction", step, 2 / 6)

    (found,) = only(diagnose(study(plant=plant)), "starved")
    assert (found.arm, found.level) == ("other", "l2")
    assert "starved in 3 of 4 runs (60 of 80 steps without an update" in found.sentence
    assert f"groups were {verdict.replace('_', ' ')}" in found.sentence and REASONS[verdict] in found.sentence


def test_starvation_by_too_few_rounds():
    def plant(run, rng):
        for step in range(1, STEPS + 1, 2):
            put(run, "buffer/l1/groups/admitted", step, 5)
            put(run, "buffer/l1/fill_fraction", step, 5 / 6)

    (found,) = only(diagnose(study(plant=plant)), "starved")
    assert "raise curriculum.levels.l1.admission.max_rounds (now 8)" in found.sentence


def test_a_level_that_the_budget_cut_short_is_not_starved():
    def plant(run, rng):
        put(run, "buffer/l2/fill_fraction", 2 * STEPS, 0.5)

    assert diagnose(study(plant=plant)) == []


# --- entropy, forgetting, clips, variance ------------------------------------------------------------------------


def test_entropy_collapse():
    def plant(run, rng):
        change(run, "policy/l2/entropy", lambda step, v: 0.1 * 0.7 ** (step - STEPS))

    (found,) = only(diagnose(study(plant=plant)), "entropy_collapse")
    assert (found.arm, found.level) == ("other", "l2")
    assert "in 4 of 4 runs" in found.sentence and "clip.high (now 0.28)" in found.sentence


def test_entropy_that_starts_low_or_falls_by_half_is_no_collapse():
    def low(run, rng):
        for level in ("l1", "l2"):
            change(run, f"policy/{level}/entropy", lambda step, v: v / 20)

    assert diagnose(study(plant=low)) == []


def forget(run, rng):
    """Easy falls by 0.2 while l2 trains."""
    change(run, "eval/heldout_easy/avg_at_k", lambda step, v: v if step <= STEPS else 0.75 - 0.01 * (step - STEPS))
    for step in (30, 40):
        put(run, "score", step, statistics.fmean(run.by_step(f"eval/{s}/avg_at_k")[step] for s in SUITES))


def test_forgetting():
    findings = diagnose(study(plant=forget))
    assert {f.kind for f in findings} <= {"forgetting", "few_seeds"}
    found = next(f for f in findings if f.kind == "forgetting")
    assert (found.arm, found.level) == ("other", "l2")
    before = statistics.fmean(
        clean_run("other", seed).by_step("eval/heldout_easy/avg_at_k")[STEPS] for seed in range(4)
    )
    assert f"heldout_easy fell from {before:.3f} to 0.550 while level l2 trained (mean of 4 runs" in found.sentence


def test_a_fall_within_the_noise_of_few_problems_is_no_forgetting():
    small = study(("other",), seeds=1, plant=forget)
    for run in small.runs:
        run.params.update({f"evaluation.suites.{s}.generated.problems": "20" for s in SUITES})
    # a fall of 0.2 of 20 problems has an error of sqrt(.75 .25 / 20 + .55 .45 / 20) = .148
    assert diagnose(small) == []
    for run in small.runs:
        run.params.update({f"evaluation.suites.{s}.generated.problems": "200" for s in SUITES})
    assert only(diagnose(small), "forgetting")


def test_a_single_level_has_no_other_level_to_blame():
    run = clean_run("one", 0, levels=("l1",))
    change(run, "eval/heldout_easy/avg_at_k", lambda step, v: 0.8 - 0.02 * step)
    assert diagnose(StudyData("s", StudyDescription(), None, [run], [])) == []


def test_problem_by_problem_forgetting_is_found_with_few_problems():
    """60 problems, 14 of them lost: paired by problem that is 4.2 standard errors, as two samples of 60 it is 2.8."""
    run = clean_run("one", 0)
    change(run, "eval/heldout_easy/avg_at_k", lambda step, v: 34 / 60 if step > STEPS else 0.8)
    run.params.update({f"evaluation.suites.{s}.generated.problems": "60" for s in SUITES})
    alone = StudyData("s", StudyDescription(), None, [run], [])
    assert diagnose(alone) == []
    rows = [
        {"suite": "heldout_easy", "step": step, "problem": f"q{i}", "difficulty": None, "samples": 1, "correct": right}
        for step in range(0, 2 * STEPS + 1, STEPS // 2)
        for i in range(60)
        for right in [int(i < 48 and not (step > STEPS and i < 14))]
    ]
    (found,) = only(diagnose(alone, outcomes={run.run_id: rows}), "forgetting")
    assert (
        "fell from 0.800 to 0.567 while level l2 trained (mean of 1 run, another seed may not show it, 4.2 standard"
        in found.sentence
    )


@pytest.mark.parametrize(
    ("sides", "words"), [(["high"], "high (now 0.28) never binds"), (["low", "high"], "never bind")]
)
def test_a_clip_bound_that_never_binds(sides, words):
    def plant(run, rng):
        for side in sides:
            change(run, f"policy/l1/clip_fraction/{side}", lambda step, v: 0.0)

    (found,) = only(diagnose(study(plant=plant)), "clip_never_binds")
    assert (found.arm, found.level) == ("other", "l1")
    assert words in found.sentence and ("inner_iterations" in found.sentence) == (len(sides) == 2)


def limited(arms: dict[str, tuple[int, int]], cut: dict[str, tuple[float, float]] | None = None, **changed: object):
    """A study whose arms have these limits at l1 and l2, and that share of truncated responses at every step."""
    data = study(tuple(arms))
    for run in data.runs:
        for i, level in enumerate(("l1", "l2")):
            run.params[f"curriculum.levels.{level}.max_response_tokens"] = str(arms[run.arm][i])
            for step in run.by_step(f"buffer/{level}/groups/generated"):
                put(run, f"train/{level}/all/truncation_rate", step, (cut or {}).get(run.arm, (0, 0))[i])
        run.params.update({k.replace("__", "."): str(v) for k, v in changed.items()})
    return data


def test_arms_that_differ_in_limits_that_never_bind_are_told():
    """`sweep=lengths` as it was: a gain of one arm over another was explained by a limit that never acted."""
    (found,) = only(diagnose(limited({"up": (44, 76), "flat": (60, 76)})), "limit_never_binds")
    assert (found.arm, found.level) == ("", "l1") and "(l1: up 44, flat 60 tokens)" in found.sentence
    (found,) = only(diagnose(limited({"up": (44, 76), "flat": (60, 60), "down": (76, 44)})), "limit_never_binds")
    assert found.level == "" and "(l1: up 44, flat 60, down 76; l2: up 76, flat 60, down 44 tokens)" in found.sentence


def test_limits_of_which_one_binds_are_a_comparison():
    assert diagnose(limited({"tight": (12, 76), "loose": (44, 76)}, {"tight": (0.1, 0.0)})) == []
    cut = {"tight": (0.1, 0.2), "down": (0.0, 0.3), "also": (0.0, 0.3)}
    assert diagnose(limited({"tight": (12, 40), "down": (40, 12), "loose": (44, 76)}, cut)) == []
    # down and also differ by 40 and 44 tokens at l1 alone, which is nothing
    arms = {"tight": (12, 40), "down": (40, 12), "also": (44, 12), "loose": (44, 76)}
    (found,) = only(diagnose(limited(arms, cut)), "limit_never_binds")
    assert found.level == "l1" and "(l1: down 40, also 44 tokens)" in found.sentence


def test_levels_whose_limits_never_bind_are_told_once_for_all_arms():
    (found,) = only(diagnose(limited({"a": (44, 76), "b": (44, 76), "c": (44, 76)})), "limit_never_binds")
    assert (found.arm, found.level) == ("", "")
    assert "in all arms, never cut an answer (l1 44, l2 76 tokens)" in found.sentence
    assert diagnose(limited({"a": (76, 76), "b": (76, 76)})) == []  # one limit for all: nobody reads it
    # an answer that never ends is cut by any limit
    (rare,) = only(diagnose(limited({"a": (44, 76), "b": (44, 76)}, {"b": (0.0, 0.009)})), "limit_never_binds")
    assert "cut next to no answers (0.9% at most)" in rare.sentence
    assert diagnose(limited({"a": (44, 76), "b": (44, 76)}, {"b": (0.0, 0.011)})) == []


def test_what_findings_on_limits_rest_on_is_read_from_the_store(monkeypatch):
    """A report reads few of the metrics of a run; a finding whose metric it leaves out is never made."""
    from eprli_lab.reporting.report import write

    read = []
    monkeypatch.setattr(write, "load_study", lambda uri, experiment, study, wanted, parent: read.append(wanted))
    write.read("sqlite:///x.db", "e", "s")
    data = limited({"up": (44, 76), "flat": (60, 76)})
    for run in data.runs:
        for name in [name for name in run.histories if not read[0](name)]:
            del run.histories[name]
    assert [f.kind for f in diagnose(data)] == ["limit_never_binds"]


def test_arms_with_other_strata_are_no_comparison_of_limits():
    data = limited({"l2": (44, 76), "l1": (76, 76)})
    for run in data.runs:
        run.params["curriculum.levels.l1.quality_threshold"] = "0.25" if run.arm == "l1" else "0.5"
    (found,) = only(diagnose(data), "limit_never_binds")
    assert (found.arm, found.level) == ("", "")


@pytest.mark.parametrize(
    "acts",
    [
        {"algorithm.aggregation": "constant"},
        {
            f"curriculum.levels.{lv}.length_{k}": v
            for lv in ("l1", "l2")
            for k, v in (("term", "linear"), ("coef", 0.3))
        },
        {f"curriculum.levels.{lv}.reward": "mine.rewards:by_length" for lv in ("l1", "l2")},
    ],
)
def test_a_limit_that_acts_without_cutting_is_no_finding(acts):
    arms = {"up": (44, 76), "flat": (60, 60)}
    assert diagnose(limited(arms, **{k.replace(".", "__"): v for k, v in acts.items()})) == []
    idle = {
        "algorithm__aggregation": "constant",
        "algorithm__constant_tokens": 1,
        "curriculum__levels__l1__length_coef": 0,
    }
    assert len(only(diagnose(limited(arms, **idle)), "limit_never_binds")) == 1


def test_of_few_groups_nothing_is_said_of_limits():
    data = limited({"up": (44, 76), "flat": (60, 76)})
    for run in data.runs:
        kept = sorted(run.by_step("train/l1/all/truncation_rate"))[0]
        for level in ("l1", "l2"):
            change(run, f"buffer/{level}/groups/generated", lambda step, v, kept=kept: 7 if step == kept else 0)
    assert "limit_never_binds" not in {f.kind for f in diagnose(data)}  # 4 seeds x 7 groups


def test_reward_variance_that_differs_between_levels():
    def plant(run, rng):
        change(run, "buffer/l1/reward_variance/within", lambda step, v: v / 9)

    (found,) = only(diagnose(study(plant=plant)), "reward_variance")
    assert (found.arm, found.level) == ("other", "l1") and "a 3." in found.sentence

    def mean_only(run, rng):
        plant(run, rng)
        run.params["algorithm.advantage"] = "mean_only"

    assert diagnose(study(plant=mean_only)) == []


# --- between arms ------------------------------------------------------------------------------------------------


def test_updates_that_are_unequal_by_the_luck_of_the_seeds_are_not_named():
    made = {"plain": (30, 30, 32, 27), "lucky": (24, 24, 28, 30), "more": (34, 35, 36, 33)}
    found = study(arms=tuple(made))
    for run in found.runs:
        change(run, "progress/updates", lambda step, v, n=made[run.arm][run.seed]: v * n / 40)
    (one,) = only(diagnose(found), "unequal_updates")  # lucky made 11% fewer, 3 sometimes more
    assert one.arm == "more" and "16% more updates than plain (34.5 against 29.8)" in one.sentence


def test_unequal_updates_under_equal_tokens():
    def more(run, rng):
        change(run, "progress/updates", lambda step, v: 1.3 * v)

    (found,) = only(diagnose(study(plant=more)), "unequal_updates")
    assert found.arm == "other" and "made 30% more updates than plain (52.0 against 40.0)" in found.sentence

    def more_of_both(run, rng):
        more(run, rng)
        change(run, "progress/tokens", lambda step, v: 1.3 * v)

    assert diagnose(study(plant=more_of_both)) == []


def test_no_advice_that_the_study_already_followed():
    """An arm with as many updates, one whose levels are mixed, one with the wider clip: named in place of the advice."""

    def more(run, rng):
        change(run, "progress/updates", lambda step, v: 1.3 * v)

    def other_arm(name: str, **changed: object) -> StudyData:
        data = study(("plain", "other", name), plant=more, **{name: (0, 0, 0)})
        for run in data.of(name):
            run.params.update({k.replace("__", "."): str(v) for k, v in changed.items()})
        return data

    unmatched = only(diagnose(other_arm("third", budget__unit="updates")), "unequal_updates")[0].sentence
    assert unmatched.endswith("compare an arm with as many updates"), "40 are not as many as 52"
    matched = other_arm("matched", budget__unit="updates", budget__amount="52")
    for run in matched.of("matched"):
        more(run, None)
        change(run, "progress/tokens", lambda step, v: 1.3 * v)
    (found,) = only(diagnose(matched), "unequal_updates")
    assert "matched is plain with as many (52.0): against it other is at " in found.sentence
    assert "compare an arm" not in found.sentence
    waiting = described(other_arm("third"), after={"matched": {"budget.amount": "other progress/updates"}})
    waiting = described(waiting, arms=("plain", "other", "third", "matched"))
    sentences = [f.sentence for f in diagnose(waiting) if f.kind == "unequal_updates"]
    assert sentences[0].endswith("matched, which is to make as many, has no finished run yet")

    def inert_clip(**changed: object) -> str:
        data = other_arm("third", **changed)
        for run in data.of("other"):
            for side in ("low", "high"):
                change(run, f"policy/l1/clip_fraction/{side}", lambda step, v: 0.0)
        return next(f.sentence for f in diagnose(data) if f.kind == "clip_never_binds")

    assert inert_clip().endswith("see inner_iterations or minibatches")
    assert inert_clip(curriculum__levels__l1__minibatches=4).endswith(
        "see inner_iterations; the study's own arms: minibatches (third)"
    )

    def forgotten(**changed: object) -> str:
        data = study(("plain", "other", "third"), plant=forget)
        for run in data.of("third"):
            run.params.update({k.replace("__", "."): str(v) for k, v in changed.items()})
        return next(f.sentence for f in diagnose(data) if f.kind == "forgetting")

    assert forgotten().endswith("compare curriculum.schedule=mixed or curriculum.strata=cumulative")
    assert forgotten(curriculum__schedule="mixed").endswith(
        "compare curriculum.strata=cumulative; the study's own arms: curriculum.schedule=mixed (third)"
    )


def test_an_arm_that_changes_nothing_is_inert():
    data = study(("plain", "other", "copy"))
    ends = {r.seed: r.histories for r in data.of("plain")}
    for run in data.of("copy"):
        run.histories.update(ends[run.seed])
    (found,) = only(diagnose(data), "inert_arm")
    assert found.arm == "copy" and "the numbers of plain at all 4 common seeds" in found.sentence
    rows = {r.run_id: [{"suite": "s", "problem": "p", "step": 40, "correct": r.arm == "copy"}] for r in data.runs}
    assert diagnose(data, outcomes=rows) == [], "the same numbers of other problems"
    change(data.of("copy")[2], "progress/tokens", lambda step, v: v + 1)
    assert diagnose(data) == [], "one token at one seed is a trace"


def test_too_few_seeds_for_the_effect_claimed():
    def noisy(run, rng):
        change(run, "score", lambda step, v: v + {0: 0.12, 1: -0.02, 2: 0.06, 3: 0.0}[run.seed])

    data = study(plant=noisy)
    (found,) = only(diagnose(data), "few_seeds")
    differences = [data.of("other")[i].last("score") - data.of("plain")[i].last("score") for i in range(4)]
    assert f"{statistics.fmean(differences):+.3f} in score over 4 common seeds shows neither" in found.sentence
    assert (
        f"minimum detectable effect {minimum_detectable_effect(statistics.stdev(differences), 4):.3f}" in found.sentence
    )
    assert "seeds" in found.sentence.split("it takes ")[1]
    assert diagnose(data, margin=0.5) == [], "with so wide a margin the absence of a difference is shown"
    (one,) = only(diagnose(study(seeds=1)), "few_seeds")
    assert "one seed shows nothing" in one.sentence
    with pytest.raises(UserError, match=r"no such arm \(did you mean 'plain'\?\)"):
        diagnose(data, baseline="plan")


# --- labels ------------------------------------------------------------------------------------------------------


def test_suites_whose_labels_do_not_order_accuracy():
    mislabelled = study()
    for run in mislabelled.runs:
        easy, hard = run.histories["eval/heldout_easy/avg_at_k"], run.histories["eval/heldout_hard/avg_at_k"]
        run.histories.update({"eval/heldout_easy/avg_at_k": hard, "eval/heldout_hard/avg_at_k": easy})
    found = only(diagnose(mislabelled), "difficulty_order")
    assert len(found) == 2
    assert "heldout_medium is easier (0.400 correct) than heldout_easy (0.200)" in found[0].sentence


def tables(data: StudyData, label) -> tuple[dict, dict]:
    """Ledger and outcomes; `label(true difficulty, rng)` is the difficulty that is logged."""
    rng = random.Random(0)
    ledger, outcomes = {}, {}
    for run in data.runs:
        ledger[run.run_id], outcomes[run.run_id] = [], []
        for i in range(240):
            d = rng.random()
            right = sum(rng.random() < 0.9 - 0.7 * d for _ in range(16))
            row = {"level": f"l{1 + i % 2}", "step": i // 8 + 1, "verdict": "admitted", "accuracy": right / 16}
            ledger[run.run_id].append(row | {"difficulty": label(d, rng)})
            row = {"suite": "heldout_easy", "problem": f"q{i}", "step": 0, "samples": 16, "correct": right}
            outcomes[run.run_id].append(row | {"difficulty": label(d, rng)})
    return ledger, outcomes


def test_labels_that_do_not_order_accuracy():
    data = study(("alone",))
    found = only(diagnose(data, *tables(data, lambda d, rng: rng.random())), "difficulty_order")
    assert [f.level for f in found] == ["", "l1", "l2"]
    assert "over 480 groups" in found[1].sentence and "of the held-out problems before training" in found[0].sentence
    reversed_labels = only(diagnose(data, *tables(data, lambda d, rng: 1 - d)), "difficulty_order")
    assert "rank correlation +0." in reversed_labels[0].sentence
    assert diagnose(data, *tables(data, lambda d, rng: None)) == [], "without labels nothing is said"
    assert diagnose(data, *tables(data, lambda d, rng: min(1, max(0, d + rng.gauss(0, 0.2))))) == []


def test_every_kind_is_known_and_findings_are_in_order():
    def everything(run, rng):
        change(run, "policy/l1/clip_fraction/low", lambda step, v: 0.0)
        change(run, "policy/l2/entropy", lambda step, v: 0.001)
        change(run, "progress/updates", lambda step, v: 2 * v)

    kinds = [f.kind for f in diagnose(study(plant=everything))]
    assert kinds == ["entropy_collapse", "clip_never_binds", "unequal_updates"]
    assert len(set(KINDS)) == len(KINDS) == 10


# --- effects -----------------------------------------------------------------------------------------------------


def test_a_planted_effect_on_one_stratum_is_found_there():
    data = study(seeds=8, other=(0, 0, 0.05))
    effects = {e.suite: e for e in suite_effects(data)}
    assert list(effects) == list(SUITES)
    hard = effects.pop("heldout_hard")
    assert hard.baseline == "plain" and hard.p_holm < 0.01
    assert hard.difference.mean == pytest.approx(0.05, abs=0.01) and hard.difference.low > 0
    assert all(abs(e.difference.mean) < 0.01 and e.p_holm > 0.05 for e in effects.values())
    worse = {e.suite: e for e in suite_effects(study(seeds=8, other=(-0.05, 0, 0)))}
    assert worse["heldout_easy"].difference.high < 0


def test_effects_have_their_baseline():
    data = study(("a", "b", "c"))
    own = described(data, arm_baselines={"c": "b"})
    assert baselines(own) == {"b": "a", "c": "b"}
    assert baselines(own, "c") == {"a": "c", "b": "c"}
    found = {e.arm: e.baseline for e in suite_effects(own)}
    assert found == {"b": "a", "c": "b"} and suite_effects(study(("alone",))) == []
    assert math.isnan(suite_effects(own, "c", metric="pass_at_k")[0].difference.mean)
    with pytest.raises(UserError, match="baseline=d: planted has no such arm"):
        suite_effects(own, "d")
    assert params()["evaluation.boundary_problems"] == "0" and START[0] > START[1] > START[2]
