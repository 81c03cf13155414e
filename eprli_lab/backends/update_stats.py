"""What an update measures on the way: running sums over its tokens and optimizer steps."""

from __future__ import annotations

from torch import Tensor

from eprli_lab.algorithm.loss import clip_counts, k3
from eprli_lab.records import LossTerms


class UpdateStats:
    """Of one update; on several data-parallel ranks, of one rank's share (`merge` adds the others')."""

    def __init__(self) -> None:
        self.loss = self.norm = self.entropy = self.kl = self.reference = 0.0
        self.steps = self.tokens = self.low = self.negative = self.high = self.positive = 0
        self.mismatch, self.compared, self.mismatch_max, self.with_reference = 0.0, 0, 0.0, False

    def step(self, loss: float, norm: float) -> None:
        """One optimizer step: its loss, and the gradient's norm before clipping."""
        self.loss, self.norm, self.steps = self.loss + loss, self.norm + norm, self.steps + 1

    def tokens_seen(self, new: Tensor, old: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> None:
        """Tokens [T]: log-probabilities (nats) under the new and the sampling policy, advantages."""
        self.tokens += len(new)
        self.kl += float(k3(old.double(), new.double()).sum())  # samples are the old policy's
        low, negative, high, positive = clip_counts((new - old).exp(), advantages, clip_low, clip_high)
        self.low, self.negative = self.low + low, self.negative + negative
        self.high, self.positive = self.high + high, self.positive + positive

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
        for name in ("entropy", "kl", "reference", "tokens", "low", "negative", "high", "positive"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
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
        )
