"""Which problem of a stratum comes next: uniformly, near a target difficulty (AdaRFT), or block by block (GanitLLM)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from eprli_lab.algorithm.memory import Remembering
from eprli_lab.config.curriculum import CurriculumSpec, TargetSpec
from eprli_lab.config.extensions import resolve
from eprli_lab.records import Group, Problem

CLASSES = 32  # answers a problem by which GanitLLM tags difficulty
OWN_SHARE = 0.8  # of a difficulty's problems, those in its own block


class ProblemSampler(Remembering):
    """Base of problem samplers, one object a level: `take` is to be given, the rest may stay as it is.

    A sampler with memory keeps it in plain data that `state` returns and the constructor takes back.
    """

    carries: tuple[str, ...] = ()  # keys of `state` that a sampler on another stratum may be given

    def __init__(
        self,
        problems: Sequence[Problem],
        seed: str,
        curriculum: CurriculumSpec | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        """`problems`: the level's stratum, kept in the order of their ids; `seed`: of every draw."""
        self.problems = sorted(problems, key=lambda p: p.id)
        self.seed = seed
        self.begin(curriculum, state)

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        """Called once problems and seed are there: take the settings, and the memory back where one was saved."""

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The next n problems, at a fraction in [0, 1] of the run's budget."""
        raise NotImplementedError


class UniformSampler(ProblemSampler):
    """Problems in a seeded order, epoch after epoch without replacement, each epoch shuffled anew."""

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        self.epoch: int = state["epoch"] if state else 0
        self.position: int = state["position"] if state else 0
        self._order = self._shuffled()

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The next n problems, wherever in the budget the run is."""
        out: list[Problem] = []
        while len(out) < n:
            if self.position == len(self._order):
                self.epoch, self.position = self.epoch + 1, 0
                self._order = self._shuffled()
            out.append(self._order[self.position])
            self.position += 1
        return out

    def state(self) -> dict[str, Any]:
        """Epoch and position in it."""
        return {"epoch": self.epoch, "position": self.position}

    def _shuffled(self) -> list[Problem]:
        order = list(self.problems)
        random.Random(f"{self.seed}-{self.epoch}").shuffle(order)
        return order


def next_target(target: float, accuracy: float, spec: TargetSpec) -> float:
    """T' = clip(T + eta tanh(alpha (R_avg - beta)), 0, 1) (AdaRFT, arXiv 2504.05520, algorithm 1)."""
    return min(1.0, max(0.0, target + spec.step * math.tanh(spec.sensitivity * (accuracy - spec.goal))))


class TargetSampler(ProblemSampler):
    """Problems nearest to a target difficulty that follows the accuracy (AdaRFT, arXiv 2504.05520); each once an epoch.

    The paper's difficulties run from 0 to 100, ours from 0 to 1: its eta of 50 is `target.step` .5, ten times the
    default. Departures: T moves after every sampling round of a few problems, there after a batch of 1024; ties are
    broken by a seeded order.
    """

    carries = ("target",)

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        self.spec = curriculum.target if curriculum is not None else TargetSpec()
        self.target: float = state["target"] if state else self.spec.start
        self.epoch: int = state["epoch"] if state else 0
        self.used: set[int] = set(state["used"]) if state else set()  # positions taken in this epoch
        self._rank = self._ranks()

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """The n unused problems whose difficulty is nearest to the target."""
        out: list[Problem] = []
        while len(out) < n:
            left = [i for i in range(len(self.problems)) if i not in self.used]
            if not left:
                self.epoch, self.used = self.epoch + 1, set()
                self._rank = self._ranks()
                continue
            left.sort(key=lambda i: (abs((self.problems[i].difficulty or 0.0) - self.target), self._rank[i]))
            chosen = left[: n - len(out)]
            self.used.update(chosen)
            out += [self.problems[i] for i in chosen]
        return out

    def observe(self, groups: Sequence[Group]) -> None:
        """Move the target by one round's mean accuracy; a round that could not be graded leaves it alone."""
        accuracies = [g.accuracy for g in groups if g.verdict != "errored"]
        if accuracies:
            self.target = next_target(self.target, math.fsum(accuracies) / len(accuracies), self.spec)

    def metrics(self) -> dict[str, float]:
        """The target difficulty."""
        return {"target": self.target}

    def state(self) -> dict[str, Any]:
        """Target, epoch and the positions that were taken in it."""
        return {"target": self.target, "epoch": self.epoch, "used": sorted(self.used)}

    def _ranks(self) -> list[int]:
        ranks = list(range(len(self.problems)))
        random.Random(f"{self.seed}-{self.epoch}").shuffle(ranks)
        return ranks


