"""Searches: the space's grammar, the points that are drawn, pruning between seeds and between evaluations, winners."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO, rest_exhaustive
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeping_work import arms, behave, make_plan, run

from eprli_lab.errors import UserError
from eprli_lab.sweeping.lifecycle import finish_search, start_study
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.space import Dimension, Requirement, expand, parse_dimension, set_values, sobol, value_at
from eprli_lab.sweeping.study import Study
from eprli_lab.sweeping.summary import summarise

pytestmark = pytest.mark.slow  # one of many

RATE, DECAY = "optim.learning_rate", "optim.weight_decay"
Q1, Q2 = (f"curriculum.levels.l{i}.quality_threshold" for i in (1, 2))


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")
    behave()


def node(space: dict[str, str], search: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "arms": arms("a"),
        "search_seeds": [7, 8, 9],
        "trials": 5,
        **more,
        "search": {"space": space, **(search or {})},
    }


def planned(*args: Any, **more: Any) -> Plan:
    return make_plan(node(*args, **more)).searching()


# --- the grammar -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "dimension", "ends"),
    [
        ("choice(a,b,3)", Dimension("k", choices=("a", "b", 3)), ("a", 3)),
        ("1,2,4", Dimension("k", choices=(1, 2, 4)), (1, 4)),
        ("range(1,5)", Dimension("k", low=1, high=4, step=1, whole=True), (1, 4)),
        ("range(2,9,3)", Dimension("k", low=2, high=8, step=3, whole=True), (2, 8)),
        ("range(0.125,1,0.125)", Dimension("k", low=0.125, high=0.875, step=0.125), (0.125, 0.875)),
        ("interval(0.1,0.5)", Dimension("k", low=0.1, high=0.5), (0.1, 0.5)),
        ("interval(1,8)", Dimension("k", low=1.0, high=8.0), (1.0, 8.0)),
        ("tag(log,interval(1e-4,1e-2))", Dimension("k", low=1e-4, high=1e-2, log=True), (1e-4, 1e-2)),
    ],
)
def test_the_grammar_is_hydras(text: str, dimension: Dimension, ends: tuple[Any, Any]) -> None:
    assert parse_dimension("k", text) == dimension
    assert dimension.at(0.0) == pytest.approx(ends[0]) and dimension.holds(dimension.at(0.0))
    last = dimension.at(1 - 1e-9)
    assert last == ends[1] if isinstance(ends[1], str) else last == pytest.approx(ends[1])
    assert not dimension.holds("other") and not dimension.holds(True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("choice(a)", "fewer than two different values"),
        ("choice(a,a)", "fewer than two different values"),
        ("range(1,2)", "fewer than two values (the stop is excluded)"),
        ("interval(2,1)", "needs low < high"),
        ("tag(log,interval(0,1))", "both positive"),
        ("tag(ln,interval(1,2))", "the only tag is log, not ln"),
        ("3", "is no space"),
        ("between(1,2)", "cannot be read"),
        ("choice(a", "cannot be read"),
    ],
)
def test_what_is_no_space_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_dimension("optim.x", text)
    assert words in str(caught.value) and str(caught.value).startswith("study.search.space.optim.x")


def test_keys_with_a_star_mean_every_level() -> None:
    tree = {"levels": {"l1": {"x": 1, "y": 0}, "l2": {"x": 1}}}
    assert expand(tree, "levels.*.x") == ["levels.l1.x", "levels.l2.x"] and expand(tree, "levels.*.z") == []
    assert value_at(tree, "levels.*.x") == 1 and value_at(tree, "levels.l1") == {"x": 1, "y": 0}
    changed = set_values(tree, {"levels.*.x": 5, "levels.l2.x": 6, "nowhere": 1}, keep=["levels.l1.x"])
    assert changed == {"levels": {"l1": {"x": 1, "y": 0}, "l2": {"x": 6}}} and tree["levels"]["l2"]["x"] == 1
    assert value_at(changed, "levels.*.x") is None


def test_requirements() -> None:
    r = Requirement("a.x < b.x")
    assert r.holds({"a.x": 1, "b.x": 2}) and not r.holds({"a.x": 2, "b.x": 2}) and r.holds({"a.x": 1})
    assert Requirement("a.x >= 0.5").holds({"a.x": 0.5})
    for text in ("a.x", "a.x = 1", "a.x < b.x < c"):
        with pytest.raises(UserError, match="is not of the form"):
            Requirement(text)


# --- what is refused before the first run ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "search", "more", "words"),
    [
        (
            {"optim.learning_rat": "interval(0.1,0.2)"},
            {},
            {},
            "unknown key 'optim.learning_rat' (did you mean 'optim.lea",
        ),
        ({RATE: "interval(0.5,2)"}, {}, {}, f"study.search.space: {RATE}: input should be less than 1, not 2"),
        ({"curriculum": "choice(l1,l9)"}, {}, {}, "study.search: curriculum=l9: there is no such curriculum"),
        ({"optim": "choice(1,2)"}, {}, {}, "optim is a part of the config, not a value"),
        ({}, {}, {}, "study.search.space is empty"),
        ({RATE: "interval(0.1,0.2)"}, {"sampler": "tpo"}, {}, "study.search.sampler"),
        (
            {RATE: "interval(0.1,0.2)"},
            {"prunner": "none"},
            {},
            "study.search.prunner: extra inputs are not permitted (did",
        ),
        ({RATE: "interval(0.1,0.2)"}, {"require": [f"{RATE} < {DECAY}x"]}, {}, f"unknown key '{DECAY}x' (did you mean"),
        ({RATE: "interval(0.1,0.2)"}, {}, {"search_seeds": [0, 1]}, "0 is also one of study.seeds: winners must be"),
        ({RATE: "interval(0.1,0.2)"}, {}, {"search_seeds": []}, "study.search_seeds is empty"),
        ({RATE: "interval(0.1,0.2)"}, {"pruner": "wilcoxon"}, {"search_seeds": [7]}, "wilcoxon compares seeds"),
        ({RATE: "interval(0.1,0.2)"}, {"pruner": "median"}, {}, "median compares evaluations within a run"),
        (
            {RATE: "interval(0.1,0.2)"},
            {"pruner": "wilcoxon"},
            {"objectives": [{"metric": "score"}, {"metric": "response_tokens", "direction": "minimize"}]},
            "cannot prune a search with several objectives",
        ),
        (
            {RATE: "interval(0.1,0.2)"},
            {},
            {"arms": arms("a", "t0001"), "baseline": "a"},
            "those of the search's trials",
        ),
    ],
)
def test_mistakes_are_refused_in_one_sentence(
    space: dict[str, str], search: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError) as caught:
        make_plan(node(space, search, **more))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_value_on_the_command_line_pins_and_a_space_replaces() -> None:
    from eprli_lab.config.compose import compose_tree
    from eprli_lab.sweeping.compose_plan import plan_from

    full = {
        "name": "s",
        "baseline": "a",
        "seeds": [0],
        "pinned": [],
        **node({RATE: "interval(0.1,0.2)", DECAY: "interval(0,1)"}),
    }

    def of(*arguments: str) -> Plan:
        return plan_from(compose_tree, full, "default", list(arguments))

    search = of(f"{RATE}=0.3").search
    assert search is not None and [d.key for d in search.dimensions] == [DECAY]
    assert search.runs("t0000", {DECAY: 0.5})[0].spec.optim.learning_rate == 0.3
    assert {r.spec.optim.learning_rate for r in of(f"{RATE}=0.3", "study.name=x").runs} == {0.3}, "in the arms too"
    search = of(f"{RATE}=choice(0.01,0.02)", "optim.max_grad_norm=interval(0.5,2.0)").search
    assert search is not None
    assert {d.key: d.text() for d in search.dimensions} == {
        RATE: "{0.01, 0.02}",
        DECAY: "[0, 1]",
        "optim.max_grad_norm": "[0.5, 2]",
    }
    with pytest.raises(UserError, match="everything is pinned"):
        of(f"{RATE}=0.3", f"{DECAY}=0.1")


def test_a_group_is_searched_with_the_keys_that_it_has() -> None:
    plan = planned({"curriculum": "choice(l1,l2)", "curriculum.levels.l2.clip.high": "interval(0.1,0.9)"})
    assert plan.search is not None and plan.search.start() is None
    key = "curriculum.levels.l2.clip.high"
    two = plan.search.runs("t0000", {"curriculum": "l2", key: 0.5})
    one = plan.search.runs("t0001", {"curriculum": "l1", key: 0.5})
    assert two[0].spec.curriculum.levels["l2"].clip.high == 0.5 and list(one[0].spec.curriculum.levels) == ["l1"]
    assert [r.seed for r in two] == [7, 8, 9] and two[1].directory == Path("outputs/study-search/t0000/seed8")
    assert two[0].spec.study == "study-search" and two[0].spec.arm == "t0000"


# --- the points --------------------------------------------------------------------------------------------------


def points(plan: Plan, count: int, value: Any = lambda p: 0.5) -> list[dict[str, Any]]:
    """The first points of a search, with values told."""
    study = Study(plan)
    try:
        for _ in range(count):
            task = study.claim()
            if task is None:
                break
            params = study.points()[task.number].params
            while study.succeed(task, {"score": value(params)}, 1.0) == "next":
                pass
        return [t.params for t in study.points()]
    finally:
        study.close()


@pytest.mark.parametrize("sampler", rest_exhaustive(["tpe", "qmc", "random", "gp"], 3))
def test_points_keep_the_requirements_are_new_and_reproducible(sampler: str, tmp_path: Path) -> None:
    space = {Q1: "range(0.125,1,0.125)", Q2: "range(0.25,1.125,0.125)"}
    plan = planned(space, {"sampler": sampler, "require": [f"{Q1} < {Q2}"]}, trials=12, search_seeds=[7])
    score = lambda p: p[Q1] - p[Q2] ** 2
    drawn = points(plan, 12, score)
    assert len(drawn) == 12 and len({tuple(p.values()) for p in drawn}) == 12
    assert drawn[0] == {Q1: 0.5, Q2: 1.0}, "the config as it stands comes first"
    assert all(p[Q1] < p[Q2] for p in drawn)
    os.chdir(tmp_path / "..")
    (tmp_path / "again").mkdir()
    os.chdir(tmp_path / "again")
    assert points(plan, 12, score) == drawn


def test_a_better_sampler_goes_where_the_values_are() -> None:
    space = {RATE: "interval(0.0001,0.9)", DECAY: "interval(0,1)"}
    value = lambda p: -((p[RATE] - 0.3) ** 2) - (p[DECAY] - 0.7) ** 2
    best = {}
    for sampler in ("gp", "random"):
        plan = planned(space, {"sampler": sampler}, trials=24, search_seeds=[7], name=sampler)
        best[sampler] = max(map(value, points(plan, 24, value)))
    assert best["gp"] > best["random"] and best["gp"] > -1e-3


def test_a_space_that_is_used_up_ends_the_search() -> None:
    plan = planned({RATE: "choice(0.1,0.2)", DECAY: "choice(0.0,0.5)"}, trials=20, search_seeds=[7])
    assert len(points(plan, 20)) == 4
    study = Study(plan)
    assert study.left() == 0 and study.claim() is None
    study.close()
    with pytest.raises(UserError, match="no point of the space validates"):
        Study(planned({RATE: "interval(0.1,0.2)"}, {"require": [f"{RATE} > 1"]}, name="never")).claim()


def test_processes_share_the_start_up_points() -> None:
    plan = planned({RATE: "interval(0.1,0.2)"}, {"sampler": "random"}, trials=6, search_seeds=[7])
    alone = points(plan, 6)
    other = planned({RATE: "interval(0.1,0.2)"}, {"sampler": "random"}, trials=6, search_seeds=[7], name="shared")
    here, there = Study(other), Study(other, process_id="elsewhere:1:1")
    for study in (here, there) * 3:
        assert study.claim() is not None
    assert [t.params for t in here.points()] == alone and len({p[RATE] for p in alone}) == 6


@given(st.integers(0, 50), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_sobol_points_lie_in_their_dimensions(index: int, seed: int) -> None:
    dimensions = [
        Dimension("a", choices=("x", "y")),
        Dimension("b", low=2, high=8, step=3, whole=True),
        Dimension("c", low=1e-4, high=1e-2, log=True),
    ]
    point = sobol(dimensions, index, seed)
    assert all(d.holds(point[d.key]) for d in dimensions)
    assert point == sobol(dimensions, index, seed)


# --- pruning -----------------------------------------------------------------------------------------------------


def test_wilcoxon_gives_a_point_up_after_three_worse_seeds() -> None:
    seeds = [7, 8, 9, 10, 11]
    plan = planned(
        {RATE: "interval(0.1,0.2)"}, {"pruner": "wilcoxon", "p_threshold": 0.13}, search_seeds=seeds, trials=2
    )
    study = Study(plan)
    good, bad = study.claim(), study.claim()
    assert good is not None and bad is not None
    outcomes = [study.succeed(good, {"score": 0.80 + s / 1000}, 1.0) for s in seeds]
    assert outcomes == ["next"] * 4 + ["complete"]
    outcomes = [study.succeed(bad, {"score": 0.70 + s / 500}, 1.0) for s in seeds[:3]]
    assert outcomes == ["next", "next", "pruned"], "three seeds, all worse: p = 1/8"
    states = [t.state.name for t in study.points()]
    assert states == ["COMPLETE", "PRUNED"] and study.points()[0].value == pytest.approx(0.809)
    assert study.winners(5) == [("t0000", study.points()[0].params)]
    text, values = summarise(plan, study.points(), study.winners(1))
    assert values["search/pruned"] == 1 and values["search/runs"] == 8
    assert "2 trials (1 complete, 1 pruned, 0 failed); 8 of 10 runs made" in text and "t0001" not in text
    study.close()


def test_a_search_that_was_killed_between_two_seeds_goes_on_with_the_next() -> None:
    plan = planned({RATE: "interval(0.1,0.2)"})
    study = Study(plan)
    task = study.claim()
    assert task is not None and study.succeed(task, {"score": 0.5}, 1.0) == "next"
    study.close()
    study = Study(plan)
    again = study.claim()
    assert again is not None and again.number == task.number and again.run.seed == 8


@pytest.mark.parametrize("pruner", rest_exhaustive(["median", "hyperband"]))
def test_evaluations_stop_a_run_that_is_behind(pruner: str) -> None:
    behave(curve_={"steps": 8, "seconds": 0.15})
    plan = make_plan(
        node(
            {RATE: "interval(0.1,0.9)"}, {"pruner": pruner, "sampler": "random"}, search_seeds=[7], trials=16, workers=2
        ),
        ["evaluation.curve_points=7"],
    ).searching()
    run(plan)
    study = Study(plan)
    trials = study.points()
    study.close()
    done = [t for t in trials if t.state.name == "COMPLETE"]
    pruned = [t for t in trials if t.state.name == "PRUNED"]
    assert len(done) + len(pruned) == 16 and pruned and done
    assert max(t.params[RATE] for t in pruned) < max(t.params[RATE] for t in done), "the best was kept"
    for t in pruned:
        directory = Path(f"outputs/study-search/t{t.number:04d}/seed7")
        assert json.loads((directory / "state.json").read_text())[0] < 8, "it was really stopped"


# --- winners -----------------------------------------------------------------------------------------------------


def test_winners_become_arms_on_fresh_seeds() -> None:
    plan = make_plan(node({RATE: "interval(0.1,0.9)"}, {"confirm": 2}, search_seeds=[7], seeds=[0, 1], trials=4))
    study = Study(plan.searching())
    while (task := study.claim()) is not None:
        study.succeed(task, {"score": study.points()[task.number].params[RATE]}, 1.0)
    winners = study.winners(2)
    best = sorted((t.params[RATE] for t in study.points()), reverse=True)
    study.close()
    assert [p[RATE] for _, p in winners] == best[:2]
    wide = plan.with_winners(winners)
    assert wide.description.arms == ("a", *(name for name, _ in winners))
    assert [r.seed for r in wide.runs] == [0, 0, 0, 1, 1, 1] and wide.kind == "arms" and wide.study == "study"
    assert wide.runs[1].spec.optim.learning_rate == best[0] and wide.runs[1].spec.study == "study"
    assert plan.description.kind == "arms" and plan.searching().description.confirmed_in == "study"
    same = plan.with_winners([("t0009", {RATE: 1e-4})])  # arm a is that very configuration
    assert same.runs == plan.runs and "t0009 is the same configuration as a" in same.notes[0]


def test_a_search_that_ended_early_says_so_and_confirms_nothing() -> None:
    plan = planned({RATE: "interval(0.1,0.9)"}, search_seeds=[7], trials=4, max_failures=1, retries=0)
    study = Study(plan)
    task = study.claim()
    assert task is not None and study.succeed(task, {"score": 0.5}, 1.0) == "complete"
    assert study.early_end() == "ended early, with 1 of 4 trials: it was interrupted"
    task = study.claim()
    assert task is not None and not study.fail(task, "loss nan") and study.claim() is None
    why = "ended early, with 2 of 4 trials: 1 runs had failed (study.max_failures=1)"
    assert study.early_end() == why and study.winners(1) == []
    text, _ = summarise(plan, study.points(), study.winners(1), study.early_end())
    assert why in text.splitlines() and "no winner is run again (the search did not come to its end; the same" in text
    study.close()


@pytest.mark.parametrize(
    ("figures", "how"), [(True, "again"), (False, "with figures (study.figures=false left them out)")]
)
def test_a_search_says_where_its_report_is(monkeypatch: pytest.MonkeyPatch, figures: bool, how: str) -> None:
    drawn: list[bool] = []

    def write_report(uri: str, experiment: str, study: str, out: Path, *, with_figures: bool, **_: Any) -> None:
        out.mkdir(parents=True)  # its runs are the tests' own and in no store
        drawn.append(with_figures)

    monkeypatch.setattr("eprli_lab.reporting.report.write.write_report", write_report)
    plan = planned({RATE: "interval(0.1,0.9)"}, search_seeds=[7], trials=1, figures=figures)
    study = Study(plan)
    task = study.claim()
    assert task is not None and study.succeed(task, {"score": 0.5}, 1.0) == "complete"
    parent = start_study(plan, [])
    *_, where, again = finish_search(plan, study.points(), study.winners(1), parent).splitlines()
    study.close()
    assert where == f"report: reports/{plan.study}/   open it: eprli-lab open {plan.study}"
    assert again == f"{how}: eprli-lab report study={plan.study}"
    assert drawn == [figures]
    assert "reports/" not in (Path("reports") / plan.study / "search.md").read_text(), "there it is kept"


def test_a_space_that_is_exhausted_confirms_what_there_is_and_says_so() -> None:
    plan = planned({DECAY: "choice(0.0,0.5)"}, {"confirm": 3}, search_seeds=[7], trials=9)
    study = Study(plan)
    while (task := study.claim()) is not None:
        study.succeed(task, {"score": float(task.number)}, 1.0)
    assert [name for name, _ in study.winners(3)] == ["t0001", "t0000"]
    text, _ = summarise(plan, study.points(), study.winners(3), study.early_end())
    assert "ended early, with 2 of 9 trials: the space holds no further point" in text
    assert "t0001, t0000 (fewer than confirm=3: no more trials are complete)" in text
    study.close()


def test_of_two_objectives_the_winners_are_from_the_front() -> None:
    objectives = [{"metric": "score"}, {"metric": "response_tokens", "direction": "minimize"}]
    plan = planned({RATE: "interval(0.1,0.9)"}, search_seeds=[7], trials=6, objectives=objectives)
    study = Study(plan)
    table = [(0.5, 20.0), (0.9, 30.0), (0.7, 22.0), (0.6, 25.0), (0.8, 28.0), (0.4, 21.0)]
    for score, tokens in table:
        task = study.claim()
        assert task is not None
        assert study.succeed(task, {"score": score, "response_tokens": tokens}, 1.0) == "complete"
    assert [name for name, _ in study.winners(9)] == ["t0001", "t0004", "t0002", "t0000"]
    assert [name for name, _ in study.winners(2)] == ["t0001", "t0000"], "spread over the front"
    assert study.points()[0].values == [0.5, 20.0]
    study.close()
