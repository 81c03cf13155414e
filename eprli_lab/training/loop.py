"""THE loop: GRPO with a hierarchical difficulty curriculum (arXiv 2508.01604, sections 3.1 and 3.1.2).

For each level l: sample G_l responses to problems of D_l, grade and reward them, admit groups into the buffer
(rollout.py); at N_l admitted groups turn rewards into advantages and update mu_l times with the level's clip bounds;
stop at the level's share of the budget. The backend only samples and updates (docs/architecture.md, One run):
everything else happens here, the same on a laptop and on a cluster.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eprli_lab.algorithm.buffer import starvation_advice
from eprli_lab.algorithm.entropy_control import next_coefficient
from eprli_lab.algorithm.schedule import next_level
from eprli_lab.algorithm.settings import update_settings
from eprli_lab.backends.base import Backend
from eprli_lab.backends.rewarder import ProcessRewarder
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.strata import Strata
from eprli_lab.errors import Interrupted, NonFiniteError
from eprli_lab.records import Batch, Group, Problem
from eprli_lab.tracking import names
from eprli_lab.training import measures as m
from eprli_lab.training.batch import difficulty_weights, make_batch
from eprli_lab.training.checkpoint import NETWORKS, RunStore
from eprli_lab.training.evaluate import (
    Grading,
    Outcome,
    asked_always,
    evaluate,
    heldout_levels,
    level_scores,
    rows,
    scores,
)
from eprli_lab.training.policies import Policies, count_parameters, network_rate, network_updates
from eprli_lab.training.process import learn_rewards
from eprli_lab.training.remeasure import is_due, remeasure
from eprli_lab.training.rollout import PhaseTimes, RolloutCollector
from eprli_lab.training.start_evaluation import Known
from eprli_lab.training.state import TrainState
from eprli_lab.training.truncation import nothing_left, valid_truncation

log = logging.getLogger(__name__)


@dataclass
class Trainer:
    """One run: who takes part, and what is remembered."""

    spec: RunSpec
    backend: Backend
    grader: Grading
    strata: Strata
    suites: Mapping[str, Sequence[Problem]]
    store: RunStore
    log: Callable[[dict[str, float], int], None]  # (metrics, step)
    stop: Callable[[], bool | str] = lambda: False
    on_progress: Callable[[dict[str, float]], None] = lambda _: None
    starved: list[str] = field(default_factory=list)  # sentences
    rewarder: ProcessRewarder | None = None  # where process rewards are learned
    known: Callable[[], Known | None] = lambda: None  # where the evaluation at the start may be known from before

    def begin(self) -> None:
        """Keep the initial policy, which the engine holds before anything was trained or loaded."""
        Policies(self.spec, self.backend, self.store.directory / NETWORKS).begin()

    def run(self) -> dict[str, float]:
        """Train to the end of the budget, from the last checkpoint where there is one; the final scores.

        Raises Interrupted (state saved) when `stop` turns true, NonFiniteError (with the step and the last good
        checkpoint) when loss or gradient is not finite.
        """
        self.collector = RolloutCollector(self.spec, self.backend, self.grader, self.store)
        self.policies = Policies(self.spec, self.backend, self.store.directory / NETWORKS)
        self.heldout = heldout_levels(self.suites, self.spec.curriculum)
        self.always = asked_always(self.suites, self.spec.evaluation)
        self.store.beside = [self.rewarder] if self.rewarder is not None else []
        saved = self.store.restore(self.backend)
        if saved is None:
            self.state = TrainState.fresh(self.spec, self.strata)
            self.begin()
            self._evaluate("start", full=True)
            parameters = count_parameters(self.spec.curriculum, self._save())
            if parameters is not None:
                self.log({names.PARAMETERS: float(parameters)}, 0)
        else:
            self.state = TrainState.from_json(saved, self.spec, self.strata)
            self.grader.counters.update(self.state.graded)
            self.grader.lost_before = self.state.lost
        while (level := self._next_level()) is not None:
            self._boundary(level)
            if self.stop():
                self._save()
                raise Interrupted(f"stopped after step {self.state.progress.steps}; state saved")
            self._step(level)
        if not self.state.progress.updates and not self.starved:
            self.starved.append("no update was made: raise budget.amount, or see buffer/* for why groups were rejected")
        self._save()  # before the last evaluation: a run killed in it, or run again, repeats no more than that
        return self._evaluate("final", full=True)

    def _step(self, level: str) -> None:
        """One pass: fill the buffer, update if it is full, log, evaluate and save when due."""
        began, state, progress = time.perf_counter(), self.state, self.state.progress
        spec, done, buffer = self.spec.curriculum.levels[level], progress.levels[level], state.buffers[level]
        progress.steps += 1
        updates = progress.updates
        version = network_updates(self.spec.curriculum, progress, level)
        buffer.expire(version)
        sampled = self.collector.fill(level, buffer, state)
        if progress.steps == 1:
            _warn_of_silence(sampled, self.spec)
        waiting, ages, clock = len(buffer.groups), [], self.collector.take_phase_times()
        out = m.sampling_metrics(level, sampled) | m.hint_metrics(level, spec.hint, sampled)
        valid, measured = valid_truncation(self.spec, self.backend, self.grader, level, sampled, progress.steps)
        out, began, state.wall = out | valid, began + measured, state.wall + measured  # no training time
        if buffer.full:
            taken, learned = self._learn(level, buffer.take(), clock)
            out |= learned
            batch = make_batch(taken, self.spec.algorithm, version, state.log_weights)
            if batch.responses:
                ages = [version - taken[i].version for i in dict.fromkeys(batch.groups)]
                out |= self._update(level, taken, batch, clock)
                done.updates, done.skipped = done.updates + 1, 0
            else:  # all that was admitted was cut off, and is masked
                self._skip(level, nothing_left(level, spec.max_response_tokens))
        elif done.ended is None:  # max_rounds were not enough: the update is skipped
            tally = buffer.tally
            self._skip(level, starvation_advice(level, spec.admission, tally.verdicts, tally.rounds))
        state.schedule.observe(sampled)
        out |= m.extension_metrics(level, state.schedule, state.samplers[level], state.rules[level])
        out |= m.buffer_metrics(level, buffer.pop_tally(), sampled, waiting=waiting, size=spec.buffer_groups, ages=ages)
        done.observe([g.accuracy for g in sampled if g.verdict != "errored"], self.spec.curriculum.adaptive.smoothing)
        if is_due(self.spec, progress, updates) and self._next_level() is not None:
            out |= remeasure(self.spec, self.backend, self.grader, self.strata, state)
        self._log(level, out, time.perf_counter() - began, clock, sum(g.tokens for g in sampled))
        if self._next_level() == level:  # at a boundary, and at the end, the suites are evaluated anyway
            self._curve_point()
        if progress.steps % self.spec.checkpoint.every_updates == 0:
            self._save()
        self.on_progress({"fraction": self._fraction(), "accuracy": done.accuracy or 0.0})

    def _update(self, level: str, groups: Sequence[Group], batch: Batch, clock: PhaseTimes) -> dict[str, float]:
        """mu_l passes of the clipped objective over the batch that was made of these groups."""
        state, progress, algorithm = self.state, self.state.progress, self.spec.algorithm
        began = time.perf_counter()
        rate = network_rate(self.spec, state.schedule, progress, level)
        settings = update_settings(self.spec, level, rate, progress.updates, state.entropy_coef)
        with self._place_of_failure(level):
            terms = self.backend.update(batch, settings)
        clock["update"] += time.perf_counter() - began
        progress.updates += 1
        state.log_weights = difficulty_weights(groups, algorithm, state.log_weights)
        coef, target, step = settings.entropy_coef, algorithm.entropy_target, algorithm.entropy_step
        if target is not None:
            state.entropy_coef = next_coefficient(coef, terms.entropy, target, step)
        return m.policy_metrics(level, terms, rate) | m.entropy_metrics(level, algorithm, coef)

    def _learn(
        self, level: str, groups: Sequence[Group], clock: PhaseTimes
    ) -> tuple[Sequence[Group], dict[str, float]]:
        """The groups with learned token rewards, where there are any, and what is logged of these."""
        if self.rewarder is None:
            return groups, {}
        began = time.perf_counter()
        with self._place_of_failure(level):
            rewarded = learn_rewards(self.rewarder, level, groups)
        clock["process"] += time.perf_counter() - began
        return rewarded

    @contextlib.contextmanager
    def _place_of_failure(self, level: str) -> Iterator[None]:
        """A NonFiniteError says where it was, and what the run can be taken up from."""
        try:
            yield
        except NonFiniteError as error:
            where = f"at step {self.state.progress.steps} of level {level}; {self.store.last_good()}"
            raise NonFiniteError(f"{error} {where}") from error

    def _skip(self, level: str, advice: str) -> None:
        """An update that could not be made; too many in a row end the level as starved, with this advice."""
        done, admission = self.state.progress.levels[level], self.spec.curriculum.levels[level].admission
        done.skipped += 1
        if done.skipped >= admission.max_skipped_updates:
            done.ended = "starved"
            self.starved.append(advice)
            log.warning(self.starved[-1])

    def _boundary(self, level: str) -> None:
        """When the curriculum moves from one level to the next: its network comes, and the suites are evaluated."""
        before, self.state.level = self.state.level, level
        if before not in (None, level) and self.state.schedule.boundaries:
            self.policies.leave(str(before), self.state)
            self.policies.enter(level, self.state)
            self._evaluate(f"end_{before}", full=False)
            self._save()

    def _curve_point(self) -> None:
        """Evaluate at equally spaced points of the budget, so that learning curves have points within a level."""
        points = self.spec.evaluation.curve_points
        due = min(points, int(self._fraction() * (points + 1)))
        if self.state.curve_points < due:
            self._evaluate(f"curve_{due}", full=False)

    def _evaluate(self, stage: str, *, full: bool) -> dict[str, float]:
        began, step = time.perf_counter(), self.state.progress.steps
        points = self.spec.evaluation.curve_points
        self.state.curve_points = min(points, int(self._fraction() * (points + 1)))
        outcomes = self._outcomes(stage, full=full)
        seconds = time.perf_counter() - began
        self.state.wall += seconds
        self.store.append("outcomes", rows(stage, step, outcomes))
        out = scores(outcomes)
        by_level = level_scores(outcomes, self.heldout, self.always)
        times = {names.seconds("evaluate"): seconds, names.TOTAL_SECONDS: self.state.wall}
        self.log(out | by_level | times | m.progress_metrics(self.state.progress), step)
        return out

    def _outcomes(self, stage: str, *, full: bool) -> list[Outcome]:
        """Every suite, answered and graded; at the start, where every run of a study stands alike, once a machine."""
        known = self.known() if stage == "start" else None
        outcomes = known.recall(self.grader) if known else None
        if outcomes is None:
            graded = Counter(self.grader.counters)
            with self.policies.answering(self.state) as answering:
                outcomes = evaluate(answering, self.grader, self.suites, self.spec.evaluation, full=full)
            if known:
                known.keep(outcomes, Counter(self.grader.counters) - graded)
        return outcomes

    def _log(self, level: str, out: dict[str, float], seconds: float, clock: PhaseTimes, tokens: int) -> None:
        state = self.state
        state.progress.seconds += seconds
        state.progress.levels[level].seconds += seconds
        state.wall += seconds
        times = {names.seconds(part): value for part, value in clock.items()}
        times |= {names.seconds("step"): seconds, names.TOTAL_SECONDS: state.wall}
        times[names.performance("tokens_per_second")] = tokens / seconds
        self.log(out | times | m.progress_metrics(state.progress), state.progress.steps)

    def _next_level(self) -> str | None:
        progress = self.state.progress
        return next_level(self.state.schedule, progress, progress.spent(self.spec.budget.unit))

    def _fraction(self) -> float:
        return min(1.0, self.state.progress.spent(self.spec.budget.unit) / self.spec.budget.amount)

    def _save(self) -> Path:
        self.state.graded, self.state.lost = dict(self.grader.counters), self.grader.seconds_lost
        needed = self.policies.needed(self.state)
        return self.store.save(self.backend, self.state.to_json(), self.state.progress.steps, needed)


def _warn_of_silence(sampled: Sequence[Group], spec: RunSpec) -> None:
    """Say it at once when most of the first responses hold no answer in the format that is read."""
    from eprli_lab.grading.formats import silent

    said = [(r.text, g.status) for group in sampled for r, g in zip(group.responses, group.grades, strict=True)]
    source = spec.data.source
    chosen_by = "data.source.format" if source and source.format else "verify.format"
    sentence = silent(said, spec.format_of(source), chosen_by)
    if sentence is not None:
        log.warning(sentence)
