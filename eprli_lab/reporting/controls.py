"""Controls: studies whose answer is known. Was it found? And what a study's report may cite of them.

A null says little where nothing could have been found, and a finding little where something is found in nothing. A
control's sweep says what it must find (`study.expected`); its report says whether it did, and leaves that on its parent
run, where reports of other studies of the same task find it (docs/controls.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ValidationError

from eprli_lab.config.fields import AsTuple, Strict
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import counted
from eprli_lab.reporting.diagnosis.finding import param_of
from eprli_lab.reporting.load import RunData, StudyData
from eprli_lab.reporting.stats.effects import difference, last_by_seed
from eprli_lab.reporting.stats.paired import JUDGED, mean, paired_sd
from eprli_lab.reporting.stats.power import minimum_detectable_effect
from eprli_lab.reporting.tables.numbers import difference_text, fraction, signed
from eprli_lab.tracking.description import Contrast, Expectation
from eprli_lab.tracking.read import read_runs

TAG = "eprli.control"  # of a control's parent run
Verdict = Literal["passed", "failed", "too few seeds"]
# Tasks that were built to be won, by the name of their initial policy: what a reader of their numbers must know.
_LADDER = "built so that a curriculum must win; it says nothing yet about the paper's claim on real models"
BUILT = {
    "qwen3-0.1m-ladder": _LADDER,
    "qwen3-0.05m-ladder": _LADDER,
    "qwen3-0.1m-interference": "built so that separate networks must win; it says nothing about real models",
}
# What makes two studies ask about the same task: the params of their baselines that agree.
TASK = ("data.name", "data.generated.family", "data.source.path", "model.name", "model.path", "model.warmstart.noise")


class Check(Strict):
    """One expectation, what was found, and whether that is it."""

    expected: str
    found: str
    verdict: Verdict


class ControlRecord(Strict):
    """What a control found, as its parent run remembers it."""

    study: str
    question: str
    task: Annotated[tuple[str, ...], AsTuple]  # values of TASK
    seeds: int  # the fewest that an expectation was checked with
    detectable: float | None  # smallest true difference of its first contrast found in four studies of five
    contrast: str | None  # that contrast
    checks: Annotated[tuple[Check, ...], AsTuple]

    @property
    def verdict(self) -> Verdict:
        """failed where any check failed, passed where all passed."""
        verdicts = {c.verdict for c in self.checks}
        return "failed" if "failed" in verdicts else "too few seeds" if "too few seeds" in verdicts else "passed"

    @property
    def task_text(self) -> str:
        """Data and model, for people."""
        return f"data {self.task[0]}, model {self.task[TASK.index('model.name')]}"


def check_control(study: StudyData) -> ControlRecord | None:
    """What a study that says what it must find has found; None for a study that does not say."""
    expected = study.description.expected
    if not expected:
        return None
    checks, seeds = zip(*(_check(study, e) for e in expected), strict=True)
    first = next((Contrast.of(e.contrast) for e in expected if e.contrast is not None), None)
    sd = math.nan
    if first is not None:
        sd = paired_sd(*(last_by_seed(study, arm, study.objective) for arm in first))
    least = minimum_detectable_effect(sd, min(seeds)) if math.isfinite(sd) else math.nan
    return ControlRecord(
        study=study.name,
        question=study.description.question or "",
        task=task_of(study),
        seeds=min(seeds),
        detectable=least if math.isfinite(least) else None,
        contrast=str(first) if first is not None else None,
        checks=checks,
    )


def _check(study: StudyData, expectation: Expectation) -> tuple[Check, int]:
    """The check, and how many seeds it had."""
    metric = expectation.metric or study.objective
    where = "" if metric == study.objective else f" in {metric}"
    if expectation.contrast is None:
        return _check_mean(study, expectation, metric, where)
    arm, reference = Contrast.of(expectation.contrast)
    d = difference(study, arm, reference, metric)
    size: float
    if expectation.within is not None:
        size = expectation.within
        expected = f"nothing: the interval holds zero, the mean within ±{fraction(size)}"
        holds = d.low <= 0.0 <= d.high and abs(d.mean) < size
    elif expectation.above is not None:
        size = expectation.above
        expected = f"at least {signed(size)}, the interval above zero"
        holds = d.mean >= size and d.low > 0.0
    else:
        assert expectation.below is not None
        size = expectation.below
        expected = f"at most {signed(size)}, the interval below zero"
        holds = d.mean <= size and d.high < 0.0
    verdict: Verdict = "passed" if holds else "failed"
    if not d.is_judged or math.isnan(d.low):
        verdict = "too few seeds"
    seeds = counted(d.n, "seed")
    text = f"{expectation.contrast}{where}: {expected}"
    return Check(expected=text, found=f"{difference_text(d)}, {seeds}", verdict=verdict), d.n


def _check_mean(study: StudyData, expectation: Expectation, metric: str, where: str) -> tuple[Check, int]:
    assert expectation.arm is not None and expectation.near is not None and expectation.within is not None
    values = [v for v in last_by_seed(study, expectation.arm, metric).values() if math.isfinite(v)]
    found = mean(values)
    holds = abs(found - expectation.near) <= expectation.within
    verdict: Verdict = "passed" if holds else "failed"
    if len(values) < JUDGED:
        verdict = "too few seeds"
    expected = f"{expectation.arm}{where}: {fraction(expectation.near)} ± {fraction(expectation.within)}"
    seeds = counted(len(values), "seed")
    return Check(expected=expected, found=f"{fraction(found)}, {seeds}", verdict=verdict), len(values)


def task_of(study: StudyData) -> tuple[str, ...]:
    """What the baseline's runs were trained and examined on; empty without a run."""
    runs: Sequence[RunData] = study.of(study.description.baseline or "") or study.runs
    if not runs:
        return ()
    return tuple(str(param_of(runs[0], key, "")) for key in TASK)


def built_task(study: StudyData) -> str:
    """The sentence on a task that was built to be won; empty for any other task."""
    task = task_of(study)
    return BUILT.get(task[TASK.index("model.name")], "") if task else ""


def records_of(tracking: TrackingSpec) -> list[ControlRecord]:
    """The controls that this tracking store has seen, one a study, oldest first. UserError as of `read_runs`."""
    found: dict[str, ControlRecord] = {}
    for run in read_runs(tracking):  # of every study the parent
        if TAG not in run.tags:
            continue
        try:
            record = ControlRecord.model_validate_json(run.tags[TAG])
        except ValidationError:  # of another version
            continue
        found[record.study] = record
    return list(found.values())
