"""The rules by which a report calls things different, best or enough, at hand-made numbers: what each correction changes."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import planted
import pytest
from scipy import stats

from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.check import compare
from eprli_lab.reporting.diagnosis import diagnose
from eprli_lab.reporting.diagnosis.finding import equivalence_margin
from eprli_lab.reporting.load import History, RunData, StudyData
from eprli_lab.reporting.report.sections import study_page
from eprli_lab.reporting.report.write import summary_metrics
from eprli_lab.reporting.stats.aggregates import probability_of_improvement
from eprli_lab.reporting.stats.effects import suite_effects
from eprli_lab.reporting.stats.hierarchical import new_problems
from eprli_lab.reporting.stats.paired import holm, paired_sd
from eprli_lab.reporting.stats.passk import evaluation_interval
from eprli_lab.reporting.stats.power import minimum_detectable_effect, seeds_needed, seeds_range
from eprli_lab.reporting.tables.columns import MACHINE, best, chosen, columns
from eprli_lab.reporting.tables.document import document
from eprli_lab.reporting.tables.numbers import p_text
from eprli_lab.reporting.tables.render import render
from eprli_lab.reporting.tables.rows import ablation_table
from eprli_lab.reporting.tables.verdicts import headline, is_significant, verdict, verdicts
from eprli_lab.tracking.description import StudyDescription

APART = (0.01, 0.02, 0.03, 0.04)  # differences at four seeds: t = 3.87, p = .0305
P = float(stats.ttest_1samp(APART, 0).pvalue)


def scored(arms: Mapping[str, Sequence[float]], direction: str = "maximize", suite: str = "heldout_easy") -> StudyData:
    """A study whose runs, by seed, end at these scores; a seed that is nan has no run. One suite, equal to the score."""
    runs = [
        RunData(f"{arm}-{seed}", arm, seed, planted.params(), {})
        for arm, values in arms.items()
        for seed, value in enumerate(values)
        if not math.isnan(value)
    ]
    for run in runs:
        ends = History.of([(0, 0.3), (40, arms[run.arm][run.seed])])
        run.histories.update({"score": ends, f"eval/{suite}/avg_at_k": ends})
    description = StudyDescription(arms=tuple(arms), baseline=next(iter(arms)), seeds=(0, 1, 2, 3))
    study = StudyData("scored", description, None, runs, [])
    return planted.described(study, objectives=[("score", direction)])


def over(base: Sequence[float], differences: Sequence[float]) -> list[float]:
    return [b + d for b, d in zip(base, differences, strict=True)]


BASE = (0.5, 0.53, 0.49, 0.52)


def test_two_arms_with_a_p_of_three_percent_are_not_told_apart_after_holm():
    one = ablation_table(scored({"a": BASE, "b": over(BASE, APART)}))
    assert one.rows[1].p_holm == pytest.approx(P)
    assert headline(one).endswith("b (better).") and verdict(one.rows[1], "a", "score").endswith(
        "better than a (p .030)"
    )
    two = scored({"a": BASE, "b": over(BASE, APART), "c": over(BASE, APART)})
    table = ablation_table(two)
    assert [r.p_holm for r in table.rows[1:]] == pytest.approx([2 * P] * 2)
    assert headline(table) == "None of 2 arms can be told apart from a in score."
    assert verdict(table.rows[1], "a", "score").endswith(
        "better by itself, not after correction (p .030, .061 after Holm over 2 arms)"
    )
    found = [f for f in diagnose(two, margin=0.03) if f.kind == "few_seeds"]
    assert [f.arm for f in found] == ["b", "c"], "neither a difference nor its absence"
    assert not [f for f in diagnose(scored({"a": BASE, "b": over(BASE, APART)})) if f.kind == "few_seeds"]


def test_what_the_seeds_find_is_said_after_holm():
    found = diagnose(scored({"a": BASE, "b": over(BASE, APART), "c": over(BASE, APART)}), margin=0.03)
    sd = float(np.std(APART, ddof=1))
    assert minimum_detectable_effect(sd, 4, comparisons=2) == pytest.approx(
        minimum_detectable_effect(sd, 4, alpha=0.025)
    )
    needed = seeds_needed(0.03, sd, comparisons=2)
    assert needed == seeds_needed(0.03, sd, alpha=0.025) > seeds_needed(0.03, sd)
    sentence = next(f.sentence for f in found if f.kind == "few_seeds")
    assert f"minimum detectable effect {minimum_detectable_effect(sd, 4, comparisons=2):.3f} at power 0.8" in sentence
    low, high = seeds_range(0.03, sd, 4, 2)
    assert f"for 0.03 it takes about {needed} seeds ({low} to {high}, as far as 4 differences" in sentence
    assert low < needed < high and low == seeds_needed(0.03, sd * math.sqrt(3 / stats.chi2.ppf(0.975, 3)), alpha=0.025)


def test_effects_by_suite_are_corrected_over_arms_and_suites():
    study = planted.study(("plain", "other", "third"), other=(0.01, 0.01, 0.01))
    effects = suite_effects(study)
    raw = [e.difference.p for e in effects]
    assert [(e.arm, e.suite) for e in effects] == [(a, s) for a in ("other", "third") for s in planted.SUITES]
    assert [e.p_holm for e in effects] == pytest.approx(holm(raw))
    assert min(e.p_holm for e in effects) == pytest.approx(6 * min(raw)), "the smallest of six"


NOISE = (0.06, -0.05, 0.07, -0.02)  # mean .015, nothing to be told


@pytest.mark.parametrize(
    ("b", "c", "winner"),
    [
        (APART, (0.05, 0.061, 0.07, 0.079), "c"),  # from the baseline and from b, each at every seed
        (APART, over(APART, (0.02, 0.021, 0.022, 0.024)), "c"),  # p .008 and less
        (APART, over(APART, APART), None),  # p .0305 against both: .061 after Holm
        (APART, over(APART, (0.0, 0.02, 0.03, 0.05)), None),  # p .11 against b: not by a 95% interval
        (over(APART, NOISE), over(APART, (0.03, 0.031, 0.032, 0.033)), None),  # from the baseline, not from b
        (NOISE, (0.02, 0.021, 0.022, 0.023), None),  # as before, where the noisy one is the runner-up
    ],
)
def test_a_winner_is_told_apart_from_every_other_arm(b, c, winner):
    for sign, direction in ((1, "maximize"), (-1, "minimize")):
        arms = {n: over(BASE, [sign * v for v in d]) for n, d in {"a": (0.0,) * 4, "b": b, "c": c}.items()}
        table = ablation_table(scored(arms, direction))
        assert best(table, {x.name: x for x in columns(table)}["score"]) == winner, direction


def test_a_winner_is_told_apart_from_several_after_holm():
    """c over the baseline at p < .001; over b, and over d, at .0305: one of the two alone would do, both are .061."""
    c = over(BASE, (0.2, 0.201, 0.202, 0.203))
    b, d = over(c, [-v for v in APART]), over(c, [-v for v in reversed(APART)])
    for arms, winner in (({"b": b}, "c"), ({"b": b, "d": d}, None)):
        table = ablation_table(scored({"a": BASE, "c": c} | arms))
        assert best(table, {x.name: x for x in columns(table)}["score"]) == winner


def test_a_winner_over_the_runner_up_alone_is_none():
    """c is told apart from b, which comes second, and not from the baseline, which comes last and is noisy."""
    c = over(BASE, (0.04, 0.041, 0.042, 0.043))
    table = ablation_table(scored({"a": over(BASE, NOISE), "b": over(BASE, (0.02, 0.0215, 0.0225, 0.024)), "c": c}))
    assert best(table, {x.name: x for x in columns(table)}["score"]) is None


def test_a_difference_names_the_baseline_and_the_seeds_that_are_not_the_tables():
    nan = math.nan
    study = scored({"a": BASE, "b": over(BASE, APART), "c": [nan, *over(BASE, APART)[1:]]})
    study = planted.described(study, arm_baselines={"c": "b"})
    table = ablation_table(study)
    for form in ("md", "latex", "html"):
        assert render(table, chosen(table), form).count(" to b") == 1, form
    shown = {r["arm"]: r for r in csv.DictReader(io.StringIO(render(table, chosen(table, None, MACHINE), "csv")))}
    assert [shown[a]["baseline"] for a in "abc"] == ["a", "a", "b"]
    assert headline(table) == "None of 2 arms can be told apart from their baselines in score."
    text = table.text()
    assert "Differs from its baseline by:" in text and "c (from b): no config value" in text
    again = ablation_table(study, "c")
    assert again.format_difference(again.rows[0], again.rows[0].difference).endswith("(n=3)"), (
        "a has four seeds, c three of them"
    )
    assert "Differs from c by:" in again.text()


def test_differences_of_exactly_zero_are_identical_runs_and_no_equivalence():
    study = scored({"a": BASE, "b": BASE})
    table = ablation_table(study)
    assert table.rows[1].difference.identical and "identical in every logged metric" in verdicts(table, table.rows[1])
    assert cells(study, "what the seeds can show", "b")[3:6] == ["-", "-", "identical"]
    assert cells(study, "differences by suite", "b")[2] == "equal at every seed"
    assert compare(study)[0].endswith("over 4 common seeds: identical in every logged metric")


def test_equal_scores_are_not_identical_runs():
    """One token at one seed of one arm: what differs did act."""
    study = scored({"a": BASE, "b": BASE})
    for run in study.runs:
        run.histories["progress/tokens"] = History.of([(40, 100.0 + (run.run_id == "b-2"))])
        run.histories["time/total"] = History.of([(40, 3.0 + (run.arm == "b"))])
    row = ablation_table(study).rows[1]
    assert row.difference is not None and row.difference.identical and not row.is_identical
    assert verdict(row, "a", "score").endswith("equal in score at every seed, not in every other metric")
    assert cells(study, "what the seeds can show", "b")[5] == "equal"
    assert compare(study)[0].endswith("equal at every seed")
    assert not [f for f in diagnose(study) if f.kind == "inert_arm"]
    study.of("b")[2].histories["progress/tokens"] = History.of([(40, 100.0)])
    assert ablation_table(study).rows[1].is_identical, "the clock is no metric of what was learnt"
    elsewhere = dataclasses.replace(study, unequal=frozenset({frozenset("ab")}))
    assert not ablation_table(elsewhere).rows[1].is_identical, "nor is what was logged and not read"


def test_two_seeds_are_shown_and_not_judged():
    """Differences of .1 and .101: t = 201, p .003; with a third seed like them it is better."""
    for seeds, judged in ((2, False), (3, True)):
        study = scored({"a": BASE[:seeds], "b": over(BASE[:seeds], (0.1, 0.101, 0.102)[:seeds])})
        table = ablation_table(study)
        row = table.rows[1]
        assert row.difference is not None and row.difference.distinguishable and row.difference.p < 0.01
        assert is_significant(row) == judged and math.isnan(row.p_holm) != judged
        assert (best(table, {x.name: x for x in columns(table)}["score"]) == "b") == judged
        assert ("two seeds are shown, not judged" in verdicts(table, row)) != judged
        assert ("better" in verdicts(table, row)) == judged
        assert ("none is judged" in headline(table)) != judged
        assert ("different (p" in compare(study)[0]) == judged
        assert math.isnan(suite_effects(study)[0].p_holm) != judged
        assert ("| **" in table.markdown()) == judged
        assert ("textbf" in render(table, None, "latex")) == judged
        few = [f.sentence for f in diagnose(study) if f.kind == "few_seeds"]
        assert any("two seeds are shown, not judged; run three or more" in s for s in few) != judged
        assert "summary/b/p_holm" in summary_metrics(table) or not judged


def test_an_interval_and_the_p_beside_it_are_of_one_family():
    """Both uncorrected: the interval excludes zero exactly where p (raw) is below 5%; p (Holm) is said to be corrected."""
    study = scored({"a": BASE, "b": over(BASE, APART), "c": over(BASE, APART)})
    table = ablation_table(study)
    [accuracy] = [b for b in document(table).blocks if b.title == "accuracy"]
    assert list(accuracy.header)[-3:] == ["difference to a [95%]", "p (raw)", "p (Holm)"]
    assert [c.text for c in accuracy.rows[1]][-3:] == ["+.025 [+.004, +.046]", ".030", ".061"]
    assert accuracy.note.startswith(
        "[95%] and p (raw): each comparison by itself, uncorrected; p (Holm): corrected over 2"
    )
    assert cells(study, "differences by suite", "b")[2:5] == ["+.025 [+.004, +.046]", ".030", ".061"]
    assert compare(study)[0].endswith("by itself, not after correction (p .030, .061 after Holm)")
    picked = document(table, chosen(table, ["arm", "difference", "p_holm"]))
    assert picked.blocks[0].note == accuracy.note


def test_named_contrasts_stand_first_and_are_a_family_of_their_own():
    """b - a and c - b at p .0305 and less than .001; over two contrasts .0305 stays, as the larger of the two."""
    study = scored({"a": BASE, "b": over(BASE, APART), "c": over(BASE, (0.11, 0.121, 0.13, 0.139)), "d": BASE})
    study = planted.described(study, contrasts=("b - a", "c - b", "c - gone"))
    table = ablation_table(study)
    first, second, left_out = table.contrasts
    assert [first.p_holm, first.family] == pytest.approx([P, 2]) and second.difference.mean == pytest.approx(0.1)
    assert math.isnan(left_out.p_holm) and left_out.difference.n == 0
    says = headline(table)
    assert says.startswith(
        "b - a: +.025 [+.004, +.046] in score over 4 common seeds: better than a (p .030, .030 after"
    )
    assert "c - gone: left out: no finished run of gone." in says and says.endswith(
        "told apart from a in score: c (better)."
    )
    for form in ("text", "md", "html", "latex"):
        printed = " ".join(render(table, None, form).replace("%", "").split())
        assert 0 < printed.index("Contrast b - a: +.025 [+.004, +.046]") < printed.index("heldout")
    rows = list(csv.DictReader(io.StringIO(table.contrasts_csv())))
    assert [r["contrast"] for r in rows] == ["b - a", "c - b", "c - gone"]
    assert float(rows[1]["p_holm"]) == second.p_holm and rows[2]["difference"] == ""
    page = study_page(study, table, [], Artifacts({}, {}, []), None, 0.03)
    assert page.answers[0].comparison == "b - a" and page.answers[0].sentence.startswith("b scores .025 higher than a")
    assert page.sections[0].folds[-1].items[0][0] == "b - a:"
    assert summary_metrics(table)["summary/c - b/difference"] == second.difference.mean


def test_what_is_examined_differently_says_so_first():
    study = scored({"a": BASE, "b": over(BASE, APART)})
    assert "xamined" not in ablation_table(study).text()
    for run in study.of("b"):
        run.params["evaluation.temperature"] = "0.5"
    for allowed in (False, True):
        table = ablation_table(planted.described(study, varies_evaluation=allowed))
        note = "Examined differently: the arms differ in evaluation.temperature"
        assert headline(table).startswith(note) and table.text().splitlines()[1].startswith(note)
        assert verdicts(table, table.rows[1]).startswith("examined differently (evaluation.temperature): ")
        assert ("(study.varies_evaluation=true)" in headline(table)) == allowed
        for form in ("text", "md", "html", "latex"):
            assert note in render(table, chosen(table, ["arm", "difference"]), form), form
        page = study_page(table.study, table, [], Artifacts({}, {}, []), None, 0.03)
        assert page.first.startswith(note) and page.html().index(note) < page.html().index('class="answers"')
        assert page.answers[0].sentence.startswith("examined differently")
        assert compare(table.study)[0].startswith(note)


def test_equal_differences_show_no_spread_however_they_are_rounded():
    """.7 - .6, .8 - .7 and .3 - .2 differ in the last bit."""
    study = scored({"a": [0.6, 0.7, 0.2], "b": [0.7, 0.8, 0.3]})
    assert paired_sd(*({r.seed: r.last("score") for r in study.of(a)} for a in "ba")) == 0
    assert cells(study, "what the seeds can show", "b")[2:6] == [".000", "-", "-", "not shown"]
    bits = {s: {("u", str(q)): v for q in range(30)} for s, v in enumerate((0.7, 0.7))}
    assert math.isnan(new_problems(bits, {s: dict.fromkeys(v, 0.6) for s, v in bits.items()}).low)
    apart = {s: {("u", str(q)): 0.5 for q in range(3)} | {("v", str(q)): -0.5 for q in range(3)} for s in range(2)}
    flat = new_problems(apart, {s: dict.fromkeys(v, 0.0) for s, v in apart.items()})
    assert flat.mean == 0 and math.isnan(flat.low), "suites that differ and cancel are not nothing"
    assert evaluation_interval([(3, 1)] * 3).method == "wilson"


def test_the_margin_of_what_is_no_fraction_is_a_share_of_its_mean():
    study = scored({"a": BASE, "b": over(BASE, APART)})
    for run in study.runs:
        run.histories["response_tokens"] = History.of([(40, 20.0)])
    margins = [equivalence_margin(study, m) for m in ("score", "eval/aime24/pass_at_k", "response_tokens")]
    assert margins == pytest.approx([0.03, 0.03, 0.6])
    assert equivalence_margin(study, "response_tokens", 2.0) == 2.0 and equivalence_margin(study, "none") == 0.03


def test_small_p_is_not_zero():
    assert [p_text(p) for p in (0.0004, 0.001, 0.0312, 1.0, math.nan)] == ["<.001", ".001", ".031", "1.000", "-"]


def test_the_variance_of_new_problems_is_never_below_that_of_seeds_alone():
    """d = [[1, -1], [2, 4]]: seeds 2.25, problems 0, rest 1; t(1) sqrt(2.25), not sqrt(2.25 + 0 - 1)."""
    outcomes = {s: {("u", "p"): d[0], ("u", "q"): d[1]} for s, d in enumerate([(1.0, -1.0), (2.0, 4.0)])}
    zero = {s: dict.fromkeys(v, 0.0) for s, v in outcomes.items()}
    found = new_problems(outcomes, zero)
    assert found.mean == 1.5 and found.high - 1.5 == pytest.approx(12.7062 * 1.5, rel=1e-4)


# --- diagnosis ---------------------------------------------------------------------------------------------------


def falling(fall: float, seeds: int, **changed: object) -> list[str]:
    """Kinds found where heldout_easy falls by `fall` while l2 trains, at p = .6 of 1,024 problems."""
    study = planted.study(("alone",), seeds=seeds)
    for run in study.runs:
        run.params.update(planted.params(**changed))
        run.histories["eval/heldout_easy/avg_at_k"] = History.of([(0, 0.6), (20, 0.6), (30, 0.6), (40, 0.6 - fall)])
    return [f.kind for f in diagnose(study)]


def test_forgetting_is_known_better_from_more_seeds():
    """One run: 3 standard errors of .6 and .555 of 1,024 problems are .065. The mean of four: .033."""
    assert falling(0.045, seeds=4) == ["forgetting"] and falling(0.045, seeds=1) == []
    assert falling(0.08, seeds=1) == ["forgetting"]


def test_forgetting_is_more_than_the_luck_of_the_seeds():
    """Means of .6 and .54 over four seeds of 1,024 problems: 4 binomial errors, and less than one of the seeds' own."""
    study = planted.study(("alone",))
    for run, end in zip(study.runs, (0.40, 0.68, 0.46, 0.62), strict=True):
        run.histories["eval/heldout_easy/avg_at_k"] = History.of([(0, 0.6), (20, 0.6), (40, end)])
    assert diagnose(study) == []
    for run, end in zip(study.runs, (0.53, 0.54, 0.55, 0.54), strict=True):
        run.histories["eval/heldout_easy/avg_at_k"] = History.of([(0, 0.6), (20, 0.6), (40, end)])
    assert [f.kind for f in diagnose(study)] == ["forgetting"]


