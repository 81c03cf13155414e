"""The objective of an update: advantage, loss of a token, entropy bonus, correction of trainer against sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from eprli_lab.config.curriculum import LevelSpec
from eprli_lab.config.extensions import AdvantageName, ObjectiveName
from eprli_lab.config.fields import Fraction, Later, Positive, Strict

Coefficient = Annotated[float, Field(ge=0.0, le=100.0)]
SEQUENCE_MEAN = "sequence_mean"
OF_OUTCOMES = ("max_rl", "batch_norm", "pass_at_k")  # advantages that nothing but the outcome reward goes into


class CovarianceSpec(Strict):
    """Which tokens clip_cov and kl_cov act on; defaults of arXiv 2505.22617."""

    clip_share: Fraction = 2e-4  # of all tokens: how many clip_cov holds back, at least one
    clip_low: float = 1.0  # covariance above which a token may be held back
    clip_high: float = 5.0  # and below which
    kl_share: Fraction = 2e-3  # of all tokens: how many kl_cov penalises, at least one
    kl_coef: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0

    @model_validator(mode="after")
    def _band(self) -> CovarianceSpec:
        if self.clip_low >= self.clip_high:
            raise ValueError(f"clip_low {self.clip_low} is not below clip_high {self.clip_high}: no token lies between")
        return self


class ObjectiveSpec(Strict):
    """What an update maximises; the same at every level."""

    advantage: AdvantageName = "group_norm"
    objective: Annotated[ObjectiveName, Later("ppo_clip")] = "ppo_clip"  # the loss of a token
    aggregation: Literal["token_mean", "sequence_mean", "constant"] = "token_mean"
    pass_k: Annotated[Positive, Later(4)] = 4  # k of advantage=pass_at_k
    covariance: Annotated[CovarianceSpec, Later(CovarianceSpec())] = CovarianceSpec()  # of clip_cov and kl_cov
    entropy_coef: Annotated[Coefficient, Later(0.0)] = 0.0  # of the bonus on the policy's entropy; at the start
    # Nats a token: the coefficient goes up by entropy_step after an update whose entropy is below it, else down.
    entropy_target: Annotated[Annotated[float, Field(gt=0.0)] | None, Later(None)] = None
    entropy_step: Annotated[Annotated[float, Field(gt=0.0, le=1.0)], Later(0.005)] = 0.005
    # Trainer against sampler, w = pi_trainer / pi_sampler before the update. tis: min(w, is_cap); icepop: w, and 0
    # outside [is_low, is_high].
    is_correction: Annotated[Literal["none", "tis", "icepop"], Later("none")] = "none"
    is_cap: Annotated[Annotated[float, Field(ge=1.0)], Later(2.0)] = 2.0
    is_low: Annotated[Fraction, Later(0.5)] = 0.5
    is_high: Annotated[Annotated[float, Field(ge=1.0)], Later(5.0)] = 5.0

    @model_validator(mode="after")
    def _sequences(self) -> ObjectiveSpec:
        if self.objective == "gspo" and self.aggregation != SEQUENCE_MEAN:
            raise ValueError(
                f"objective gspo is a mean over sequences: set aggregation={SEQUENCE_MEAN}, not {self.aggregation}"
            )
        if self.is_correction != "none" and self.objective in ("gspo", "dppo_tv"):
            what = "weighs whole sequences" if self.objective == "gspo" else "measures its step from the sampler"
            raise ValueError(
                f"is_correction: {self.objective} {what}, so tokens have no weight: set is_correction=none"
            )
        return self

    @model_validator(mode="after")
    def _idle(self) -> ObjectiveSpec:
        """A setting that nothing reads is refused."""
        no_clip, no_kl = self.objective != "clip_cov", self.objective != "kl_cov"
        idle = {
            "pass_k": (self.advantage != "pass_at_k", "advantage=pass_at_k"),
            "entropy_step": (self.entropy_target is None, "an entropy_target"),
            "is_cap": (self.is_correction != "tis", "is_correction=tis"),
            "is_low": (self.is_correction != "icepop", "is_correction=icepop"),
            "is_high": (self.is_correction != "icepop", "is_correction=icepop"),
            "covariance.clip_share": (no_clip, "objective=clip_cov"),
            "covariance.clip_low": (no_clip, "objective=clip_cov"),
            "covariance.clip_high": (no_clip, "objective=clip_cov"),
            "covariance.kl_share": (no_kl, "objective=kl_cov"),
            "covariance.kl_coef": (no_kl, "objective=kl_cov"),
        }
        for key, (is_idle, needs) in idle.items():
            name = key.rpartition(".")[2]
            node = self.covariance if "." in key else self
            if is_idle and getattr(node, name) != type(node).model_fields[name].default:
                raise ValueError(f"{key} does nothing without {needs}: set that as well, or leave {key} out")
        return self


def check_rewards(
    algorithm: ObjectiveSpec, density: str, difficulty_weights: str, levels: Mapping[str, LevelSpec]
) -> None:
    """Raises ValueError where an advantage cannot be made of the levels' rewards."""
    name = algorithm.advantage
    if name not in OF_OUTCOMES:
        return
    if density != "outcome":
        raise ValueError(
            f"algorithm.advantage={name} is made of outcome rewards alone: set algorithm.reward_density=outcome, or "
            "take another advantage"
        )
    if name == "batch_norm" and difficulty_weights != "none":
        raise ValueError(
            "algorithm.advantage=batch_norm weighs all tokens of a batch alike, and difficulty_weights="
            f"{difficulty_weights} does not: set one of them back"
        )
    for level, spec in levels.items():
        where = f"curriculum.levels.{level}"
        if name == "pass_at_k" and algorithm.pass_k > spec.group_size:
            raise ValueError(
                f"algorithm.pass_k={algorithm.pass_k} is more than {where}.group_size, {spec.group_size}: lower it"
            )
        if name == "pass_at_k" and (spec.length_coef > 0 or spec.reward != "outcome"):
            raise ValueError(
                f"algorithm.advantage=pass_at_k counts right and wrong responses, and {where} shapes its rewards: set "
                "length_coef=0 and reward=outcome"
            )
        if name == "max_rl" and (spec.length_coef > 0 or (spec.reward == "outcome" and spec.reward_wrong < 0)):
            raise ValueError(
                f"algorithm.advantage=max_rl divides by the mean reward, and rewards of {where} may be negative: set "
                "length_coef=0 and reward_wrong to 0 or more"
            )
