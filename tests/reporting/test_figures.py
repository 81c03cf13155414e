"""Figures: what is drawn, read back from the artists and compared with hand-made numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import planted
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from eprli_lab.reporting import figures
from eprli_lab.reporting.figures import arms, curves, sampling, search, stages
from eprli_lab.reporting.figures.effects import effects_of
from eprli_lab.reporting.figures.palette import styles_of
from eprli_lab.reporting.figures.style import MOST_ARMS, shown_arms
from eprli_lab.reporting.load import History, RunData, StudyData
from eprli_lab.reporting.stats.power import minimum_detectable_effect
from eprli_lab.tracking.description import StudyDescription
from eprli_lab.training.metrics import CATALOGUE

pytestmark = pytest.mark.slow  # real stores and figures

NAMES = [
    "effects",
    "learning_curves",
    "effects_by_suite",
    "learning_curves_by_suite",
    "buffer",
    "reward_variance",
    "forgetting",
    "q_order",
    "clipping_entropy_kl",
]


def drawn(study: StudyData, *only: str) -> dict[str, figures.Picture]:
    return {p.name: p for p in figures.pictures(study, only=only or None)}


def test_a_band_is_the_t_interval_point_by_point():
    seeds = [[(0.0, 0.1), (1.0, 0.5)], [(0.0, 0.3), (1.0, 0.6)], [(0.0, 0.2), (1.0, 1.0)]]
    found = curves.band(seeds)
    assert found.x.tolist() == [0, 1] and found.mean == pytest.approx([0.2, 0.7])
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)  # sd of .1, .2, .3 is .1
    assert (found.low[0], found.high[0]) == pytest.approx((0.2 - half, 0.2 + half))
    assert np.isnan(curves.band(seeds[:1]).low).all(), "one seed has no interval"
    assert len(curves.band([[], []]).x) == 0


def test_learning_curves_draw_the_means_of_the_score():
    study = planted.study(seeds=3)
    picture = drawn(study, "learning_curves")["learning_curves"]
    [ax] = picture.figure.axes
    assert ax.get_ylabel() == "score"
    line = next(line for line in ax.lines if line.get_label() == "other (n=3)")
    hand = [np.mean([r.by_step("score")[s] for r in study.of("other")]) for s in (0, 10, 20, 30, 40)]
    assert line.get_ydata() == pytest.approx(hand) and line.get_xdata() == pytest.approx([0, 10, 20, 30, 40])
    assert f"other {hand[-1]:.3f}" in picture.alt
    assert [p.option for p in (picture, *picture.alternatives)] == ["tokens", "updates"], "seconds were not logged"
    ends = [row for row in picture.rows if row.arm == "other" and row.series == "mean"]
    assert [row.y for row in ends] == pytest.approx(hand) and {row.n for row in ends} == {3}


def test_a_suite_has_a_panel_of_curves():
    study = planted.study(seeds=3)
    ax = drawn(study, "learning_curves_by_suite")["learning_curves_by_suite"].figure.axes[2]
    assert ax.get_title(loc="left") == "heldout_hard"
    line = next(line for line in ax.lines if line.get_label() == "other")
    hand = [
        np.mean([r.by_step("eval/heldout_hard/avg_at_k")[s] for r in study.of("other")]) for s in (0, 10, 20, 30, 40)
    ]
    assert line.get_ydata() == pytest.approx(hand)


def test_two_seeds_have_no_band_and_are_drawn_themselves():
    for seeds, bands, lines in ((2, 0, 2 + 2 * 2), (3, 2, 2 + 2 * 3), (6, 2, 2)):
        [ax] = drawn(planted.study(seeds=seeds), "learning_curves")["learning_curves"].figure.axes
        assert (len(ax.collections), len(ax.lines)) == (bands, lines), seeds


def test_the_score_is_that_over_the_problems_which_every_evaluation_asks_where_it_was_logged():
    study = planted.study(seeds=2)
    assert curves.objective_over_time(study) == "score"
    for run in study.runs:
        for step, value in run.by_step("score").items():
            planted.put(run, "common/score", step, value / 2)
        run.params["evaluation.boundary_problems"] = "32"
    picture = drawn(study, "learning_curves")["learning_curves"]
    assert "over the problems that every evaluation asks" in picture.title
    half = np.mean([r.last("score") for r in study.of("plain")]) / 2
    assert f"plain {half:.3f}" in picture.alt
    assert curves.objective_over_time(planted.described(study, objectives=[("loss", "minimize")])) == "loss"


def test_the_words_of_a_curve_say_where_runs_ended():
    """Seeds that made unequal numbers of updates share only a part of the axis; the end is that of the runs."""
    study = planted.study(seeds=2)
    planted.change(study.runs[1], "progress/updates", lambda step, value: 2 * value)
    end = np.mean([r.last("score") for r in study.of("plain")])
    [over_updates] = drawn(study, "learning_curves")["learning_curves"].alternatives
    assert f"plain {end:.3f}" in over_updates.alt
    assert list(drawn(study, "learning_curves_updates")) == ["learning_curves"], "asked for by its own name"


def test_pass_at_k_over_k_by_hand():
    """Samples 3, correct 0, 1, 3: pass@1 is (0 + 1/3 + 1) / 3, pass@2 (0 + 2/3 + 1) / 3, pass@3 2/3."""
    rows = [{"samples": 3, "correct": c} for c in (0, 1, 3)]
    ks, shares = zip(*sampling.over_k(rows), strict=True)
    assert ks == (1, 2, 3) and shares == pytest.approx((4 / 9, 5 / 9, 2 / 3))
    assert sampling.over_k([*rows, {"samples": 2, "correct": 0}])[-1] == pytest.approx((2, 5 / 12))
    assert sampling.over_k([]) == []


def test_pass_at_k_before_and_after():
    study = planted.study(seeds=2)
    outcomes = {
        run.run_id: [
            {"suite": "heldout_hard", "step": step, "samples": 2, "correct": int(step and run.arm == "other")}
            for step in (0, 40)
        ]
        for run in study.runs
    }
    picture = {p.name: p for p in figures.pictures(study, only=["pass_at_k"], outcomes=outcomes)}["pass_at_k"]
    [ax] = [ax for ax in picture.figure.axes if ax.get_visible()]
    lines = {line.get_label(): line.get_ydata().tolist() for line in ax.lines}
    lines = {label: y for label, y in lines.items() if not label.startswith("_")}
    assert lines == {"before training": [0, 0], "plain": [0, 0], "other": [0.5, 1]}
    assert "heldout_hard: before 0.000 to 0.000, plain 0.000 to 0.000, other 0.500 to 1.000" in picture.alt
    once = {k: [o | {"samples": 1, "correct": 0} for o in rows] for k, rows in outcomes.items()}
    assert all(not list(figures.pictures(study, only=["pass_at_k"], outcomes=o)) for o in (once, {}))


def test_a_column_of_panels_is_numbered_where_it_ends():
    axes = drawn(planted.study(arms=tuple("abcde"), seeds=2), "reward_variance")["reward_variance"].figure.axes
    numbered = [any(t.get_visible() for t in ax.get_xticklabels()) for ax in axes if ax.get_visible()]
    assert numbered == [False, False, True, True, True], "three columns, the last ends in the first row"
    axes = drawn(planted.study(arms=tuple("abcd"), seeds=2), "reward_variance")["reward_variance"].figure.axes
    assert len(axes) == 4 and axes[0].get_subplotspec().get_gridspec().ncols == 2, "as even as two rows can be"


def test_the_forest_draws_intervals_and_every_seed():
    study = planted.study(other=(0, 0, 0.05))
    picture = drawn(study, "effects")["effects"]
    ax = picture.figure.axes[0]
    assert ax.get_xlabel() == "difference in score"
    mine, theirs = ({r.seed: r.last("score") for r in study.of(a)} for a in ("other", "plain"))
    points = [mine[s] - theirs[s] for s in range(4)]
    lines = [line.get_xdata() for line in ax.lines]
    assert any(len(x) == 4 and x == pytest.approx(points) for x in lines), "seeds"
    half = stats.t.ppf(0.975, 3) * np.std(points, ddof=1) / 2
    ends = [np.mean(points) - half, np.mean(points) + half]
    assert any(len(x) == 2 and np.asarray(x, float) == pytest.approx(ends) for x in lines), "interval"
    assert f"{np.mean(points):+.3f}".replace("0.", ".") in picture.alt


def test_the_forest_begins_with_the_contrasts_and_marks_what_is_detectable():
    study = planted.described(planted.study(arms=("a", "b", "c"), seeds=5), contrasts=("c - b",))
    rows = effects_of(study)
    assert [(e.arm, e.reference, e.is_contrast) for e in rows] == [
        ("c", "b", True),
        ("b", "a", False),
        ("c", "a", False),
    ]
    sd = np.std(list(rows[0].seeds.values()), ddof=1)
    assert rows[0].detectable == pytest.approx(minimum_detectable_effect(sd, 5)), "alone in its family"
    sd = np.std(list(rows[1].seeds.values()), ddof=1)
    assert rows[1].detectable == pytest.approx(minimum_detectable_effect(sd, 5, comparisons=2))
    ax = drawn(study, "effects")["effects"].figure.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["c − b (n=5)", "b (n=5)", "c (n=5)"]
    ends = [line.get_xdata() for line in ax.lines if line.get_marker() == "|" and len(line.get_xdata()) == 2]
    assert any(x == pytest.approx([-rows[0].detectable, rows[0].detectable]) for x in ends)
    assert not any(e.is_contrast for e in effects_of(study, "b")), "another baseline was asked for"
    few = planted.described(planted.study(arms=("a", "b", "c"), seeds=2), contrasts=("c - b", "c - a"))
    first = effects_of(few)[0]
    sd = np.std(list(first.seeds.values()), ddof=1)
    assert first.detectable == pytest.approx(minimum_detectable_effect(sd, 2, comparisons=2)), "two seeds count too"


def test_the_forest_says_what_an_arm_is_compared_to_where_that_differs():
    study = planted.study(arms=("a", "b", "c"))
    labels = lambda s: [t.get_text() for t in drawn(s, "effects")["effects"].figure.axes[0].get_yticklabels()]
    assert labels(study) == ["b (n=4)", "c (n=4)"]
    study = planted.described(study, arm_baselines={"c": "b"})
    assert labels(study) == ["b − a (n=4)", "c − b (n=4)"]


def test_effects_by_suite_are_the_suites():
    study = planted.study(seeds=3, other=(0, 0, 0.2))
    picture = drawn(study, "effects_by_suite")["effects_by_suite"]
    assert [ax.get_title(loc="left") for ax in picture.figure.axes] == list(planted.SUITES)
    difference = np.mean([a.last("eval/heldout_hard/avg_at_k") for a in study.of("other")]) - np.mean(
        [a.last("eval/heldout_hard/avg_at_k") for a in study.of("plain")]
    )
    [row] = [r for r in picture.rows if r.panel == "heldout_hard" and r.series == "difference"]
    assert row.y == pytest.approx(difference) and row.low < difference < row.high and row.arm == "other - plain"


def test_an_arm_has_one_look_in_every_figure_whichever_arms_are_shown():
    names = tuple(f"a{i:02d}" for i in range(12))
    study = planted.study(arms=names, seeds=2, a10=(0.2, 0.2, 0.2))
    style = styles_of(names)["a10"]
    for name in ("learning_curves", "clipping_entropy_kl"):
        for picture in drawn(study, name).values():
            lines = [n for ax in picture.figure.axes for n in ax.lines if n.get_label().split(" ")[0] == "a10"]
            assert lines and {(n.get_color(), n.get_marker()) for n in lines} == {(style.colour, style.marker)}, name
    ax = drawn(study, "buffer")["buffer"].figure.axes[[*shown_arms(study)].index("a10") * 2]
    assert to_hex(ax.patches[0].get_facecolor()).upper() == style.colour


def test_the_front_is_who_nobody_beats():
    points = {"a": (10.0, 0.5), "b": (20.0, 0.8), "c": (20.0, 0.7), "d": (30.0, 0.8), "e": (math.nan, 1.0)}
    assert arms.pareto_front(points) == ["a", "b"]
    assert set(arms.pareto_front({"a": (1.0, 1.0), "b": (1.0, 1.0)})) == {"a", "b"}, "equals do not beat each other"


def test_stages_belong_to_the_level_that_trained_last():
    run = planted.clean_run("x", 0)  # l1 trains in steps 1-20, l2 in 21-40; evaluations every ten
    history = run.by_step("eval/heldout_easy/avg_at_k")
    assert stages.stages(run, "heldout_easy") == {"start": history[0], "l1": history[20], "l2": history[40]}


def test_the_forgetting_cells_are_the_means():
    study = planted.study(seeds=2)
    picture = drawn(study, "forgetting")["forgetting"]
    image = picture.figure.axes[0].collections[0].get_array()
    hand = np.mean([r.by_step("eval/heldout_hard/avg_at_k")[20] for r in study.of("plain")])
    assert float(image[2, 1]) == pytest.approx(hand)
    assert any(t.get_text() == f"{hand:.2f}" for t in picture.figure.axes[0].texts)


def test_verdicts_stack_to_what_was_generated():
    study = planted.study(seeds=2)
    figure = drawn(study, "buffer")["buffer"].figure
    ax = next(a for a in figure.axes if a.get_title(loc="left") == "plain, level l1")
    areas = {}  # verdict -> groups, mean over seeds
    for step in ax.patches:
        values, edges, below = step.get_data()
        areas[step.get_label()] = float(((values - below) * np.diff(edges)).sum())
    hand = np.mean([r.total("buffer/l1/groups/generated") for r in study.of("plain")])
    assert sum(areas.values()) == pytest.approx(hand)
    assert areas["admitted"] == pytest.approx(6 * planted.STEPS)
    assert {p.get_label(): p.get_alpha() for p in ax.patches[:2]} == {"admitted": None, "too hard": 0.62}
    assert to_hex(ax.patches[0].get_facecolor()).upper() == styles_of(study.arms)["plain"].colour


def test_every_picture_has_words_and_numbers_and_is_written_the_same_twice(tmp_path: Path):
    (tmp_path / "again").mkdir()
    for name, picture in drawn(planted.study(seeds=5)).items():
        assert picture.title and any(c.isdigit() for c in picture.alt) and "nan" not in picture.alt, name
        formats = ("png", "svg", "csv", *(("pdf",) if name == "effects" else ()))
        first = figures.write(picture, tmp_path, formats)
        assert len(first) == len(formats) * (1 + len(picture.alternatives)), name
        second = figures.write(picture, tmp_path / "again", formats)
        assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second], name
        heads = [p.read_bytes()[:5] for p in first]
        assert heads[0][1:4] == b"PNG" and heads[1] == b"<?xml" and heads[2] == b"panel"
        assert name != "effects" or heads[3] == b"%PDF-"


def test_profiles_from_five_seeds_only():
    assert "profiles" not in drawn(planted.study(seeds=4))
    assert "profiles" in drawn(planted.study(seeds=5))
    assert set(NAMES) <= set(drawn(planted.study(seeds=4)))


def test_poor_studies_draw_what_there_is():
    assert drawn(StudyData("none", StudyDescription(), None, [], [])) == {}
    assert "effects" not in drawn(planted.study(arms=("only",)))
    assert "learning_curves" in drawn(planted.study(seeds=1))
    bare = planted.study()
    for run in bare.runs:
        run.histories.clear()
    assert drawn(bare) == {}
    for metric in list(planted.study().runs[0].histories)[::4]:
        study = planted.study(seeds=2)
        for run in study.runs:
            del run.histories[metric]
        drawn(study)


def test_of_many_arms_the_baseline_and_the_largest_differences_are_drawn():
    names = tuple(f"a{i:02d}" for i in range(30))
    study = planted.study(arms=names, seeds=2, a17=(0.2, 0.2, 0.2))
    kept = shown_arms(study)
    assert len(kept) == MOST_ARMS and "a00" in kept and "a17" in kept
    assert f"{MOST_ARMS} of 30 arms" in drawn(study, "learning_curves")["learning_curves"].title


def searched(trials: int, keys: tuple[str, ...] = ("algorithm.x", "algorithm.y", "algorithm.kind")) -> StudyData:
    """score = x, whatever y and kind are."""
    rng, runs = np.random.default_rng(0), []
    for i in range(trials):
        x, y = rng.random(2)
        given = dict(zip(keys, (json.dumps(x), json.dumps(y), ("one", "two")[i % 2]), strict=False))
        runs += [RunData(f"{i}-{s}", f"t{i:04d}", s, given, {"score": History.of([(0, x)])}) for s in (0, 1)]
    space = {k: "..." for k in keys}
    return StudyData("thresholds-search", StudyDescription(kind="search", space=space), None, runs, [])


def test_importance_names_its_evaluator_and_finds_the_planted_value():
    shares = search.trial_importances(search.trials(searched(30)))
    assert next(iter(shares)) == "algorithm.x" and shares["algorithm.x"] > 0.8
    found = drawn(searched(30))
    assert list(found) == ["importance", "response_surface"]
    assert "fANOVA over 30 complete trials" in found["importance"].title
    assert found["importance"].figure.axes[0].patches[0].get_width() == pytest.approx(shares["algorithm.x"])
    points = found["response_surface"].figure.axes[0].collections[-1].get_offsets()
    assert len(points) == 30
    assert drawn(searched(2)) == {}
    assert "response_surface" in drawn(searched(5, ("algorithm.x",)))


def test_a_value_swept_at_every_level_counts_and_a_pruned_trial_does_not():
    keys = ("curriculum.levels.l1.clip.high", "curriculum.levels.l2.clip.high")
    study = searched(12, keys)
    space = {"curriculum.levels.*.clip.high": "...", "curriculum": "l1 or l2"}
    study = planted.described(study, space=space, seeds=(0, 1))
    gone = study.runs.pop()
    assert gone.arm == "t0011"
    found = search.trials(study)
    assert found.names == [f"t{i:04d}" for i in range(11)]
    assert list(found.values) == ["curriculum.levels.*.clip.high"]
    assert found.values["curriculum.levels.*.clip.high"] == pytest.approx(found.scores)


def test_no_panel_of_reward_variance_is_cut_off():
    study = planted.study(arms=("plain", "other"))
    for run in study.of("other"):  # drawn last, and higher than all before
        planted.change(run, "buffer/l2/reward_variance/within", lambda step, value: value + 1)
    axes = drawn(study, "reward_variance")["reward_variance"].figure.axes
    highest = max(max(line.get_ydata()) for ax in axes for line in ax.get_lines() if len(line.get_ydata()))
    assert highest > 1.1 and all(ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > highest for ax in axes)


def test_a_contour_needs_triangles():
    keys = ("algorithm.x", "algorithm.y")
    assert len(drawn(searched(20, keys))["response_surface"].figure.axes[0].collections) > 1
    for y in ("0.5", None, "line"):  # one value, y = x, and y = 1 - x / 2
        study = searched(20, keys)
        for run in study.runs:
            x = float(run.params["algorithm.x"])
            run.params["algorithm.y"] = y if y == "0.5" else json.dumps(x if y is None else 1 - x / 2)
        assert len(drawn(study, "response_surface")["response_surface"].figure.axes[0].collections) <= 1


def test_trials_of_the_same_values_are_rings():
    study = searched(6, ("algorithm.x", "algorithm.y"))
    for run in study.runs[-4:]:  # the last two trials
        run.params.update({"algorithm.x": "0.5", "algorithm.y": "0.5"})
    sizes = drawn(study, "response_surface")["response_surface"].figure.axes[0].collections[-1].get_sizes()
    assert sizes.tolist() == [90, 45, 45, 45, 45, 45]


def test_every_metric_of_the_figures_is_in_the_catalogue_and_read():
    read = [m.name for m in CATALOGUE if figures.wanted(m.name.replace("{l}", "l1").replace("{suite}", "aime24"))]
    assert "buffer/{l}/reward_variance/within" in read and "policy/{l}/entropy" in read and "score" in read
    assert "train/{l}/all/accuracy" not in read and "optim/lr" not in read, "what no figure shows is not read"
