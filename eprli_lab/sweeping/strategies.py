"""The two ways to make a study's trials: arms by seeds, and the points of a search. All that differs is here.

A trial of arms is one run, an (arm, seed). A trial of a search is a point of its space: one run a seed, and its value
is the mean over them; it may be pruned between two seeds, or within its run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from eprli_lab.config.parse import parse_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.masking import masked
from eprli_lab.sweeping.describe import describe_arms
from eprli_lab.sweeping.sampler import make_pruner, suggest
from eprli_lab.sweeping.search import Search
from eprli_lab.sweeping.space import expand
from eprli_lab.sweeping.spec import PlannedRun, StudySpec
from eprli_lab.sweeping.states import UNDER_WAY, TrialState
from eprli_lab.sweeping.trials import Key, Trials, key_of, trial_name
from eprli_lab.tracking.description import Objective, StudyDescription

Binding = dict[str, dict[str, Any]]  # part (an arm, or "search") -> {dotted key: value}
NOT_BOUND = ("seed", "study", "arm", "tracking.", "checkpoint.")  # prefixes of keys that may change under one name


@dataclass(frozen=True)
class NewTrial:
    """What a trial begins with in the storage, beside who holds it."""

    attributes: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    distributions: Mapping[str, Any] = field(default_factory=dict)


class SpaceExhaustedError(Exception):
    """A search's space holds no further point: its trials so far are all that there will be."""


class Strategy(Protocol):
    """How a study's trials are made and what they mean. Pure: it reads trials and never writes to the storage."""

    @property
    def total(self) -> int:
        """How many trials the whole study has."""

    @property
    def runs_a_trial(self) -> int:
        """Runs of one trial, when it is not pruned."""

    @property
    def prunes(self) -> Literal["never", "between runs", "within a run"]:
        """Where a trial may be given up."""

    @property
    def sample(self) -> RunSpec:
        """One spec of the study, for what is common to all: where it is tracked, its objective."""

    @property
    def objectives(self) -> list[Objective]:
        """At least one; the first is the headline."""

    @property
    def description(self) -> StudyDescription:
        """What the tracking parent remembers of the study."""

    def binding(self) -> Binding:
        """What the study's name stands for."""

    def pruner(self) -> Any:
        """Optuna's pruner; None where nothing is pruned."""

    def next_trial(self, trials: Trials) -> NewTrial | None:
        """What to begin next; None when there is nothing now. Raises SpaceExhaustedError when there never will be."""

    def left(self, trials: Trials) -> int:
        """How many trials are under way or still to begin."""

    def under_way(self, trials: Trials) -> int:
        """How many are under way, of those that the plan knows."""

    def finished(self, trials: Trials) -> int:
        """How many need no more work, of those that the plan knows."""

    def runs_of(self, trial: Any) -> tuple[PlannedRun, ...]:
        """A frozen trial's runs, in the order in which they are made; empty for one that the plan does not know."""

    def name_of(self, trial: Any) -> str:
        """A frozen trial's name for people: the arm, or t0003."""

    def kept_metrics(self, metrics: dict[str, float]) -> dict[str, Any]:
        """Attributes of a trial that remember what a run of it logged."""

    def planned(self, run: PlannedRun) -> str | None:
        """By what the study's table knows a run, as a tag of it; None: by its fingerprint."""


@dataclass(frozen=True)
class ArmsStrategy:
    """Every (arm, seed) of the plan once, in its order; a run may wait for another arm's run of its seed."""

    spec: StudySpec
    runs: tuple[PlannedRun, ...]
    runs_a_trial: int = 1
    prunes: Literal["never"] = "never"

    @property
    def total(self) -> int:
        return len(self.runs)

    @property
    def sample(self) -> RunSpec:
        return self.runs[0].spec

    @property
    def objectives(self) -> list[Objective]:
        return _objectives(self.spec, self.sample)

    @property
    def description(self) -> StudyDescription:
        return describe_arms(self.spec, self.runs, self.objectives)

    def binding(self) -> Binding:
        """Arm -> its configuration. Arms and seeds may be added under the same name, no more."""
        bound: Binding = {}
        for run in {run.arm: run for run in self.runs}.values():  # an arm's runs differ in what is not bound
            flat = run.spec.flat().items()
            bound[run.arm] = {k: masked(v) for k, v in flat if not k.startswith(NOT_BOUND)}
            if run.after is not None:
                bound[run.arm] |= {f"after.{run.after.arm}.{k}": v for k, v in run.after.set.items()}
        return bound

    def pruner(self) -> None:
        return None

    @cached_property
    def by_key(self) -> dict[Key, PlannedRun]:
        """The plan's runs: a claim looks up one for every trial that is under way."""
        return {run.key: run for run in self.runs}

    def next_trial(self, trials: Trials) -> NewTrial | None:
        """The first run of the plan that has no trial yet and waits for nothing."""
        for key, run in self.by_key.items():
            if not trials.may_begin(key) or trials.blocked_reason(run, self.by_key, self.spec):
                continue
            if run.after is not None and trials.states.get((run.after.arm, run.seed)) is not TrialState.COMPLETE:
                continue
            return NewTrial({"arm": run.arm, "seed": run.seed, "directory": str(run.directory)})
        return None

    def left(self, trials: Trials) -> int:
        open_states = {None, *UNDER_WAY}
        return sum(
            trials.states.get(key) in open_states
            and trials.may_come(run.seed)
            and not trials.blocked_reason(run, self.by_key, self.spec)
            for key, run in self.by_key.items()
        )

    def under_way(self, trials: Trials) -> int:
        return self._known(trials.in_state(*UNDER_WAY))

    def finished(self, trials: Trials) -> int:
        """What failed before this start of the command is tried again, so it is not finished."""
        return self._known(trials.in_state(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED))

    def runs_of(self, trial: Any) -> tuple[PlannedRun, ...]:
        key = key_of(trial)
        return (self.by_key[key],) if key in self.by_key else ()

    def name_of(self, trial: Any) -> str:
        return str(trial.user_attrs["arm"])

    def kept_metrics(self, metrics: dict[str, float]) -> dict[str, Any]:
        return {"metrics": metrics}

    def planned(self, run: PlannedRun) -> str | None:
        """Of a run that takes values from another one, what was planned: its own fingerprint is another."""
        return None if run.after is None else run.fingerprint

    def _known(self, frozen: Sequence[Any]) -> int:
        """How many of these trials are of this plan: the study may know more arms and seeds."""
        return sum(key_of(trial) in self.by_key for trial in frozen)