def test_two_seeds_do_not_make_updates_unequal():
    for seeds, kinds in ((2, []), (3, ["unequal_updates"])):
        study = planted.study(seeds=seeds)
        for run in study.of("other"):
            planted.change(run, "progress/updates", lambda step, v: 1.3 * v)
        assert [f.kind for f in diagnose(study) if f.kind != "few_seeds"] == kinds


def test_problems_before_training_count_once_not_once_a_seed():
    """60 problems at 4 seeds are 60, too few for a rank correlation; 120 are enough."""
    study = planted.study(("alone",))
    for problems, kinds in ((60, []), (120, ["difficulty_order"])):
        rows = [
            {
                "suite": "heldout_easy",
                "problem": str(i),
                "step": 0,
                "samples": 4,
                "correct": 4 * (i % 2),
                "difficulty": i,
            }
            for i in range(problems)
        ]
        found = diagnose(study, {}, {r.run_id: rows for r in study.runs})
        assert [f.kind for f in found] == kinds
    assert "are not shown to order accuracy" in found[0].sentence and "over 120 problems" in found[0].sentence


def test_forgetting_between_evaluations_of_few_problems_needs_a_larger_fall():
    """Partial evaluations, all but the first and the last, are of 64 problems: their error is .06, not .015."""
    assert falling(0.08, seeds=1, **{"evaluation.boundary_problems": 64}) == []
    assert falling(0.25, seeds=1, **{"evaluation.boundary_problems": 64}) == ["forgetting"]


