"""Studies made in memory, as a training loop logs them: a clean one, and what a test changes in it."""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Callable, Sequence

from eprli_lab.reporting.load import History, RunData, StudyData
from eprli_lab.reporting.report.parts import Section
from eprli_lab.reporting.tables.document import TableBlock
from eprli_lab.tracking import names
from eprli_lab.tracking.description import Objective, StudyDescription

SUITES = ("heldout_easy", "heldout_medium", "heldout_hard")
START, GAIN = (0.6, 0.4, 0.2), (0.3, 0.4, 0.4)  # accuracy before training, and what training adds
STEPS = 20  # of each of two levels
Change = Callable[[RunData, random.Random], None]


def params(**changed: object) -> dict[str, str]:
    """What matters of a run's config."""
    out = {"algorithm.advantage": "group_norm", "evaluation.boundary_problems": "0", "budget.unit": "tokens"}
    for level in ("l1", "l2"):
        path = f"curriculum.levels.{level}"
        out |= {f"{path}.admission.accuracy_min": "0.125", f"{path}.admission.accuracy_max": "0.875"}
        out |= {f"{path}.clip.low": "0.2", f"{path}.clip.high": "0.28", f"{path}.quality_threshold": "0.5"}
        out |= {f"{path}.admission.max_rounds": "8", f"{path}.buffer_groups": "6", f"{path}.group_size": "16"}
    for suite in SUITES:
        out[f"evaluation.suites.{suite}.generated.problems"] = "1024"
    return out | {k: str(v) for k, v in changed.items()}


def clean_run(arm: str, seed: int, levels: Sequence[str] = ("l1", "l2"), gain: Sequence[float] = (0, 0, 0)) -> RunData:
    """Levels one after the other, every step an update; `gain` is added to the suites' last accuracy."""
    rng = random.Random(f"{arm}-{seed}")
    seed_effect = random.Random(seed).gauss(0, 0.02)  # a seed's, the same in every arm
    run = RunData(f"{arm}-{seed}", arm, seed, params(), {})
    last = STEPS * len(levels)
    for step in range(last + 1):
        progress = step / last
        if step % (STEPS // 2) == 0:
            for i, suite in enumerate(SUITES):
                trained = progress * (GAIN[i] + gain[i] + seed_effect) + rng.gauss(0, 0.003) * (step > 0)
                put(run, names.accuracy(suite), step, START[i] + trained)
            put(run, "score", step, statistics.fmean(run.last(names.accuracy(s)) for s in SUITES))
        put(run, names.TOKENS, step, 1000 * step)
        put(run, names.UPDATES, step, step)
        if step == 0:
            continue
        level = levels[(step - 1) // STEPS]
        counts = {
            "admitted": 6,
            "too_hard": rng.randint(0, 3),
            "too_easy": rng.randint(0, 3),
            "no_signal": 0,
            "errored": 0,
        }
        for verdict, count in counts.items():
            put(run, names.groups(level, verdict), step, count)
        put(run, names.generated(level), step, sum(counts.values()))
        put(run, names.buffer(level, "fill_fraction"), step, 1.0)
        put(run, names.reward_variance(level, "within"), step, rng.uniform(0.15, 0.2))
        put(run, names.policy(level, "entropy"), step, 0.3 - 0.2 * progress + rng.uniform(-0.03, 0.03))
        put(run, names.clip_fraction(level, "low"), step, rng.uniform(0, 0.02))
        put(run, names.clip_fraction(level, "high"), step, rng.uniform(0, 0.002))
    return run


def put(run: RunData, metric: str, step: int, value: float) -> None:
    """Log one value, or replace it."""
    run.histories[metric] = History.of([*run.by_step(metric).items(), (step, float(value))])


def change(run: RunData, metric: str, by: Callable[[int, float], float]) -> None:
    """Replace every value of a metric by a function of step and value."""
    run.histories[metric] = History.of((step, by(step, value)) for step, value in run.by_step(metric).items())


def study(
    arms: Sequence[str] = ("plain", "other"), seeds: int = 4, *, on: str = "other", plant: Change | None = None, **gains
) -> StudyData:
    """A study of clean runs; `plant` changes those of the arm `on`; `gains`: arm -> what its suites gain more."""
    runs = [clean_run(arm, seed, gain=gains.get(arm, (0, 0, 0))) for arm in arms for seed in range(seeds)]
    for run in runs:
        if plant is not None and run.arm == on:
            plant(run, random.Random(run.run_id))
    description = StudyDescription(arms=tuple(arms), baseline=arms[0], seeds=tuple(range(seeds)))
    return StudyData("planted", description, None, runs, [])


def described(data: StudyData, **changed: object) -> StudyData:
    """The same runs under another description; `objectives` as (metric, direction), the headline first."""
    if "objectives" in changed:
        changed["objectives"] = tuple(Objective(metric=m, direction=d) for m, d in changed["objectives"])
    description = StudyDescription.model_validate({**dict(data.description), **changed})
    return dataclasses.replace(data, description=description)


def tables_of(section: Section) -> list[TableBlock]:
    """A report's section: tables that stand open, then those that fold out."""
    return [*section.tables, *(t for fold in section.folds for t in fold.tables)]
