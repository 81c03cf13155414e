"""Settings of the schedules and problem samplers with memory, and of difficulty that is measured anew.

Those of a schedule or sampler that is not chosen idle. Defaults are the papers' where they give one.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from eprli_lab.config.fields import Fraction, Positive, Strict

Weight = Annotated[float, Field(ge=0.0)]


class BanditSpec(Strict):
    """`schedule: bandit` (SEC, arXiv 2505.14970)."""

    rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5  # alpha: weight of a step's mean |A| in Q
    temperature: Annotated[float, Field(gt=0.0)] = 1.0  # tau of the softmax over Q; the paper: .2 to 1


class ThompsonSpec(Strict):
    """`schedule: thompson`: discounted Thompson sampling (arXiv 1707.09727) on the share of admitted groups."""

    decay: Fraction = 0.9  # of what was counted, a step; 1: nothing is forgotten
    prior: Annotated[float, Field(gt=0.0)] = 1.0  # both parameters of the Beta prior


class PoolsSpec(Strict):
    """`selection: pools`: by the accuracy of a problem's last group; a pool is drawn by weight, then one of its own."""

    unseen_weight: Annotated[float, Field(gt=0.0)] = 1.0  # problems without a group
    hard_weight: Weight = 0.5  # accuracy below `hard_below`
    middle_weight: Weight = 1.0
    easy_weight: Weight = 0.5  # accuracy above `easy_above`
    hard_below: Fraction = 0.25
    easy_above: Fraction = 0.75
    retire_at: Fraction | None = 0.9  # accuracy at which a problem is drawn no more (arXiv 2510.13786); null: never

    @model_validator(mode="after")
    def _order(self) -> PoolsSpec:
        if self.hard_below > self.easy_above:
            raise ValueError(f"hard_below {self.hard_below} is above easy_above {self.easy_above}")
        return self


class GresoSpec(Strict):
    """`selection: greso` (arXiv 2506.02177): a problem whose last z groups had no spread is skipped by 1 - p^z."""

    easy_start: Fraction = 0.5  # p of problems that were all right
    hard_start: Fraction = 0.5  # p of problems that were all wrong
    step: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01  # by which a p moves in a round
    easy_target: Fraction = 0.083  # share of groups that are all right; at or above it p falls
    hard_target: Fraction = 0.167  # and of those that are all wrong


class VcrlSpec(Strict):
    """`selection: vcrl` (arXiv 2509.19803): problems whose last group's variance was high enough are drawn again."""

    kappa: Fraction = 0.3  # least variance over the largest possible, k(G - k) / (floor(G/2) ceil(G/2))
    share: Fraction = 0.5  # of a round: the most that comes from the memory
    momentum: Fraction = 0.9  # of a waiting problem's priority, which moves towards the rounds that it waits


class SnrSpec(Strict):
    """`selection: snr`: the problems whose last group's rewards varied most (StarPO-S, arXiv 2504.20073)."""

    share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25  # of the stratum, from which a round is drawn
    prior: Annotated[float, Field(ge=0.0)] = 0.25  # variance of a problem without a group; .25: the most that 0/1 has


class RemeasureSpec(Strict):
    """Difficulty measured anew with the policy in training, and the strata with it."""

    every: Positive | None = None  # updates; null: never
    problems: Positive | None = 64  # of the training problems a time, all of them in turn; null: all at once
    samples: Annotated[int, Field(ge=1, le=1024)] = 4  # responses a problem