@pytest.mark.parametrize(("above", "found"), [(0.03, []), (0.06, ["difficulty_order"])])
def test_suites_are_out_of_order_beyond_two_standard_errors(above, found):
    """Of two accuracies near .5 of 1,024 problems: .044."""
    study = planted.study(("alone",))
    for run in study.runs:
        run.histories.update({
            "eval/heldout_easy/avg_at_k": History.of([(0, 0.5), (40, 0.9)]),
            "eval/heldout_medium/avg_at_k": History.of([(0, 0.5 + above), (40, 0.9)]),
            "eval/heldout_hard/avg_at_k": History.of([(0, 0.1), (40, 0.9)]),
        })  # fmt: skip
    assert [f.kind for f in diagnose(study)] == found


# --- what the page says ------------------------------------------------------------------------------------------


def cells(
    study: StudyData, table: str, arm: str, artifacts: Artifacts | None = None, margin: float = 0.03
) -> list[str]:
    page = study_page(study, ablation_table(study), [], artifacts or Artifacts({}, {}, []), None, margin)
    grid = next(g for s in page.sections for g in planted.tables_of(s) if g.title == table)
    return next([c.text for c in row] for row in grid.rows if row[0].text == arm)


def test_the_margin_given_is_the_margin_tested():
    study = scored({"a": BASE, "b": over(BASE, APART)})
    shown = [cells(study, "what the seeds can show", "b", margin=m) for m in (0.03, 0.3)]
    assert [row[5] for row in shown] == ["not shown", "equivalent"]
    sd = float(np.std(APART, ddof=1))
    assert [row[4].split(" (")[0] for row in shown] == [str(seeds_needed(m, sd)) for m in (0.03, 0.3)]


