"""What one update is made with: the level's own values, and those common to all levels."""

from __future__ import annotations

from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.config.spec import RunSpec
from eprli_lab.records import CorrectionSettings, CovarianceSettings, UpdateSettings


def update_settings(
    spec: RunSpec, level: str, learning_rate: float, update: int, entropy_coef: float | None = None
) -> UpdateSettings:
    """Settings of update number `update` (from 0) at `level`. `constant` divides by Len_l unless a number is given.

    `entropy_coef`: the coefficient of this update, where it is not the spec's.
    """
    own, common = spec.curriculum.levels[level], spec.algorithm
    return UpdateSettings(
        clip_low=own.clip.low,
        clip_high=own.clip.high,
        inner_iterations=own.inner_iterations,
        minibatches=own.minibatches,
        aggregation=common.aggregation,
        constant_tokens=common.constant_tokens or own.max_response_tokens,
        kl_coef=common.kl_coef,
        temperature=common.temperature,
        learning_rate=learning_rate,
        max_grad_norm=spec.optim.max_grad_norm,
        seed=derive_seed(spec.rng_seed, "update", update),
        objective=common.objective,
        entropy_coef=common.entropy_coef if entropy_coef is None else entropy_coef,
        covariance=CovarianceSettings(**common.covariance.model_dump()),
        correction=CorrectionSettings(common.is_correction, common.is_cap, common.is_low, common.is_high),
    )
