"""Looks of a running study (docs/power.md): when one is due, what it decides, and which seeds may be run now.

The looks that were taken are an attribute of the study in its storage, written once under its lock: a decision is a
function of the runs that were complete then, and every process and every resumed command reads the same one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import UserError
from eprli_lab.sweeping.look_state import TAKEN, Looked
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.states import TrialState
from eprli_lab.sweeping.trials import Trials

if TYPE_CHECKING:
    from eprli_lab.reporting.stats.looks import Look

PLANNED = "looks_plan"  # attribute of the study in its storage, beside TAKEN
FORCED = "looks: "  # begins the line of a plan that was changed with study.force; such a study claims nothing


def deciding_pairs(plan: Plan) -> list[tuple[str, str]]:
    """What must be decided before the study may stop: its contrasts; without any, every arm against its baseline."""
    from eprli_lab.reporting.looked import deciding_pairs as of_description

    return of_description(plan.description)


def take_looks(study: Any, plan: Plan, trials: Trials) -> list[str]:
    """Take every look that is due, under the study's lock; a sentence for each. `study`: Optuna's."""
    sentences: list[str] = []
    state = trials.looked
    while state is not None and not state.is_stopped and len(state.taken) < state.plan.looks:
        new = _due(plan, trials, state)
        if new is None:
            break
        from eprli_lab.reporting.stats.looks import is_over, write_looks

        taken = (*state.taken, new)
        scores = scores_of(trials)
        over = is_over(scores, deciding_pairs(plan), state.plan, taken)
        is_stopped = over and new.number < state.plan.looks
        study.set_user_attr(TAKEN, write_looks(taken, is_stopped))
        state = Looked(state.plan, taken, is_stopped)
        sentences.append(_sentence(plan, scores, state))
    trials.looked = state
    return sentences


def scores_of(trials: Trials) -> dict[str, dict[int, float]]:
    """Arm -> seed -> the first objective of the runs that are complete."""
    scores: dict[str, dict[int, float]] = {}
    for (arm, seed), result in trials.complete().items():
        scores.setdefault(arm, {})[seed] = float(result["objective"])
    return scores


def _due(plan: Plan, trials: Trials, state: Looked) -> Look | None:
    """The next look, when nothing of its seeds is left to be run; else None."""
    from eprli_lab.reporting.stats.looks import Look

    by_key = {run.key: run for run in plan.runs}
    missing = []
    for key, run in by_key.items():
        if run.seed not in state.open_seeds:
            continue
        trial = trials.states.get(key)
        if trial is TrialState.COMPLETE:
            continue
        if trial is not TrialState.FAILED and not (trial is None and trials.blocked_reason(run, by_key, plan.spec)):
            return None
        missing.append(key)
    return Look(len(state.taken) + 1, frozenset(missing))


def _sentence(plan: Plan, scores: Mapping[str, Mapping[int, float]], state: Looked) -> str:
    from eprli_lab.reporting.stats.looks import decided, examine

    pairs = deciding_pairs(plan)
    by_look = decided(examine(scores, pairs, state.plan, state.taken))
    names = [f"{a} - {b}" for (a, b), look in zip(pairs, by_look, strict=True) if look]
    look = state.taken[-1].number
    what = f"{len(names)} of {len(pairs)} comparisons decided" + (f" ({', '.join(names)})" if names else "")
    seeds = f"{len(state.plan.seeds_of(look))} of {len(state.plan.seeds)} seeds"
    if look == state.plan.looks:
        return f"look {look} of {state.plan.looks}, the last, after {seeds}: {what}"
    end = "the study stops here" if state.is_stopped else "it goes on"
    return f"look {look} of {state.plan.looks} after {seeds}: {what}; {end}"


def bind_looks(study: Any, plan: Plan, has_trials: bool) -> None:
    """Remember when the study is looked at, or refuse another plan once it has runs. Called under the study's lock.

    Raises UserError, unless `study.force`: then the change is recorded, and the study claims no error rate any more.
    """
    if plan.kind != "arms":
        return
    now = _bound(plan)
    known = study.user_attrs
    before: dict[str, Any] = json.loads(known.get(PLANNED, '{"looks": 1}'))
    if now == before:
        return
    if has_trials:
        changes = [f"{k}: {before.get(k, 'none')} -> {now.get(k, 'none')}" for k in _keys(before, now)]
        sentence = "; ".join(changes)
        if not plan.spec.force:
            raise UserError(
                f"the study {study.study_name} has runs, and its looks were fixed before the first ({sentence}): "
                "more seeds or other looks after a look spend its error rate twice; give the new one a name of its own "
                "(study.name=...), or go on with study.force=true, which is recorded and judges nothing any more"
            )
        at = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"at": at, "changes": [FORCED + sentence]}
        study.set_user_attr("forced", json.dumps([*json.loads(known.get("forced", "[]")), entry]))
        study.set_user_attr(TAKEN, "")
    study.set_user_attr(PLANNED, json.dumps(now))


def _bound(plan: Plan) -> dict[str, Any]:
    """What is fixed with the first run; of a study that is looked at once nothing is, but that."""
    spec = plan.spec
    if spec.looks == 1:
        return {"looks": 1}
    return {
        "looks": spec.looks,
        "spending": spec.spending,
        "seeds": list(spec.seeds),
        "comparisons": [f"{a} - {b}" for a, b in deciding_pairs(plan)],
        "objective": f"{plan.objectives[0].direction} {plan.objectives[0].metric}",
    }


def _keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> Sequence[str]:
    return [k for k in dict.fromkeys([*before, *now]) if before.get(k) != now.get(k)]


def not_run(attributes: Mapping[str, Any]) -> tuple[int, ...]:
    """Seeds that a study in its storage stopped before."""
    stored = _stored(attributes)
    return stored.plan.seeds[len(stored.open_seeds) :] if stored is not None and stored.is_stopped else ()


def status_lines(attributes: Mapping[str, Any]) -> list[str]:
    """What `eprli-lab status` says of the looks; nothing of a study that is looked at once."""
    stored = _stored(attributes)
    if stored is None:
        return []
    plan = stored.plan
    done = len(stored.taken)
    if stored.is_stopped:
        where = f"stopped at look {done} of {plan.looks}; {len(not_run(attributes))} seeds are not run"
    elif done == plan.looks:
        where = "all taken"
    else:
        where = f"{done} of {plan.looks} taken, the next after {len(plan.seeds_of(done + 1))} seeds"
    return [f"looks after {', '.join(map(str, plan.sizes))} seeds ({plan.spending}): {where}"]


def _stored(attributes: Mapping[str, Any]) -> Looked | None:
    """As the study's storage has it, without its plan; None of a study that is looked at once."""
    bound: dict[str, Any] = json.loads(attributes.get(PLANNED, '{"looks": 1}'))
    if bound["looks"] == 1:
        return None
    from eprli_lab.reporting.stats.looks import LookPlan, read_looks

    plan = LookPlan(tuple(bound["seeds"]), bound["looks"], bound["spending"])
    return Looked(plan, *read_looks(attributes.get(TAKEN, "")))