def difficulty_class(difficulty: float) -> int:
    """How many of `CLASSES` answers are wrong at this difficulty, 0 to 32: the pass count of GanitLLM's tags."""
    return round(CLASSES * difficulty)


def mixed_blocks(problems: Sequence[Problem], seed: str) -> list[list[Problem]]:
    """GanitLLM's order of training (arXiv 2601.06767): one block a difficulty, from easy to hard, every problem once.

    A class of n problems gives int(.8 n) of them to its own block and the rest, as evenly as may be, to the other
    blocks in their order. Which problems go where is a seeded draw; classes without problems have no block.
    """
    classes: dict[int, list[Problem]] = {}
    for p in problems:
        classes.setdefault(difficulty_class(p.difficulty or 0.0), []).append(p)
    order = sorted(classes)
    if len(order) == 1:
        return [list(problems)]
    blocks: list[list[Problem]] = [[] for _ in order]
    for own, name in enumerate(order):
        members = classes[name]
        random.Random(f"{seed}-class-{name}").shuffle(members)
        kept = int(OWN_SHARE * len(members))
        blocks[own] += members[:kept]
        others = [i for i in range(len(order)) if i != own]
        for i, p in enumerate(members[kept:]):
            blocks[others[i % len(others)]].append(p)
    return blocks


class BlockSampler(ProblemSampler):
    """Curriculum of GanitLLM (arXiv 2601.06767): blocks from easy to hard, about 80% of each of its own difficulty.

    A block lasts for its share of the problems. Departures: the paper passes through its data once, here a share of
    the problems is a share of the run's budget, and a block that is exhausted before begins anew; its classes are the
    pass counts 32 to 1 of another model, with equally many problems each, here all of d(q), the unsolved ones too, with
    as many as there are.
    """

    def begin(self, curriculum: CurriculumSpec | None, state: dict[str, Any] | None) -> None:
        blocks = [block for block in mixed_blocks(self.problems, self.seed) if block]
        states = state["blocks"] if state else [None] * len(blocks)
        self.blocks = [
            UniformSampler(block, f"{self.seed}-{i}", curriculum, saved)
            for i, (block, saved) in enumerate(zip(blocks, states, strict=True))
        ]
        self.block: int = state["block"] if state else 0  # of the last draw

    def take(self, n: int, fraction: float = 0.0) -> list[Problem]:
        """n problems of the block whose share of the budget this is."""
        done, self.block = 0, len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            done += len(block.problems)
            if fraction * len(self.problems) < done:
                self.block = i
                break
        return self.blocks[self.block].take(n)

    def metrics(self) -> dict[str, float]:
        """The block, from 1."""
        return {"block": self.block + 1.0}

    def state(self) -> dict[str, Any]:
        """The samplers of the blocks, and which came last."""
        return {"blocks": [block.state() for block in self.blocks], "block": self.block}


def make_sampler(
    curriculum: CurriculumSpec, problems: Sequence[Problem], seed: str, state: dict[str, Any] | None = None
) -> ProblemSampler:
    """The sampler of one level; `state`: as it was saved."""
    made: ProblemSampler = resolve("sampler", curriculum.selection)(problems, seed, curriculum, state)
    return made


def on_other_problems(
    sampler: ProblemSampler, curriculum: CurriculumSpec, problems: Sequence[Problem], seed: str
) -> ProblemSampler:
    """A sampler for a level whose stratum was redrawn, with what the one before remembers that holds for it as well.

    Epochs and places in an order begin anew: they are of the problems that were.
    """
    fresh = make_sampler(curriculum, problems, seed)
    if not sampler.carries:
        return fresh
    before = sampler.state()
    return make_sampler(curriculum, problems, seed, fresh.state() | {k: before[k] for k in sampler.carries})