def test_new_problems_are_of_the_arm_minus_its_baseline():
    study = scored({"a": BASE, "b": over(BASE, APART)})
    right = {"a": 1, "b": 3}
    rows = {
        r.run_id: [
            {
                "suite": "heldout_easy",
                "problem": str(i),
                "samples": 4,
                "correct": right[r.arm] - (r.arm == "b" and i == r.seed),
                "step": 40,
            }
            for i in range(10)
        ]
        for r in study.runs
    }
    assert cells(study, "what the seeds can show", "b", Artifacts(rows, {}, []))[6].startswith("+.475 [")


def test_improvement_is_of_the_arm_over_the_seeds_that_both_have():
    nan = math.nan
    a, b = [0.1, 0.9, 0.3, 0.4, 0.5, 0.6, nan], [nan, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8]
    study = scored({"a": a, "b": b})
    by_hand = probability_of_improvement([[v] for v in b[1:6]], [[v] for v in a[1:6]])
    assert by_hand.value == 0.8
    assert cells(study, "aggregates over suites", "b")[4] == f".800 [.{by_hand.low:.3f}, ".replace(
        ".0.", "."
    ) + f"{by_hand.high:.3f}]".replace("0.", ".")


def test_the_bars_of_the_pareto_figure_are_t_intervals():
    study = scored({"a": BASE, "b": over(BASE, APART)})
    for run in study.runs:
        run.histories["eval/heldout_easy/response_tokens"] = History.of([(40, 20.0 + run.seed)])
    [picture] = figures.pictures(study, only=["pareto"])
    bars = [c.lines[2] for c in picture.figure.axes[0].containers]
    half = stats.t.ppf(0.975, 3) * np.std([20, 21, 22, 23], ddof=1) / 2
    (left, _), (right, _) = bars[0][0].get_segments()[0]
    assert (left, right) == pytest.approx((21.5 - half, 21.5 + half))


def test_the_pareto_front_of_an_objective_to_be_minimised():
    """b is longer and, where less is better, worse: not on the front."""
    for direction, front in (("maximize", "a, b"), ("minimize", "a")):
        study = scored({"a": BASE, "b": over(BASE, APART)}, direction)
        for run in study.runs:
            run.histories["eval/heldout_easy/response_tokens"] = History.of([(40, 20.0 + 5 * (run.arm == "b"))])
        [picture] = figures.pictures(study, only=["pareto"])
        assert picture.alt.endswith(f"On the front: {front}.")
