"""What a run and a sweep cost, from measured rates."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from eprli_lab.config.paths import ASSETS_DIR
from eprli_lab.config.spec import RunSpec
from eprli_lab.sweeping.plan import Plan


@cache
def measured_rates() -> dict[str, Any]:
    """What `python benchmarks/throughput.py` measured: {"models": {name: {"generate", "train"}, in s a token}, ...}."""
    rates: dict[str, Any] = json.loads((ASSETS_DIR / "throughput.json").read_text())
    return rates


def run_cost(spec: RunSpec) -> float | None:
    """CPU-seconds of one run on the machine that throughput.json was measured on; None for a model not measured."""
    rates = measured_rates()["models"].get(spec.model.name)
    if rates is None:
        return None
    tokens = spec.budget.amount
    levels = spec.curriculum.levels.values()
    if spec.budget.unit == "updates":
        groups = sum(level.buffer_groups * level.group_size for level in levels) / len(levels)
        tokens = spec.budget.amount * groups * rates["response_tokens"]
    elif spec.budget.unit == "seconds":
        return spec.budget.amount
    passes = sum(level.inner_iterations for level in levels) / len(levels)
    evaluation = spec.evaluation
    sizes = [s.generated.problems if s.generated else 0 for s in evaluation.suites.values()]
    between = sum(min(n, evaluation.boundary_problems or n) for n in sizes)
    stages = max(evaluation.curve_points, len(levels) - 1)
    answers = evaluation.samples * (2 * sum(sizes) + stages * between)
    cost = (
        tokens * (rates["generate"] + passes * rates["train"]) + answers * rates["response_tokens"] * rates["generate"]
    )
    return float(rates["start"] + cost)


def plan_cost(plan: Plan) -> float | None:
    """CPU-seconds of a whole sweep, no trial pruned; None where a model was not measured."""
    by_key = {run.key: run for run in plan.runs}
    # what an arm that waits for another one takes from it is not known yet: it counts like that one
    counted = [by_key[run.after.arm, run.seed] if run.after else run for run in plan.runs]
    costs = [run_cost(run.spec) for run in counted]
    if plan.search is not None:
        search_run = run_cost(plan.searching().sample)
        runs = plan.spec.trials * len(plan.search.seeds) + plan.search.spec.confirm * len(plan.spec.seeds)
        costs += [search_run] * runs
    return None if any(c is None for c in costs) else sum(c for c in costs if c is not None)
