"""What a search found, in words and numbers. Its values chose its winners, so it is never a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprli_lab.escaping import visible
from eprli_lab.reporting.stats.importance import Trial, importances
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.trials import best_first, results_of, trial_name
from eprli_lab.tracking import names as metric_names

SHOWN = 10  # best trials


def summarise(
    plan: Plan, trials: list[Any], winners: list[tuple[str, Any]], early_end: str = ""
) -> tuple[str, dict[str, float]]:
    """(text, metrics of the tracking parent) of a search's frozen trials. `early_end`: why there are not all."""
    assert plan.search is not None
    states = [t.state.name for t in trials]
    results = [results_of(t) for t in trials]
    made = sum(map(len, results))
    seconds = sum(r["seconds"] for trial_results in results for r in trial_results)
    counts = {s: states.count(s) for s in ("COMPLETE", "PRUNED", "FAIL")}
    lines = [
        f"search {plan.study}: {len(trials)} trials ({counts['COMPLETE']} complete, {counts['PRUNED']} pruned, "
        f"{counts['FAIL']} failed); {made} of {len(trials) * len(plan.search.seeds)} runs made to their end, "
        f"{seconds:.0f} s of run time",
        *([early_end] if early_end else []),
        *_table(plan, trials),
        *_importance(plan, trials),
    ]
    few = counts["COMPLETE"] < plan.search.spec.confirm
    names = ", ".join(name for name, _ in winners)
    if names:
        lines.append(
            f"these values chose the winners and so flatter them; on fresh seeds, in the table of "
            f"{plan.study.removesuffix('-search')}: {names}"
            + (f" (fewer than confirm={plan.search.spec.confirm}: no more trials are complete)" if few else "")
        )
    else:
        lines.append(f"no winner is run again ({_no_winner(plan, counts)}): nothing of this enters a table")
    values = {metric_names.search(k.lower()): float(v) for k, v in counts.items()}
    return visible("\n".join(lines)), values | {
        metric_names.search("runs"): float(made),
        metric_names.search("seconds"): seconds,
    }


def _no_winner(plan: Plan, counts: Mapping[str, int]) -> str:
    assert plan.search is not None
    if not plan.search.spec.confirm:
        return "confirm=0"
    if not counts["COMPLETE"]:
        return f"no trial is complete: {counts['PRUNED']} were pruned, {counts['FAIL']} failed"
    return "the search did not come to its end; the same command goes on with it"


def _table(plan: Plan, trials: list[Any]) -> list[str]:
    """The best complete trials, a row each."""
    assert plan.search is not None
    ranked = best_first([t for t in trials if t.state.name == "COMPLETE"], plan.objectives[0])
    keys = [d.key for d in plan.search.dimensions]
    head = ["trial", *(o.metric for o in plan.objectives), *(_short(k, keys) for k in keys)]
    rows = [head]
    for t in ranked[:SHOWN]:
        values = [f"{v:.4g}" for v in t.values]
        rows.append([trial_name(t.number), *values, *(_value(t.params.get(k)) for k in keys)])
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
    assert plan.search is not None
    done = [t for t in trials if t.state.name == "COMPLETE"]
    points = [Trial(t.params, t.distributions, t.values[0]) for t in done]
    found = importances(points, plan.objectives[0].direction) if len(plan.search.dimensions) > 1 else {}
    if not found:
        return []
    keys = [d.key for d in plan.search.dimensions]
    shares = ", ".join(f"{_short(k, keys)} {v:.2f}" for k, v in found.items())
    return [f"share of the variance (fANOVA, {len(done)} complete trials): {shares}"]
