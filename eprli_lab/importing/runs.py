"""A log becomes a run of ours: its metrics under our names where they mean the same, its score, and what it lacks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from eprli_lab.config.fields import checked_name
from eprli_lab.errors import UserError, nearest
from eprli_lab.importing.dialects import beside, dialect_of, evaluations, renamed
from eprli_lab.importing.files import digests, files_of, read_log
from eprli_lab.importing.log import Log
from eprli_lab.importing.tables import Score, is_finite, read_scores
from eprli_lab.tracking import names
from eprli_lab.tracking.imported import LEVEL, ImportRecord

MEAN = "mean over suites"  # the score, where no key is it
MOST_KEYS = 25  # in a sentence
CONFIGURATION = "the configuration"
Series = Mapping[int, float]  # step -> value
T = TypeVar("T")


@dataclass(frozen=True)
class ImportedRun:
    """One (arm, seed) of another trainer."""

    arm: str
    seed: int
    metrics: Mapping[str, Series]  # our name -> its history
    record: ImportRecord
    params: Mapping[str, str] = field(default_factory=dict)  # of the configuration, where a file of it was named

    @property
    def digest(self) -> str:
        """Of everything that was logged, whatever its arm and seed."""
        text = json.dumps([self.record.source, {k: sorted(v.items()) for k, v in sorted(self.metrics.items())}])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def ends(self, metric: str = names.SCORE) -> tuple[float, float]:
        """(value at the start, last value) of a metric; nan for a start that was not logged."""
        history = self.metrics[metric]
        return history.get(0, math.nan), history[max(history)]


def read_run(
    source: str,
    paths: Sequence[Path],
    arm: str,
    seed: int,
    *,
    score: str | None = None,
    suites: Mapping[str, str] | None = None,
    resumed: bool = False,
    incomplete: bool = False,
) -> ImportedRun:
    """One run from the files of its log. `score`, `suites`: keys of the log. Raises UserError; nothing is written."""
    checked_name("arm", arm)
    log = read_log(source, paths, resumed=resumed, incomplete=incomplete)
    where = ", ".join(map(str, paths))
    dialect = dialect_of(source, log.values)
    chosen = _suites(log, dialect, score, suites or {}, where)
    metrics = _metrics(log, dialect, chosen, where)
    for suite, key in chosen.items():
        metrics[names.accuracy(suite)] = _finite(log.values[key], key, where)
        for measure, other in beside(dialect, key, log.values).items():
            metrics[names.evaluation(suite, measure)] = log.values[other]
    metrics[names.SCORE] = (
        _finite(log.values[score], score, where) if score else mean_over_suites(metrics, chosen, where)
    )
    metrics[names.UPDATES] = {step: float(step) for step in log.steps}
    record = ImportRecord(
        source=source,
        files=digests(files_of(source, paths)),
        score=score or (next(iter(chosen.values())) if len(chosen) == 1 else MEAN),
        suites=chosen,
        absent=absent(metrics),
        notes=(*_notes(score, chosen, metrics), *log.cut),
    )
    return ImportedRun(arm, seed, metrics, record)


def read_score_runs(path: Path, arm: str | None, seed: int | None) -> list[ImportedRun]:
    """The runs of a CSV of scores. `arm`, `seed`: of a file that has no such column. Raises UserError."""
    rows = read_scores(path)
    by_run: dict[tuple[str, int], list[Score]] = {}
    for row in rows:
        if not is_finite(row):
            raise UserError(
                f"{row.where}: score={row.score:g} is no finite number, so nothing could be compared with it"
            )
        key = (_one("arm", row.arm, arm, row.where), _one("seed", row.seed, seed, row.where))
        checked_name("arm", key[0])
        by_run.setdefault(key, []).append(row)
    suites = list(dict.fromkeys(row.suite for row in rows if row.suite is not None))
    for suite in suites:
        checked_name("suite", suite)
    return [_score_run(path, arm, seed, of, suites) for (arm, seed), of in by_run.items()]


def with_settings(run: ImportedRun, params: Mapping[str, str]) -> ImportedRun:
    """The run with the configuration that it was trained with."""
    lacks = tuple(what for what in run.record.absent if what != CONFIGURATION)
    return replace(run, params=params, record=run.record.model_copy(update={"absent": lacks}))


def _score_run(path: Path, arm: str, seed: int, rows: Sequence[Score], suites: Sequence[str]) -> ImportedRun:
    metrics: dict[str, dict[int, float]] = {}
    for row in rows:
        history = metrics.setdefault(names.accuracy(row.suite) if row.suite else names.SCORE, {})
        if row.step in history:
            raise UserError(f"{row.where}: {arm} seed {seed} has this score twice (suite, step): leave one out")
        history[row.step] = row.score
    for suite in suites:
        if names.accuracy(suite) not in metrics:
            raise UserError(f"{path}: {arm} seed {seed} has no score of suite {suite}, which others have: add it")
    if suites:
        metrics[names.SCORE] = mean_over_suites(metrics, {suite: "score" for suite in suites}, str(path))
    steps = {step for of in metrics.values() for step in of}
    if len(steps) > 1:
        metrics[names.UPDATES] = {step: float(step) for step in steps}
    record = ImportRecord(
        source="csv",
        files=digests([path]),
        score=MEAN if suites else "score",
        suites={suite: "score" for suite in suites},
        absent=absent(metrics),
        notes=tuple(_out_of_range(metrics)),
    )
    return ImportedRun(arm, seed, metrics, record)


def _one(column: str, cell: T | None, given: T | None, where: str) -> T:
    """What the file says, or what the user says of a file that does not; both must agree."""
    if cell is None and given is None:
        raise UserError(f"{where}: the file has no column {column}: say it with --{column}")
    if cell is not None and given is not None and cell != given:
        raise UserError(
            f"{where}: {column}={cell}, and --{column} {given} was given: the file holds others; leave --{column} out"
        )
    chosen = given if cell is None else cell
    assert chosen is not None
    return chosen


def mean_over_suites(metrics: Mapping[str, Series], suites: Mapping[str, str], where: str) -> dict[int, float]:
    """Mean of their accuracies at the steps at which all were evaluated. Raises UserError without any such step."""
    of = [metrics[names.accuracy(suite)] for suite in suites]
    common = sorted(set.intersection(*(set(history) for history in of)))
    if not common:
        raise UserError(
            f"{where}: the suites {', '.join(suites)} were never evaluated at the same step, so there is no mean"
        )
    return {step: math.fsum(history[step] for history in of) / len(of) for step in common}


def _suites(log: Log, dialect: str, score: str | None, given: Mapping[str, str], where: str) -> dict[str, str]:
    """Suite -> key: those that were named, else those that the trainer names, unless a score was. Raises UserError."""
    named = {"--score": score} if score else {}
    named |= {f"--suite {suite}": key for suite, key in given.items()}
    for option, key in named.items():
        if key not in log.values:
            raise UserError(f"{option}={key}: {where} has no such key{_near(key, log)}")
    for suite in given:
        checked_name("--suite", suite)
    chosen = dict(given) or ({} if score else evaluations(dialect, log.values))
    if not chosen and not score:
        raise UserError(
            f"{where} has no evaluation that could be the score: name one of its keys with --score KEY, or suites with "
            f"--suite NAME=KEY: {_keys(log)}"
        )
    return chosen


def _keys(log: Log) -> str:
    """Those of a log, so many as a sentence holds."""
    keys = sorted(log.values)
    return ", ".join(keys[:MOST_KEYS]) + (f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else "")


def _near(key: str, log: Log) -> str:
    """The nearest key, or those that there are."""
    near = nearest(key, log.values)
    return near if near.startswith(" (did") else f": it has {_keys(log)}"


def _metrics(log: Log, dialect: str, chosen: Mapping[str, str], where: str) -> dict[str, Series]:
    """All that was logged, under our names where the meaning is equal; the accuracies are given theirs later."""
    out: dict[str, Series] = {}
    ours = renamed(dialect, log.values)
    for key, history in log.values.items():
        if key in chosen.values():
            continue
        name = ours.get(key) or names.imported(key)
        if name in out:
            raise UserError(f"{where}: two keys would be the metric {name}; one of them is {key}: rename it")
        out[name] = history
    return out


def _finite(history: Series, key: str, where: str) -> Series:
    bad = next((step for step, value in history.items() if not math.isfinite(value)), None)
    if bad is not None:
        raise UserError(
            f"{where}: {key} is {history[bad]:g} at step {bad}, and a score must be a finite number: name another key "
            "with --score, or leave the run out"
        )
    return history


def absent(metrics: Mapping[str, Series]) -> tuple[str, ...]:
    """What reports show and these metrics do not have, in words."""
    has_suites = any(names.is_evaluation(name) and names.measure_of(name) == "avg_at_k" for name in metrics)
    lengths = any(names.is_evaluation(name) and names.measure_of(name) == "response_tokens" for name in metrics)
    known = {
        "the score before training": 0 in metrics[names.SCORE],
        "accuracies by suite": has_suites,
        "response lengths of the evaluation": lengths,
        "updates": names.UPDATES in metrics,
        "generated tokens": names.TOKENS in metrics,
        "seconds of the whole run": names.TOTAL_SECONDS in metrics,
        "the policy's entropy": names.policy(LEVEL, "entropy") in metrics,
        "clip fractions by the advantage's sign": False,
        "which groups were admitted": False,
        "outcomes of single problems": False,
        CONFIGURATION: False,
    }
    return tuple(what for what, is_there in known.items() if not is_there)


def _notes(score: str | None, chosen: Mapping[str, str], metrics: Mapping[str, Series]) -> list[str]:
    keys = [score] if score else list(chosen.values())
    out = []
    if any(not key.startswith(("eval", "val", "test")) for key in keys):
        out.append(f"the score is {', '.join(keys)}, which may have been measured on problems that were trained on")
    if any("reward" in key or key.endswith("_pass1") for key in keys):
        out.append("the score is a mean reward: an accuracy only where the reward is 0 or 1")
    return [*out, *_out_of_range(metrics)]


def _out_of_range(metrics: Mapping[str, Series]) -> list[str]:
    values = metrics[names.SCORE].values()
    if all(0 <= value <= 1 for value in values):
        return []
    return [
        f"scores from {min(values):g} to {max(values):g} are no fractions, and the margin of reports, .03, is one of "
        "fractions: give margin="
    ]
