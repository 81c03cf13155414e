"""The implicit process reward model on the local engine (PRIME, arXiv 2502.01456): a second policy, pi_phi.

It starts as the initial policy, which is kept frozen as pi_ref, and learns outcomes by the cross-entropy of
sigmoid(r(y)), r(y) = beta sum_t log(pi_phi(y_t) / pi_ref(y_t)); what a token adds to r(y) is its reward. Probabilities
are those of temperature 1, whatever was sampled at.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from eprli_lab.algorithm.loss import outcome_cross_entropy
from eprli_lab.backends.batching import token_cuts
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.heads import head_of
from eprli_lab.backends.local.model import load_weights
from eprli_lab.backends.local.optimizer import MasterAdamW, read_optimizer, write_optimizer
from eprli_lab.backends.local.packing import response_rows, target_scores
from eprli_lab.backends.rewarder import OutcomeTerms
from eprli_lab.backends.tensors import disk_errors
from eprli_lab.config.implicit import ImplicitSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.errors import NonFiniteError
from eprli_lab.records import Response

FOLDER = "process"  # of a checkpoint


class ImplicitRewarder:
    """pi_phi, its optimizer and pi_ref, beside an engine that was just built (interface: backends/rewarder.py)."""

    def __init__(self, engine: LocalBackend, implicit: ImplicitSpec, optim: OptimSpec) -> None:
        """`engine`: it holds the initial policy still. With a KL term its frozen reference is shared."""
        self.spec, self.cuts = implicit, engine.spec
        self.phi = copy.deepcopy(engine.policy)
        self.head = head_of(self.phi)
        self.reference, self.reference_head = engine.reference, engine.reference_head
        if self.reference is engine.policy:
            self.reference = copy.deepcopy(engine.policy).requires_grad_(False)
            self.reference_head = head_of(self.reference)
        self.tokenizer = engine.tokenizer
        self.rate = implicit.learning_rate or 2 * optim.learning_rate
        changes = {"learning_rate": self.rate, "weight_decay": 0.0}
        self.optimizer = MasterAdamW(self.phi, optim.model_copy(update=changes))

    def observe(self, responses: Sequence[Response], correct: Sequence[bool]) -> OutcomeTerms:
        """`passes` optimizer steps on the mean cross-entropy of these outcomes; the terms are those of before."""
        terms = [self._step(responses, correct) for _ in range(self.spec.passes)]
        return terms[0]

    def _step(self, responses: Sequence[Response], correct: Sequence[bool]) -> OutcomeTerms:
        """One optimizer step; the terms before it."""
        self.optimizer.zero_grad()
        total, hits = 0.0, 0.0
        for members in self._cut(responses):
            lengths = [len(responses[i].tokens) for i in members]
            outcomes = torch.tensor([float(correct[i]) for i in members], device=self.phi.device)
            scores, losses = outcome_cross_entropy(
                self._ratios([responses[i] for i in members]), lengths, outcomes, self.spec.beta
            )
            (losses.sum() / len(responses)).backward()
            total += float(losses.detach().sum())
            hits += float(((scores.sign() * (2 * outcomes - 1) + 1) / 2).detach().sum())
        norm = self.optimizer.clip(self.spec.max_grad_norm)
        if not (math.isfinite(total) and math.isfinite(norm)):
            self.optimizer.zero_grad()
            raise NonFiniteError(
                f"the process reward model's cross-entropy {total} and gradient norm {norm} are not both finite"
            )
        self.optimizer.step(self.rate)
        return OutcomeTerms(total / len(responses), hits / len(responses))

    @torch.no_grad()
    def score(self, responses: Sequence[Response]) -> list[tuple[float, ...]]:
        """beta log(pi_phi(y_t) / pi_ref(y_t)) of every token."""
        out: list[tuple[float, ...]] = []
        for members in self._cut(responses):
            chosen = [responses[i] for i in members]
            rewards = self.spec.beta * self._ratios(chosen)
            parts = rewards.split([len(r.tokens) for r in chosen])
            out += [tuple(float(x) for x in part) for part in (p.tolist() for p in parts)]
        return out

    def _cut(self, responses: Sequence[Response]) -> list[list[int]]:
        return token_cuts(responses, list(range(len(responses))), self.cuts.microbatch_tokens)

    def _ratios(self, responses: Sequence[Response]) -> Tensor:
        """log pi_phi - log pi_ref of the responses' tokens, one behind the other [T]; the gradient is pi_phi's."""
        rows, index, targets = response_rows(self.phi, responses, self.cuts.pack_tokens)
        with torch.no_grad():
            before, _ = target_scores(self.reference, self.reference_head, rows, index, targets, 1.0)
        now, _ = target_scores(self.phi, self.head, rows, index, targets, 1.0)
        return now - before

    def save(self, path: Path) -> None:
        """`path/process`: a Hugging Face checkpoint of pi_phi, with its optimizer's state beside the weights."""
        with disk_errors(path):
            self.phi.save_pretrained(path / FOLDER)
            self.tokenizer.save_pretrained(path / FOLDER)
            write_optimizer(self.optimizer, path / FOLDER)

    def load(self, path: Path) -> None:
        """A refused checkpoint leaves everything as it was."""
        tensors, steps = read_optimizer(path / FOLDER)
        self.optimizer.check(tensors, steps)
        load_weights(self.phi, path / FOLDER)
        self.optimizer.restore(tensors, steps)
