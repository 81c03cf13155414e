"""Levels, admission, schedule: the config of a curriculum."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from eprli_lab.config.extensions import AdmissionName, LengthTermName, RewardName, SamplerName, ScheduleName
from eprli_lab.config.fields import Fraction, Later, Name, Positive, Strict
from eprli_lab.config.memories import (
    BanditSpec,
    GresoSpec,
    PoolsSpec,
    RemeasureSpec,
    SnrSpec,
    ThompsonSpec,
    VcrlSpec,
)
from eprli_lab.config.prompts import LevelPromptsSpec


class ClipSpec(Strict):
    """eps_l: the ratio may move within [1 - low, 1 + high] (DAPO, arXiv 2503.14476, eq. 8)."""

    low: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    high: Annotated[float, Field(gt=0.0, le=10.0)] = 0.28


class AdmissionSpec(Strict):
    """Which groups enter the buffer, and when a level gives up (docs/algorithm.md, Admission and Buffer)."""

    rule: Annotated[AdmissionName, Later("band")] = "band"  # of the verdict
    metric: Literal["accuracy", "reward"] = "accuracy"
    accuracy_min: float = 0.125  # a_min; a bound on the mean shaped reward where metric is 'reward'
    accuracy_max: float = 0.875  # a_max
    max_rounds: Positive = 8  # sampling rounds before an update is skipped
    max_skipped_updates: Positive = 3  # skipped updates in a row before the level ends as starved
    surplus: Literal["carry", "drop", "train"] = "carry"  # what becomes of admitted groups beyond N_l
    max_staleness: Annotated[int, Field(ge=0)] = 2  # updates a carried group may age before it is dropped

    @model_validator(mode="after")
    def _band(self) -> AdmissionSpec:
        if self.accuracy_min > self.accuracy_max:
            raise ValueError(f"accuracy_min {self.accuracy_min} is above accuracy_max {self.accuracy_max}")
        if self.metric == "accuracy" and not (0.0 <= self.accuracy_min and self.accuracy_max <= 1.0):
            raise ValueError("accuracy_min and accuracy_max must lie in [0, 1] while metric is 'accuracy'")
        return self


class HintSpec(Strict):
    """Worked steps of the gold solution, given as the beginning of the answer (docs/algorithm.md, Hints)."""

    fraction: Fraction = 0.0  # h: of the worked steps; 0: no hints
    when: Literal["always", "all_wrong"] = "always"  # all_wrong: a group of which nothing was right comes once more
    fade: Literal["none", "linear"] = "none"  # linear: down to 0 at `fade_until`
    fade_until: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0  # of the level's own share of the budget


class LevelSpec(Strict):
    """One level l of the curriculum."""

    quality_threshold: Annotated[float, Field(gt=0.0, le=1.0)]  # Q_l: upper difficulty bound of D_l
    max_response_tokens: Positive  # Len_l
    group_size: Annotated[int, Field(ge=2, le=1024)] = 16  # G_l
    problems_per_round: Positive = 8
    buffer_groups: Positive = 6  # N_l
    inner_iterations: Annotated[int, Field(ge=1, le=64)] = 1  # mu_l
    minibatches: Annotated[int, Field(ge=1, le=64)] = 1  # optimizer steps per pass over the buffer
    clip: ClipSpec = ClipSpec()
    length_term: LengthTermName = "none"
    length_coef: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0  # K_l
    overlong_tokens: Annotated[int, Field(ge=0)] = 0  # L_cache of DAPO eq. 13
    reward: Annotated[RewardName, Later("outcome")] = "outcome"  # R_l
    reward_correct: float = 1.0  # R_l of a correct response
    reward_wrong: float = 0.0  # R_l of a wrong one
    admission: AdmissionSpec = AdmissionSpec()
    budget_weight: Annotated[float, Field(gt=0.0)] = 1.0  # the level's share of the budget is weight / sum
    prompts: Annotated[LevelPromptsSpec, Later(LevelPromptsSpec())] = LevelPromptsSpec()  # in training at this level
    hint: Annotated[HintSpec, Later(HintSpec())] = HintSpec()  # in training at this level

    @model_validator(mode="after")
    def _rules(self) -> LevelSpec:
        if self.length_coef > 0 and self.length_term == "none":
            raise ValueError("length_coef is positive but length_term is 'none': name a term or set length_coef=0")
        if self.length_term == "soft_overlong" and not 0 < self.overlong_tokens <= self.max_response_tokens:
            raise ValueError("soft_overlong needs 0 < overlong_tokens <= max_response_tokens")
        if self.reward_correct <= self.reward_wrong:
            raise ValueError("reward_correct must be above reward_wrong")
        return self


class AdaptiveSpec(Strict):
    """Promotion rule of the `adaptive` schedule."""

    promote_at: Fraction = 0.8  # bar on the moving average of the level's accuracy over all groups
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.8  # weight of the past in that average
    min_updates: Positive = 4  # updates at a level before it may be left


class TargetSpec(Strict):
    """The target difficulty of `selection: target` (AdaRFT, arXiv 2504.05520)."""

    start: Fraction = 0.0  # T of the first round
    step: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05  # eta: the most that T moves in a round
    sensitivity: Annotated[float, Field(gt=0.0)] = 2.0  # alpha
    goal: Fraction = 0.5  # beta: the accuracy at which T stays


IN_NO_ORDER = ("mixed", "bandit", "thompson")  # schedules under which levels do not follow one another
BY_DIFFICULTY = ("target", "blocks")  # samplers that read a problem's difficulty


class CurriculumSpec(Strict):
    """L levels; order of the keys is from easy to hard."""

    schedule: ScheduleName = "sequential"
    order: Literal["ascending", "descending"] = "ascending"  # of the levels; descending: hard first
    strata: Literal["band", "cumulative", "all"] = "band"  # D_l: above Q_{l-1} up to Q_l; up to Q_l; up to Q_L
    selection: SamplerName = "uniform"  # which problem of the stratum comes next
    weights: Literal["shared", "separate", "snapshot"] = "shared"  # shared: pi_high = pi_low = pi_theta (the paper)
    levels: dict[Name, LevelSpec]
    adaptive: AdaptiveSpec = AdaptiveSpec()
    target: TargetSpec = TargetSpec()
    bandit: Annotated[BanditSpec, Later(BanditSpec())] = BanditSpec()
    thompson: Annotated[ThompsonSpec, Later(ThompsonSpec())] = ThompsonSpec()
    pools: Annotated[PoolsSpec, Later(PoolsSpec())] = PoolsSpec()
    greso: Annotated[GresoSpec, Later(GresoSpec())] = GresoSpec()
    vcrl: Annotated[VcrlSpec, Later(VcrlSpec())] = VcrlSpec()
    snr: Annotated[SnrSpec, Later(SnrSpec())] = SnrSpec()
    remeasure: Annotated[RemeasureSpec, Later(RemeasureSpec())] = RemeasureSpec()

    @field_validator("weights", mode="before")
    @classmethod
    def _two_meanings(cls, v: object) -> object:
        if v == "per_level":
            raise ValueError(
                "'per_level' is now called 'snapshot' (one network; its state at a level's end answers that level's "
                "problems later): take that, or 'separate' for a network of its own at each level"
            )
        return v

    @model_validator(mode="after")
    def _thresholds(self) -> CurriculumSpec:
        if self.weights != "shared" and self.schedule in IN_NO_ORDER:
            raise ValueError(
                f"weights '{self.weights}' needs levels one after another: use schedule sequential or adaptive"
            )
        if not self.levels:
            raise ValueError("levels is empty: a curriculum needs at least one level")
        pairs = list(self.levels.items())
        for (a, la), (b, lb) in zip(pairs, pairs[1:], strict=False):
            if not la.quality_threshold < lb.quality_threshold:
                raise ValueError(
                    f"quality_threshold must increase from level to level, but {a} has {la.quality_threshold} "
                    f"and {b} has {lb.quality_threshold}"
                )
        return self

    @model_validator(mode="after")
    def _measured_anew(self) -> CurriculumSpec:
        if self.remeasure.every is None:
            return self
        if self.weights != "shared":
            raise ValueError(
                f"remeasure.every measures the one policy of the run, and weights '{self.weights}' has several: use "
                "weights=shared, or remeasure.every=null"
            )
        strata_move = len(self.levels) > 1 and self.strata != "all"
        bounded = list(self.levels.values())[-1].quality_threshold < 1.0
        reads = self.selection in BY_DIFFICULTY or ":" in self.selection
        if not (strata_move or bounded or reads):
            raise ValueError(
                f"remeasure.every would change nothing: every level has all problems, and selection '{self.selection}' "
                "reads no difficulty: use several levels, selection target or blocks, or remeasure.every=null"
            )
        return self
