"""What is derived of logged metrics, by hand; and no report types a metric's name itself."""

from __future__ import annotations

import ast
import math

import planted
import pytest
from conftest import REPO

from eprli_lab.reporting import derived
from eprli_lab.reporting.load import History, RunData
from eprli_lab.reporting.stats.importance import ENOUGH, Trial, importances

FAMILIES = (
    "train", "buffer", "policy", "eval", "optim", "time", "perf", "progress", "verify", "summary", "search", "heldout",
    "common", "model",
)  # fmt: skip


def run(**histories: list[float]) -> RunData:
    """One run; `admitted` stands for buffer/l1/groups/admitted, and so on."""
    names = {"admitted": "buffer/l1/groups/admitted", "generated": "buffer/l1/groups/generated"}
    names |= {"low": "policy/l1/clip_fraction/low", "within": "buffer/l1/reward_variance/within"}
    logged = {names.get(k, k): History.of(enumerate(values, start=1)) for k, values in histories.items()}
    return RunData("r", "a", 0, {}, logged)


def test_the_admission_rate_is_that_of_all_groups_together():
    runs = [run(admitted=[1, 2], generated=[2, 8]), run(admitted=[5], generated=[5])]
    assert derived.admission_rate(runs, "l1") == 8 / 15, "not the mean of .3 and 1"
    assert derived.admission_rate([*runs, run(admitted=[7])], "l1") == 8 / 15, "one that does not say both counts not"
    assert math.isnan(derived.admission_rate(runs, "l2")) and math.isnan(derived.admission_rate([], "l1"))


def test_counts_of_verdicts():
    runs = [run(admitted=[1, 2], generated=[2, 8]), run(admitted=[5, math.nan])]
    assert derived.verdict_counts(runs, "l1") == {
        "admitted": 3, "too_hard": 0, "too_easy": 0, "no_signal": 0, "errored": 0
    }  # fmt: skip
    assert derived.generated_groups(runs, "l1") == 10
    assert derived.sampled_levels(runs) == ["l1"] and derived.sampled_levels([run(admitted=[1])]) == []


def test_means_over_a_run():
    one, two = run(low=[0.1, 0.3], within=[0.5]), run(low=[0.2], within=[0.1, 0.3])
    assert derived.clip_fraction(one, "l1", "low") == pytest.approx(0.2)
    assert math.isnan(derived.clip_fraction(one, "l1", "high"))
    assert derived.clip_fractions([one, two], "l1", "low") == [0.1, 0.3, 0.2]
    assert derived.reward_variance([one, two], "l1", "within") == pytest.approx(0.35), "run by run"


def test_response_tokens_are_the_mean_over_suites():
    lengths = {f"eval/{suite}/response_tokens": [30.0, end] for suite, end in (("easy", 10.0), ("hard", 20.0))}
    assert derived.response_tokens(run(**lengths), ["easy", "hard"]) == 15
    assert derived.response_tokens(run(**lengths), ["hard"]) == 20


def test_values_of_a_seed_bear_the_names_of_columns():
    study = planted.study()
    values = derived.seed_values(study.runs[0], study)
    assert values["score/end"] == study.runs[0].last("score") and values["updates"] == 40
    assert {"admission_rate/l1", "clip_fraction_low/l1", "clip_fraction_high/l2"} <= set(values)


def test_importances_find_what_mattered():
    import optuna

    space = {"x": optuna.distributions.FloatDistribution(0, 1), "y": optuna.distributions.FloatDistribution(0, 1)}
    trials = [Trial({"x": i / 20, "y": (7 * i % 20) / 20}, space, i / 20) for i in range(20)]
    shares = importances(trials)
    assert next(iter(shares)) == "x" and shares["x"] > 0.8 and sum(shares.values()) == pytest.approx(1)
    assert importances(trials, "minimize") == shares, "variance has no direction"
    assert importances(trials[: ENOUGH - 1]) == {}
    assert importances([Trial({"x": t.values["x"]}, {"x": space["x"]}, t.score) for t in trials]) == {}


def hand_typed(source: str) -> list[str]:
    """Metric names that a module types or takes apart itself; docstrings may say them."""
    tree = ast.parse(source)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    out = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            out += [node.value] if node.value.split("/")[0] in FAMILIES and "/" in node.value else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            takes_apart = node.func.attr in ("split", "rsplit", "rpartition")
            slash = [a for a in node.args if isinstance(a, ast.Constant) and a.value == "/"]
            out += [ast.unparse(node)] if takes_apart and slash else []
    return out


def test_reports_neither_type_nor_take_apart_a_metric_name():
    for path in sorted((REPO / "eprli_lab" / "reporting").rglob("*.py")):
        assert hand_typed(path.read_text()) == [], path


def test_a_planted_name_is_found():
    assert hand_typed('x = f"eval/{suite}/avg_at_k"') == ["eval/"]
    assert hand_typed('def f(k):\n    """eval/x is said."""\n    return k.split("/")[1]') == ["k.split('/')"]
    assert hand_typed('x = run.last("progress/tokens")') == ["progress/tokens"]
