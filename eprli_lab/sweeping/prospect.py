"""A sweep before it runs: the seeds that each comparison needs, what the planned ones show, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.sweeping.cost import run_cost
from eprli_lab.sweeping.look_state import look_plan
from eprli_lab.sweeping.looks import deciding_pairs
from eprli_lab.sweeping.plan import Plan
from eprli_lab.tracking import names

if TYPE_CHECKING:
    from eprli_lab.reporting.load import StudyData
    from eprli_lab.reporting.stats.planning import Looked, Need, Spread


@dataclass(frozen=True)
class Question:
    """What is asked."""

    effect: float
    power: float
    sd: float | None = None  # given in place of a pilot
    study: str | None = None  # the pilot's; None: the sweep's own


@dataclass(frozen=True)
class Comparison:
    """One comparison of the sweep."""

    name: str
    spread: Spread
    need: Need


@dataclass(frozen=True)
class Cost:
    """Of one seed of every arm."""

    seconds: float  # run time of its runs, one after another
    workers: int  # runs at a time
    gpus: int  # of each run; 0: none
    is_measured: bool  # by past runs; else estimated

    def text(self, seeds: int) -> str:
        """Of so many seeds."""
        if self.gpus:
            return f"{self.seconds * seeds * self.gpus / 3600:,.1f} GPU-hours"
        minutes = self.seconds * seeds / self.workers / 60
        if minutes < 1:
            return f"{60 * minutes:.0f} seconds"
        return f"{minutes:,.1f} minutes" if minutes < 600 else f"{minutes / 60:,.1f} hours"


@dataclass(frozen=True)
class Prospect:
    """The answer."""

    plan: Plan
    question: Question
    source: str  # where the spread is from, in words
    comparisons: Sequence[Comparison]
    cost: Cost | None  # None: nothing is known of it
    looked: Looked | None = None  # of the comparison with the largest spread, with the planned seeds
    looked_seeds: int | None = None  # that it needs with the planned looks
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def widest(self) -> Comparison:
        """The one that needs the most seeds."""
        return max(self.comparisons, key=lambda c: c.spread.sd)


def prospect(plan: Plan, question: Question) -> Prospect:
    """Raises UserError when nothing is compared, or nothing is known of the spread."""
    from eprli_lab.reporting.stats.planning import Spread, looked_at_seeds, need, simulate_looks

    pairs = deciding_pairs(plan)
    if not pairs:
        raise UserError(f"{plan.study}: it has one arm, so nothing is compared and nothing needs power")
    data = None if question.sd is not None and question.study is None else _pilot(plan, question)
    if question.sd is not None:
        spreads = [Spread(question.sd)] * len(pairs)
        source = f"sd {question.sd:g}, as given"
    else:
        assert data is not None
        spreads = _spreads(data, pairs, plan)
        source = f"the runs of {data.name} in {plan.sample.tracking.uri}"
    planned = len(plan.spec.seeds)
    many = len(pairs)
    comparisons = [
        Comparison(f"{a} - {b}", spread, need(question.effect, spread, many, planned, question.power))
        for (a, b), spread in zip(pairs, spreads, strict=True)
    ]
    looked, looked_seeds = None, None
    widest = max(spreads, key=lambda s: s.sd).sd
    if plan.spec.looks > 1:
        looked = simulate_looks(question.effect, widest, look_plan(plan.spec), many)
        looked_seeds = looked_at_seeds(
            question.effect, widest, plan.spec.looks, plan.spec.spending, many, question.power
        )
    notes = _notes(plan, data)
    return Prospect(plan, question, source, comparisons, _cost(plan, data), looked, looked_seeds, notes)


def _pilot(plan: Plan, question: Question) -> StudyData:
    """The study whose runs say how seeds differ. Raises UserError with what may be given in its place."""
    from eprli_lab.reporting.load import load_study

    where = plan.sample.tracking
    name = question.study or plan.study
    try:
        return load_study(where.uri, where.experiment, name, lambda metric: metric == names.TOTAL_SECONDS)
    except UserError as error:
        raise UserError(f"{error}: {_instead(plan)}") from None


def _instead(plan: Plan) -> str:
    return (
        "nothing says how far seeds differ; name a study that has run (from=NAME), give the standard deviation of the "
        f"paired differences (sd=0.05), or run three seeds of this one first (-m sweep={plan.spec.name} "
        "study.seeds=[0,1,2])"
    )


def _spreads(data: StudyData, pairs: Sequence[tuple[str, str]], plan: Plan) -> list[Spread]:
    """Of each pair; of one without two common seeds, that of all comparisons of the pilot together."""
    from eprli_lab.reporting.stats.effects import baselines, last_by_seed
    from eprli_lab.reporting.stats.paired import differences_by_seed, spread
    from eprli_lab.reporting.stats.planning import Spread, pooled

    metric = plan.objectives[0].metric

    def of(pair: tuple[str, str]) -> Spread | None:
        differences = differences_by_seed(*(last_by_seed(data, arm, metric) for arm in pair))
        sd = spread(differences)
        return Spread(sd, len(differences)) if sd > 0 else None  # nan is not above 0

    found = [of(pair) for pair in pairs]
    others = [of(pair) for pair in baselines(data).items()]
    together = pooled([s for s in (found if any(found) else others) if s is not None])
    if together is None:
        raise UserError(
            f"study={data.name} has no comparison with two common seeds and a spread in {metric}: {_instead(plan)}"
        )
    return [together if s is None else s for s in found]


def _cost(plan: Plan, data: StudyData | None) -> Cost | None:
    """From past runs of the same arms where every arm has some, else from measured rates or formulas."""
    from eprli_lab.reporting.stats.paired import mean
    from eprli_lab.sweeping.workers import runs_at_once

    first = {run.arm: run for run in plan.runs if run.seed == plan.spec.seeds[0]}
    backend = plan.sample.backend
    gpus = backend.gpus if backend.kind == "openrlhf" and not backend.rehearsal else 0
    past = [
        mean([r.last(names.TOTAL_SECONDS) for r in data.of(arm)])
        if data is not None and _is_alike(data, plan, arm)
        else 0
        for arm in first
    ]
    if all(seconds > 0 for seconds in past):
        return Cost(sum(past), runs_at_once(plan), gpus, True)
    # what an arm that waits for another one takes from it is not known yet: it counts like that one
    counted = [first[run.after.arm].spec if run.after else run.spec for run in first.values()]
    costs = [_gpu_seconds(spec, gpus) if gpus else run_cost(spec) for spec in counted]
    known = [cost for cost in costs if cost is not None]
    return Cost(sum(known), runs_at_once(plan), gpus, False) if len(known) == len(costs) else None


def _gpu_seconds(spec: RunSpec, gpus: int) -> float | None:
    """Of one run on so many GPUs, by the formulas of backends/openrlhf/estimate.py; None: its size is not known."""
    from eprli_lab.backends.model_shape import shape_of
    from eprli_lab.backends.openrlhf.estimate import hours

    if spec.budget.unit == "seconds":
        return spec.budget.amount
    shape = shape_of(spec.model)
    return None if shape is None else 3600 * sum(hours(spec, shape.parameters)) / gpus


def _is_alike(data: StudyData, plan: Plan, arm: str) -> bool:
    """Did the pilot run this arm as it is planned now? A study of an earlier version cannot say, and is believed."""
    known = data.description.configurations.get(arm)
    run = next(run for run in plan.runs if run.arm == arm)
    return bool(data.of(arm)) and known in (None, run.configuration)


def _notes(plan: Plan, data: StudyData | None) -> list[str]:
    notes = []
    if data is not None:
        others = [arm for arm in plan.arms if data.of(arm) and not _is_alike(data, plan, arm)]
        if others:
            notes.append(
                f"{data.name} ran {', '.join(others)} with another configuration than is planned: seeds may differ "
                "less or more here"
            )
    if plan.search is not None:
        notes.append("the winners of the search are further arms: they are not counted")
    return notes
