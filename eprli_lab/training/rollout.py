"""Filling the buffer: sample rounds, grade, reward, judge; count everything before anything is thrown away."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from eprli_lab.algorithm.admission import admission_verdict
from eprli_lab.algorithm.buffer import Buffer
from eprli_lab.algorithm.hints import hint_share, hinted_steps, with_hint
from eprli_lab.algorithm.reward import rewards
from eprli_lab.algorithm.schedule import affordable_problems, level_fraction
from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.base import Backend
from eprli_lab.config.spec import RunSpec
from eprli_lab.data.conversation import at_level
from eprli_lab.data.steps import check_steps, parse_chain
from eprli_lab.records import Group, Problem, Response, Sampling, Step
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.evaluate import Grading, graded
from eprli_lab.training.policies import network_updates
from eprli_lab.training.samples import sample_rows
from eprli_lab.training.state import TrainState

PhaseTimes = defaultdict[str, float]  # s by phase


@dataclass
class RolloutCollector:
    """Samples for one level at a time, into its buffer and into the run's ledger."""

    spec: RunSpec
    backend: Backend
    grader: Grading
    store: RunStore
    clock: PhaseTimes = field(default_factory=lambda: defaultdict(float))  # s, since the loop last took it

    def fill(self, level: str, buffer: Buffer, state: TrainState) -> list[Group]:
        """Sampling rounds until N_l groups are admitted, max_rounds are over or the level's budget is spent.

        Returns every group of these rounds, whatever its verdict. A level that can pay no further round is marked
        ended, so no configuration can spin.
        """
        spec, progress = self.spec.curriculum.levels[level], state.progress
        sampled: list[Group] = []
        for _ in range(spec.admission.max_rounds):
            if buffer.full:
                break
            count = self._affordable(level, spec.problems_per_round, state)
            if count == 0:
                progress.levels[level].ended = "budget"
                break
            fraction = min(1.0, progress.spent(self.spec.budget.unit) / self.spec.budget.amount)
            groups = self.round(level, state.samplers[level].take(count, fraction), state)
            state.samplers[level].observe(groups)
            state.rules[level].observe(groups)
            buffer.add_round(groups)
            sampled += groups
        self.store.append("samples", sample_rows(progress.steps, sampled, self.spec.tracking.samples_per_step))
        return sampled

    def _affordable(self, level: str, wanted: int, state: TrainState) -> int:
        """How many of the wanted groups the level's budget still pays for."""
        spec, progress, unit = self.spec.curriculum.levels[level], state.progress, self.spec.budget.unit
        end = state.schedule.pass_end(level)
        if unit != "tokens":
            return wanted if progress.spent(unit) < end else 0
        done, worst = progress.levels[level], spec.group_size * spec.max_response_tokens
        mean = done.tokens_per_group if done.recent is None else done.recent
        return affordable_problems(end - progress.tokens, mean, worst, wanted)

    def round(self, level: str, problems: Sequence[Problem], state: TrainState) -> list[Group]:
        """One round: G_l responses a problem, each group with exactly one verdict.

        With hints for groups that were all wrong (GHPO, arXiv 2507.10628) these are sampled once more, behind the
        others and from a seed of their own: the first draw is what it is without hints.
        """
        hint, rounds = self.spec.curriculum.levels[level].hint, state.progress.rounds
        share = 0.0
        if hint.fraction > 0:
            share = hint_share(hint, level_fraction(state.schedule, state.progress, level, self.spec.budget.unit))
        given = share if hint.when == "always" else 0.0
        groups = self._sample(level, problems, given, derive_seed(self.spec.rng_seed, "sample", rounds), state)
        state.progress.rounds += 1
        if hint.fraction > 0:  # a fading hint leaves ever more to be written: a mean over the past would be too low
            state.progress.levels[level].recent = statistics.fmean(g.tokens for g in groups)
        if hint.when == "all_wrong" and share > 0:
            failed = [p for p, g in zip(problems, groups, strict=True) if g.verdict != "errored" and g.accuracy == 0.0]
            wrong = [p for p in failed if hinted_steps(share, len(p.steps))]
            again = wrong[: self._affordable(level, len(wrong), state)]
            if again:
                groups += self._sample(level, again, share, derive_seed(self.spec.rng_seed, "hint", rounds), state)
        return groups

    def _sample(
        self, level: str, problems: Sequence[Problem], share: float, seed: int, state: TrainState
    ) -> list[Group]:
        """A group for each problem, with this share of its worked steps given; judged, counted, in the ledger."""
        spec, progress = self.spec.curriculum.levels[level], state.progress
        version = network_updates(self.spec.curriculum, progress, level)
        began = time.perf_counter()
        given = [hinted_steps(share, len(p.steps)) for p in problems]
        problems = [with_hint(p, n) for p, n in zip(problems, given, strict=True)]
        responses = self.backend.sample(
            at_level(problems, spec.prompts),
            Sampling(spec.group_size, spec.max_response_tokens, self.spec.algorithm.temperature),
            seed=seed,
        )
        timed = TimedIterator(responses)
        groups = []
        answers = graded(timed.groups, problems, self.grader)
        for problem, hinted, (group, grades) in zip(problems, given, answers, strict=True):
            correct = [g.correct for g in grades]
            reward = rewards(spec, problem, group, correct)
            errored = any(g.status == "error" for g in grades)
            verdict = admission_verdict(state.rules[level], problem, correct, reward, errored)
            steps = self._steps(problem, group)
            groups.append(Group(problem, level, group, grades, reward, version, verdict, steps, hinted))
        progress.count(level, [g.tokens for g in groups], sum(len(g.responses) for g in groups))
        self.clock["generate"] += timed.ended - began
        self.clock["verify"] += time.perf_counter() - timed.ended
        hints = any(lv.hint.fraction > 0 for lv in self.spec.curriculum.levels.values())
        self.store.append("ledger", [ledger_row(progress.steps, progress.tokens, g, hints) for g in groups])
        return groups

    def _steps(self, problem: Problem, responses: Sequence[Response]) -> tuple[tuple[Step, ...], ...]:
        """The checked steps of each response, where that is asked for; of one that a hint began there are none."""
        if not self.spec.checks_steps or problem.hint:
            return ()
        chain = parse_chain(problem.source, problem.prompt)
        return tuple(check_steps(chain, r.text, r.ends) for r in responses)

    def take_phase_times(self) -> PhaseTimes:
        """Seconds per phase since the last call."""
        clock, self.clock = self.clock, defaultdict(float)
        return clock


class TimedIterator:
    """Groups as an engine hands them over, and when the last one came."""

    def __init__(self, groups: Iterable[tuple[Response, ...]]) -> None:
        self.ended = time.perf_counter()
        self.groups = groups if isinstance(groups, list) else self._passing(groups)

    def _passing(self, groups: Iterable[tuple[Response, ...]]) -> Iterator[tuple[Response, ...]]:
        for group in groups:
            self.ended = time.perf_counter()
            yield group


def ledger_row(step: int, tokens: int, group: Group, hints: bool = False) -> dict[str, object]:
    """One generated group in the buffer's ledger; `hints`: of a run that gives some."""
    row = {
        "step": step,
        "progress_tokens": tokens,
        "level": group.level,
        "problem": group.problem.id,
        "difficulty": group.problem.difficulty,
        "verdict": group.verdict,
        "accuracy": group.accuracy,
        "rewards": list(group.rewards),
        "response_tokens": [len(r.tokens) for r in group.responses],
        "truncated": sum(r.truncated for r in group.responses),
        "version": group.version,
    }
    return row | {"hint": group.hinted} if hints else row
