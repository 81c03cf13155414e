"""What a search found, in words and numbers. Its values chose its winners, so it is never a comparison."""

from __future__ import annotations

import json
from typing import Any

from eprli_lab.sweeping.plan import Plan

SHOWN = 10  # best trials
ENOUGH = 8  # complete trials, for importances


def summarise(plan: Plan, trials: list[Any], winners: list[tuple[str, Any]]) -> tuple[str, dict[str, float]]:
    """(text, metrics of the tracking parent) of a search's frozen trials."""
    assert plan.search is not None
    states = [t.state.name for t in trials]
    results = [json.loads(t.user_attrs.get("results", "[]")) for t in trials]
    made, seconds = sum(map(len, results)), sum(r["seconds"] for one in results for r in one)
    counts = {s: states.count(s) for s in ("COMPLETE", "PRUNED", "FAIL")}
    lines = [
        f"search {plan.study}: {len(trials)} trials ({counts['COMPLETE']} complete, {counts['PRUNED']} pruned, "
        f"{counts['FAIL']} failed); {made} of {len(trials) * len(plan.search.seeds)} runs made to their end, "
        f"{seconds:.0f} s of run time",
        *_table(plan, trials),
        *_importance(plan, trials),
    ]
    names = ", ".join(name for name, _ in winners)
    if names:
        lines.append(
            f"these values chose the winners and so flatter them; on fresh seeds, in the table of "
            f"{plan.study.removesuffix('-search')}: {names}"
        )
    else:
        lines.append("no winner is run again (confirm=0, or no complete trial): nothing of this enters a table")
    values = {f"search/{k.lower()}": float(v) for k, v in counts.items()}
    return "\n".join(lines), values | {"search/runs": float(made), "search/seconds": seconds}


def _table(plan: Plan, trials: list[Any]) -> list[str]:
    """The best complete trials, a row each."""
    assert plan.search is not None
    done = [t for t in trials if t.state.name == "COMPLETE"]
    sign = -1.0 if plan.objectives[0].direction == "maximize" else 1.0
    done.sort(key=lambda t: (sign * t.values[0], t.number))
    keys = [d.key for d in plan.search.dimensions]
    head = ["trial", *(o.metric for o in plan.objectives), *(_short(k, keys) for k in keys)]
    rows = [head]
    for t in done[:SHOWN]:
        values = [f"{v:.4g}" for v in t.values]
        rows.append([f"t{t.number:04d}", *values, *(_value(t.params.get(k)) for k in keys)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(key: str, keys: list[str]) -> str:
    """The shortest tail of a dotted key that no other key has."""
    parts = key.split(".")
    for n in range(1, len(parts)):
        tail = ".".join(parts[-n:])
        if sum(k == tail or k.endswith(f".{tail}") for k in keys) == 1:
            return tail
    return key


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _importance(plan: Plan, trials: list[Any]) -> list[str]:
    """fANOVA over the complete trials, for the first objective."""
    import optuna

    assert plan.search is not None
    done = [t for t in trials if t.state.name == "COMPLETE"]
    if len(done) < ENOUGH or len(plan.search.dimensions) < 2:
        return []
    study = optuna.create_study(direction=plan.objectives[0].direction)
    for t in done:
        study.add_trial(optuna.trial.create_trial(params=t.params, distributions=t.distributions, value=t.values[0]))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    keys = [d.key for d in plan.search.dimensions]
    shares = ", ".join(f"{_short(k, keys)} {v:.2f}" for k, v in found.items())
    return [f"share of the variance (fANOVA, {len(done)} complete trials): {shares}"]
