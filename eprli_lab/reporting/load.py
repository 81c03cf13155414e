"""A study as it was logged: the parent's description and every finished run with its metric histories."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError, nearest
from eprli_lab.reporting.imported import import_notes
from eprli_lab.reporting.looked import StudyLooks, study_looks
from eprli_lab.reporting.membership import members, seeds_of, spooled
from eprli_lab.tracking import names
from eprli_lab.tracking.description import LOOKS, TAG, Direction, Objective, StudyDescription, last_opened
from eprli_lab.tracking.imported import TAG as IMPORTED
from eprli_lab.tracking.read import LoggedRun, read_histories, read_runs


class History(NamedTuple):
    """One metric of one run: strictly increasing steps and a value each."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, points: Iterable[tuple[int, float]]) -> History:
        """From (step, value) in any order; where a step has several, the last one counts."""
        ordered = sorted(dict(points).items())
        return cls(np.array([s for s, _ in ordered], dtype=np.int64), np.array([v for _, v in ordered], dtype=float))


@dataclass(frozen=True)
class RunData:
    """One finished (arm, seed)."""

    run_id: str
    arm: str
    seed: int
    params: dict[str, str]
    histories: dict[str, History]
    tags: dict[str, str] = field(default_factory=dict)

    def last(self, metric: str) -> float:
        """The last value; nan when it was never logged."""
        history = self.histories.get(metric)
        return float(history.values[-1]) if history is not None else math.nan

    def first(self, metric: str) -> float:
        """The first value; nan when it was never logged, or by another trainer and not at the start."""
        history = self.histories.get(metric)
        if history is None or (IMPORTED in self.tags and history.steps[0] != 0):
            return math.nan
        return float(history.values[0])

    def by_step(self, metric: str) -> dict[int, float]:
        """Step -> value; empty when it was never logged."""
        history = self.histories.get(metric)
        return dict(zip(history.steps.tolist(), history.values.tolist(), strict=True)) if history is not None else {}

    def total(self, metric: str) -> float:
        """Sum over steps, for counts a step; nan when it was never logged."""
        history = self.histories.get(metric)
        if history is None:
            return math.nan
        finite = np.isfinite(history.values).all()
        return math.fsum(history.values.tolist()) if finite else float(history.values.sum())

    def mean(self, metric: str) -> float:
        """Mean over the steps at which it was logged; nan when it never was."""
        history = self.histories.get(metric)
        return self.total(metric) / len(history.values) if history is not None else math.nan

    def against(self, metric: str, axis: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(values of `axis`, values of `metric`) at the steps that have both, finite ones; empty without any.

        An axis is another metric: progress/tokens, progress/updates, time/total.
        """
        measured = self.histories.get(metric)
        places = self.histories.get(axis)
        if measured is None or places is None:
            return np.empty(0), np.empty(0)
        _, i, j = np.intersect1d(measured.steps, places.steps, assume_unique=True, return_indices=True)
        x = places.values[j]
        y = measured.values[i]
        keep = np.isfinite(x) & np.isfinite(y)
        return x[keep], y[keep]


@dataclass(frozen=True)
class Unfinished:
    """An (arm, seed) without a finished run."""

    arm: str
    seed: int
    status: str  # as MLflow has it, or "not run"
    reason: str


@dataclass(frozen=True)
class StudyData:
    """What tables and figures are made of."""

    name: str
    description: StudyDescription  # as the parent run says it; with its defaults where it says nothing
    parent_run_id: str | None
    runs: list[RunData]  # one an (arm, seed), in the order of the arms and seeds
    unfinished: list[Unfinished]
    notes: list[str] = field(default_factory=list)  # sentences a reader of the table must know
    tags: dict[str, str] = field(default_factory=dict)  # of the parent run
    # pairs of arms that end with the same objective at every common seed, and differ in another metric that was logged
    unequal: frozenset[frozenset[str]] = frozenset()

    @property
    def arms(self) -> list[str]:
        """Names in the order of the study."""
        logged = [r.arm for r in self.runs] + [u.arm for u in self.unfinished]
        return list(dict.fromkeys([*self.description.arms, *logged]))

    @property
    def is_search(self) -> bool:
        """A search: its trials chose its winners, so that they are compared to nothing."""
        return self.description.kind == "search"

    @property
    def objective(self) -> str:
        """The metric that the arms are compared by."""
        return self.description.objective

    @property
    def objectives(self) -> list[tuple[str, Direction]]:
        """(metric, maximize or minimize), the headline first."""
        objectives = self.description.objectives or (Objective(metric=self.objective),)
        return [(o.metric, o.direction) for o in objectives]

    @functools.cached_property
    def suites(self) -> list[str]:
        """Evaluation suites, in the order of the config where it is known."""
        logged = {s for r in self.runs for k in r.histories if (s := names.suite_of(k)) is not None}
        configured = [k.split(".")[2] for r in self.runs for k in r.params if k.startswith("evaluation.suites.")]
        return [s for s in dict.fromkeys([*sorted(configured, key=difficulty_rank), *sorted(logged)]) if s in logged]

    @functools.cached_property
    def levels(self) -> list[str]:
        """Names of all levels that any arm has."""
        return logged_levels(self.runs)

    @functools.cached_property
    def looks(self) -> StudyLooks | None:
        """How far its looks are; None of a study that is looked at once."""
        scores = {arm: {run.seed: run.last(self.objective) for run in self.of(arm)} for arm in self.arms}
        return study_looks(self.description, self.tags.get(LOOKS, ""), scores)

    def of(self, arm: str) -> list[RunData]:
        """The finished runs of an arm, by seed."""
        return [r for r in self.runs if r.arm == arm]


def logged_levels(runs: Sequence[RunData]) -> list[str]:
    """Names of the levels of which any of these runs logged groups, by the alphabet."""
    logged = {k for r in runs for k in r.histories if names.is_buffer(k)}
    return sorted({level for k in logged if (level := names.level_of(k)) is not None})


def difficulty_rank(suite: str) -> tuple[int, str]:
    """easy, medium, hard in that order; other names by the alphabet, before them."""
    for rank, word in enumerate(("easy", "medium", "hard"), start=1):
        if suite.endswith(word):
            return rank, suite
    return 0, suite


def load_study(
    uri: str,
    experiment: str,
    study: str,
    wanted: Callable[[str], bool] = lambda metric: True,
    parent_run_id: str | None = None,
) -> StudyData:
    """Read a study, of its metrics its objectives and those that `wanted` takes.

    Of several plans of one name it is that of `parent_run_id`, by default the one whose command was started last. Runs
    that it did not plan are named in `notes` and are in nothing else.

    Raises UserError when the store or the study does not exist; the sentence names those that do.
    """
    tracking = TrackingSpec(uri=uri, experiment=experiment)
    logged = read_runs(tracking, study)
    if not logged:
        known = {r.tags.get("study", "") for r in read_runs(tracking)} - {""}
        others = nearest(study, known) or " and none with a parent run"
        raise UserError(f"study={study}: {uri} holds no such study{others}")
    parent = _parent(logged, parent_run_id)
    description, notes = _description(parent.tags if parent is not None else {})
    of_arms = [r for r in logged if r.tags.get("kind") == "run" and "arm" in r.tags]
    seeded = [r for r in of_arms if _has_seed(r)]
    notes += [f"run {r.run_id} has no tag that says its seed, and is left out" for r in of_arms if not _has_seed(r)]
    children, of_others = members(seeded, description)
    notes += of_others
    chosen, several = _choose(children)
    notes += several + import_notes([(r.tags["arm"], int(r.tags["seed"]), r.tags) for r in chosen])
    notes += [f"a change was accepted with study.force: {line}" for line in description.forced]
    histories: dict[str, dict[str, History]] = {r.run_id: {} for r in chosen}
    always = {o.metric for o in description.objectives} | {description.objective}
    always |= {e.metric for e in description.expected if e.metric is not None}
    points = read_histories(tracking, list(histories), lambda metric: metric in always or wanted(metric))
    for run_id, metric, steps, values in points:
        histories[run_id][metric] = _last_of_each_step(np.array(steps, dtype=np.int64), np.array(values, dtype=float))
    runs = [
        RunData(r.run_id, r.tags["arm"], int(r.tags["seed"]), r.params, histories[r.run_id], r.tags) for r in chosen
    ]
    parent_id, tags = (parent.run_id, parent.tags) if parent else (None, {})
    unequal = _unequal(tracking, runs, description.objective)
    data = StudyData(study, description, parent_id, runs, [], notes, tags, unequal)
    bare = [r for r in runs if not math.isfinite(r.last(data.objective))]
    shared = sorted({r.arm for r in runs if r.params.get("data.allow_overlap") == "true"})
    if shared:
        data.notes.append(
            f"data.allow_overlap=true in {', '.join(shared)}: suites may hold problems that were trained on, and their "
            "accuracies memorized ones (prompts.json of a run says how many)"
        )
    data.notes.extend(
        f"{r.arm} seed {r.seed} finished without a finite value of {data.objective}, and is in no comparison"
        for r in bare
    )
    ranks = {arm: i for i, arm in enumerate(data.arms)}
    runs.sort(key=lambda r: (ranks[r.arm], r.seed))
    unfinished = _unfinished(children, runs, description, study)
    if data.looks is not None and data.looks.not_run:  # no gap: the study stopped before them
        unfinished = [u for u in unfinished if u.seed not in data.looks.not_run]
        data.notes.append(data.looks.rest)
    data.unfinished.extend(unfinished)
    return data


def _has_seed(run: LoggedRun) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", run.tags.get("seed", "")) is not None


def _parent(logged: Sequence[LoggedRun], run_id: str | None) -> LoggedRun | None:
    """The parent run that was asked for, else the one that a command opened last."""
    parents = [r for r in logged if r.tags.get("kind") == "study"]
    asked_for = [r for r in parents if r.run_id == run_id]
    return max(asked_for or parents, key=lambda r: (last_opened(r.tags), r.started), default=None)


def _description(tags: Mapping[str, str]) -> tuple[StudyDescription, list[str]]:
    """What the parent says of the study, and a sentence where that cannot be read."""
    try:
        return StudyDescription.from_tags(tags), []
    except (ValueError, RecursionError):
        return StudyDescription(), [
            f"the parent's description of the study (tag {TAG}) cannot be read: the arms are those of the runs"
        ]


def _last_of_each_step(steps: NDArray[np.int64], values: NDArray[np.float64]) -> History:
    last = np.append(steps[1:] != steps[:-1], True)
    return History(steps, values) if last.all() else History(steps[last], values[last])


def _unequal(tracking: TrackingSpec, runs: Sequence[RunData], objective: str) -> frozenset[frozenset[str]]:
    """Pairs of arms with the same last objective at every common seed whose logged metrics are not all the same.

    Whatever was read of them: their whole histories are read again. Equal scores are rare, so that this costs nothing.
    """
    ends: dict[str, dict[int, tuple[float, str]]] = {}  # arm -> seed -> (last objective, run id)
    for run in runs:
        ends.setdefault(run.arm, {})[run.seed] = (run.last(objective), run.run_id)
    alike: dict[frozenset[str], list[tuple[str, str]]] = {}
    for (a, of_a), (b, of_b) in itertools.combinations(ends.items(), 2):
        common = of_a.keys() & of_b.keys()
        if common and all(of_a[seed][0] == of_b[seed][0] for seed in common):
            alike[frozenset((a, b))] = [(of_a[seed][1], of_b[seed][1]) for seed in common]
    ids = list(dict.fromkeys(run_id for pairs in alike.values() for pair in pairs for run_id in pair))
    digests: dict[str, dict[str, tuple[bytes, bytes]]] = {run_id: {} for run_id in ids}
    for run_id, metric, steps, values in read_histories(tracking, ids, lambda m: not names.is_of_the_clock(m)):
        digests[run_id][metric] = (np.array(steps).tobytes(), np.array(values, dtype=float).tobytes())
    return frozenset(arms for arms, pairs in alike.items() if any(digests[a] != digests[b] for a, b in pairs))


def _choose(children: list[LoggedRun]) -> tuple[list[LoggedRun], list[str]]:
    """The last finished run of every (arm, seed), and a sentence where there were several."""
    chosen: dict[tuple[str, str], LoggedRun] = {}
    notes = []
    for run in children:  # oldest first
        if run.status != "FINISHED":
            continue
        key = (run.tags["arm"], run.tags["seed"])
        if key in chosen:
            notes.append(f"{key[0]} seed {key[1]} finished more than once: the last one counts ({run.run_id})")
        chosen[key] = run
    return list(chosen.values()), notes


def _unfinished(
    children: list[LoggedRun], runs: list[RunData], description: StudyDescription, study: str
) -> list[Unfinished]:
    """Every (arm, seed) that was started or planned and has no finished run in the store."""
    done = {(r.arm, r.seed) for r in runs}
    out: dict[tuple[str, int], Unfinished] = {}
    for arm in description.arms:
        for seed in seeds_of(description, arm):
            out[arm, seed] = Unfinished(arm, seed, "not run", "")
    for run in children:
        key = (run.tags["arm"], int(run.tags["seed"]))
        out[key] = Unfinished(*key, run.status.lower(), run.tags.get("eprli.ended", ""))
    for key, remedy in spooled(study, description, out.keys() - done).items():
        out[key] = Unfinished(*key, "finished, not stored", remedy)
    return [u for key, u in out.items() if key not in done]
