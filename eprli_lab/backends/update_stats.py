"""What an update measures on the way: running sums over its tokens and optimizer steps."""

from __future__ import annotations

import torch
from torch import Tensor

from eprli_lab.algorithm.clipped_tokens import clipped_tokens
from eprli_lab.algorithm.importance import importance_weights
from eprli_lab.algorithm.loss import k3
from eprli_lab.records import LossTerms


class UpdateStats:
    """Of one update; on several data-parallel ranks, of one rank's share (`merge` adds the others')."""

    def __init__(self) -> None:
        self.loss = self.norm = self.entropy = self.kl = self.reference = 0.0
        self.steps = self.tokens = self.low = self.negative = self.high = self.positive = 0
        self.mismatch, self.compared, self.mismatch_max, self.with_reference = 0.0, 0, 0.0, False
        self.weight, self.weighed, self.cut, self.weight_max = 0.0, 0, 0, 0.0

    def step(self, loss: float, norm: float) -> None:
        """One optimizer step: its loss, and the gradient's norm before clipping."""
        self.loss, self.norm, self.steps = self.loss + loss, self.norm + norm, self.steps + 1

    def tokens_seen(
        self,
        new: Tensor,
        old: Tensor,
        advantages: Tensor,
        clip_low: float,
        clip_high: float,
        *,
        objective: str = "ppo_clip",
        sequence: Tensor | None = None,
        trainer: Tensor | None = None,
    ) -> None:
        """Tokens [T]: log-probabilities (nats) under the new and the sampling policy, advantages.

        `objective`, `sequence`: whose bounds count (algorithm/clipped_tokens.py). `trainer`: what the ratio is to where
        that is not the sampler.
        """
        self.tokens += len(new)
        self.kl += float(k3(old.double(), new.double()).sum())  # samples are the old policy's
        start = old if trainer is None else trainer
        owners = new.new_zeros(len(new), dtype=torch.long) if sequence is None else sequence
        low, high = clipped_tokens(objective, new, start, advantages, clip_low, clip_high, owners)
        self.low, self.negative = self.low + int(low.sum()), self.negative + int((advantages < 0).sum())
        self.high, self.positive = self.high + int(high.sum()), self.positive + int((advantages > 0).sum())

    def weights_seen(self, trainer: Tensor, sampler: Tensor, cut: Tensor) -> None:
        """Log-probabilities [T] before the update, and which tokens a correction cut."""
        weights = importance_weights(trainer.double(), sampler.double())
        self.weight, self.weighed = self.weight + float(weights.sum()), self.weighed + len(weights)
        self.cut += int(cut.sum())
        self.weight_max = max(self.weight_max, float(weights.max())) if len(weights) else self.weight_max

    def entropy_seen(self, entropies: Tensor) -> None:
        """Entropies [T] in nats of the contexts of the same tokens."""
        self.entropy += float(entropies.sum())

    def reference_seen(self, estimates: Tensor) -> None:
        """k3 estimates [T] to the reference."""
        self.reference, self.with_reference = self.reference + float(estimates.sum()), True

    def compare(self, trainer: Tensor, sampler: Tensor) -> None:
        """Log-probabilities [T] of the same tokens under the same weights."""
        if len(trainer):
            self.mismatch += float(k3(sampler.double(), trainer.double()).sum())
            self.compared += len(trainer)
            self.mismatch_max = max(self.mismatch_max, float((trainer - sampler).abs().max()))

    def merge(self, other: UpdateStats) -> None:
        """Add the token sums of another rank; steps, loss and norm are the same on every rank."""
        sums = ("entropy", "kl", "reference", "tokens", "low", "negative", "high", "positive")
        for name in (*sums, "weight", "weighed", "cut"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.weight_max = max(self.weight_max, other.weight_max)
        self.mismatch, self.compared = self.mismatch + other.mismatch, self.compared + other.compared
        self.mismatch_max = max(self.mismatch_max, other.mismatch_max)
        self.with_reference = self.with_reference or other.with_reference

    def terms(self, phases: dict[str, float] | None = None) -> LossTerms:
        """Means over tokens and steps. `phases`: seconds of the engine's own phases."""
        return LossTerms(
            loss=self.loss / self.steps,
            entropy=self.entropy / self.tokens,
            approx_kl=self.kl / self.tokens,
            mismatch_kl=self.mismatch / self.compared if self.compared else None,
            mismatch_max=self.mismatch_max if self.compared else None,
            kl_ref=self.reference / self.tokens if self.with_reference else None,
            clip_fraction_low=self.low / max(1, self.negative),
            clip_fraction_high=self.high / max(1, self.positive),
            grad_norm=self.norm / self.steps,
            optimizer_steps=self.steps,
            phases=tuple((phases or {}).items()),
            is_weight_mean=self.weight / self.weighed if self.weighed else None,
            is_weight_cut=self.cut / self.weighed if self.weighed else None,
            is_weight_max=self.weight_max if self.weighed else None,
        )