@dataclass(frozen=True)
class SearchStrategy:
    """Points of a space until there are `study.trials` of them, each run on every seed of the search."""

    study: str
    spec: StudySpec
    search: Search

    @property
    def total(self) -> int:
        return self.spec.trials

    @property
    def runs_a_trial(self) -> int:
        return len(self.search.seeds)

    @property
    def prunes(self) -> Literal["never", "between runs", "within a run"]:
        pruner = self.search.spec.pruner
        if pruner == "none":
            return "never"
        return "between runs" if pruner == "wilcoxon" else "within a run"

    @cached_property
    def sample(self) -> RunSpec:
        return parse_spec(next(iter(self.search.bases.values())))

    @property
    def objectives(self) -> list[Objective]:
        return _objectives(self.spec, self.sample)

    @property
    def description(self) -> StudyDescription:
        return StudyDescription(
            kind="search",
            question=self.spec.question,
            claim=self.spec.claim,
            objectives=tuple(self.objectives),
            seeds=self.search.seeds,
            space={d.key: d.text() for d in self.search.dimensions},
            confirmed_in=self.study.removesuffix("-search"),
            searched=self.fingerprint,
            trials=self.spec.trials,
        )

    def binding(self) -> Binding:
        """Its config, space, sampler, pruner, seeds and objectives. More trials may be added under the same name."""
        search = self.search
        bound: dict[str, Any] = {
            "sampler": search.spec.sampler,
            "sampler_seed": search.spec.sampler_seed,
            "pruner": search.spec.pruner,
            "seeds": list(search.seeds),
            "objectives": [f"{o.direction} {o.metric}" for o in self.objectives],
        }
        bound |= {f"space.{d.key}": d.text() for d in search.dimensions}
        bound["require"] = search.spec.require
        for name, tree in search.bases.items():
            searched = {path for d in search.dimensions for path in expand(tree, d.key)}
            for key, value in parse_spec(tree).flat().items():
                if not key.startswith(NOT_BOUND) and key not in searched:
                    bound[f"{name}{key}"] = masked(value)
        return {"search": bound}

    def pruner(self) -> Any:
        return make_pruner(self.search.spec, self.sample.evaluation.curve_points + 1)

    def next_trial(self, trials: Trials) -> NewTrial | None:
        """A new point while the trials are fewer than there are to be; the config itself is the first."""
        if len(trials) >= self._target(trials):
            return None
        start = None if trials.frozen else self.search.start()
        drawn = (start, 0) if start is not None else self._suggest(trials)
        if drawn is None:
            if not trials.frozen:
                raise UserError("study.search: no point of the space validates and keeps every requirement: widen it")
            raise SpaceExhaustedError
        params, draw = drawn
        return NewTrial({"draw": draw}, params, {d.key: d.distribution() for d in self.search.dimensions})

    def left(self, trials: Trials) -> int:
        return self.under_way(trials) + max(0, self._target(trials) - len(trials))

    def under_way(self, trials: Trials) -> int:
        return len(trials.in_state(*UNDER_WAY))

    def finished(self, trials: Trials) -> int:
        """A point that failed stays failed, whenever that was."""
        return len(trials) - self.under_way(trials)

    def runs_of(self, trial: Any) -> tuple[PlannedRun, ...]:
        return self.search.runs(self.name_of(trial), trial.params)

    def name_of(self, trial: Any) -> str:
        return trial_name(trial.number)

    def kept_metrics(self, metrics: dict[str, float]) -> dict[str, Any]:
        return {}

    def planned(self, run: PlannedRun) -> str | None:
        """The search, and the point of its space."""
        return f"{self.fingerprint}.{run.configuration}"

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits of what the search's name stands for."""
        return hashlib.sha256(json.dumps(self.binding(), sort_keys=True).encode()).hexdigest()[:12]

    def _target(self, trials: Trials) -> int:
        """How many trials there are to be; fewer than asked for when the space holds no more."""
        return self.spec.trials if trials.exhausted is None else min(self.spec.trials, trials.exhausted)

    def _suggest(self, trials: Trials) -> tuple[dict[str, Any], int] | None:
        """(point, number of its draw); None when the space holds no further one."""
        draws = max((t.user_attrs.get("draw", 0) for t in trials.frozen), default=-1) + 1
        return suggest(
            self.search.spec,
            self.search.dimensions,
            trials.frozen,
            [o.direction for o in self.objectives],
            target=self.spec.trials,
            first=draws,
            usable=self.search.usable,
        )


def _objectives(spec: StudySpec, sample: RunSpec) -> list[Objective]:
    return spec.objectives or [Objective(metric=sample.objective)]
