"""The local engine: an in-process torch policy that samples with our decode loop and trains on packed sequences."""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from eprli_lab.algorithm.loss import k3, sequence_weights
from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.batching import microbatches, minibatches
from eprli_lab.backends.local.heads import head_of
from eprli_lab.backends.local.identity import policy_identity
from eprli_lab.backends.local.loops import DecodeLoop
from eprli_lab.backends.local.lora import attach, load_adapter, save_adapter, save_merged, without
from eprli_lab.backends.local.model import load_weights
from eprli_lab.backends.local.optimizer import MasterAdamW, read_optimizer, write_optimizer
from eprli_lab.backends.local.packing import Packed, response_rows, target_scores
from eprli_lab.backends.local.policy import load_policy
from eprli_lab.backends.local.stopping import StopStrings
from eprli_lab.backends.tensors import disk_errors
from eprli_lab.backends.token_loss import context_for, corrected_losses, measure
from eprli_lab.backends.tokenization import TokenizerAdapter
from eprli_lab.backends.update_stats import UpdateStats
from eprli_lab.config.backend import LocalSpec
from eprli_lab.config.data import ModelSpec
from eprli_lab.config.prompts import PromptsSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.errors import NonFiniteError, UserError
from eprli_lab.records import Batch, LossTerms, Problem, Response, Sampling, UpdateSettings


class LocalBackend:
    """One causal LM of transformers on CPU or CUDA (interface: backends/base.py)."""

    def __init__(
        self,
        model: ModelSpec,
        optim: OptimSpec,
        backend: LocalSpec,
        *,
        family: str | None,
        kl_reference: bool,
        seed: int,
        ends: bool = False,
        prompts: PromptsSpec | None = None,
    ) -> None:
        """`ends`: say of every token where in the text it ends (needed where steps are rewarded)."""
        torch.set_num_threads(backend.threads)
        self.spec = backend
        device = backend.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device == "cuda" and not torch.cuda.is_available():
            raise UserError("backend.device: cuda was asked for, but torch sees no CUDA device: use cpu or auto")
        torch.manual_seed(seed)
        self.policy, self.tokenizer = load_policy(model, family, device)
        self.policy.eval()  # no dropout: trainer and sampler must be the same function
        torch.manual_seed(seed)  # of the adapters; a policy that was built from a config has used a seed of its own
        self.lora, self.adapters = model.lora, attach(self.policy, model.lora) if model.lora else None
        self.adapter = TokenizerAdapter(self.tokenizer, self.policy.generation_config, prompts=prompts, ends=ends)
        self.head = head_of(self.policy)
        self.kl_reference = kl_reference
        self.reference, self.reference_head = self.policy, self.head  # with adapters: the base under them
        if kl_reference and self.adapters is None:
            self.reference = copy.deepcopy(self.policy).requires_grad_(False)
            self.reference_head = head_of(self.reference)
        self.optimizer = MasterAdamW(self.policy, optim)
        self.loop = DecodeLoop(self.policy, backend.decode, backend.threads)

    @property
    def decode_loop(self) -> str:
        """Which decode loop samples: torch, or compiled and by what."""
        return self.loop.description

    # ------------------------------------------------------------------ sampling

    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, seed: int) -> list[tuple[Response, ...]]:
        """n responses for each problem from the current weights, `sample_batch` rows at once."""
        strings = StopStrings(self.tokenizer, sampling.stop) if sampling.stop else None
        prompts = [self.adapter.prompt(p) for p in problems]
        at_once = max(1, self.spec.sample_batch // sampling.n)
        out: list[tuple[Response, ...]] = []
        for i in range(0, len(prompts), at_once):
            chunk = prompts[i : i + at_once]
            groups = self.loop.decode(
                chunk, sampling, stop_ids=self.adapter.stops, seed=seed, first_row=i * sampling.n, strings=strings
            )
            asked = problems[i : i + at_once]
            out += [
                self.adapter.responses(problem, prompt, group, sampling)
                for problem, prompt, group in zip(asked, chunk, groups, strict=True)
            ]
        return out

    # ------------------------------------------------------------------ training

    def update(self, batch: Batch, settings: UpdateSettings) -> LossTerms:
        """mu_l passes over the batch in minibatches of whole groups, one optimizer step each."""
        if settings.kl_coef > 0 and not self.kl_reference:
            raise ValueError("kl_coef is positive, but this engine was built without a reference policy")
        self.loop.forget()  # also when a later step fails: its weights are those before the first step
        total = UpdateStats()
        rng = random.Random(settings.seed)
        passes = [minibatches(batch, settings.minibatches, rng) for _ in range(settings.inner_iterations)]
        steps = [members for one in passes for members in one]
        trainer = None
        if settings.correction.kind != "none" and len(steps) > 1:  # of one step: its own values, read on the way
            trainer = self._before(batch, passes[0], settings)
        for members in steps:
            self._optimizer_step(batch, members, settings, total, trainer)
        return total.terms()

    def _optimizer_step(
        self,
        batch: Batch,
        members: list[int],
        settings: UpdateSettings,
        total: UpdateStats,
        trainer: dict[int, Tensor] | None,
    ) -> None:
        """Accumulate the gradient of one minibatch over microbatches, check it, step."""
        lengths = [len(batch.responses[i].tokens) for i in members]
        weights = sequence_weights(lengths, settings.aggregation, settings.constant_tokens)
        weight_of = dict(zip(members, weights, strict=True))
        self.optimizer.zero_grad()
        loss = 0.0
        for number, micro in enumerate(microbatches(batch, members, self.spec.microbatch_tokens)):
            known = torch.cat([trainer[i] for i in micro]) if trainer is not None else None
            part = self._loss(batch, micro, [weight_of[i] for i in micro], settings, total, known, number)
            part.backward()
            loss += part.item()
        norm = self.optimizer.clip(settings.max_grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimizer.zero_grad()
            raise NonFiniteError(f"loss {loss} and gradient norm {norm} are not both finite")
        self.optimizer.step(settings.learning_rate)
        total.step(loss, norm)

    @torch.no_grad()
    def _before(self, batch: Batch, parts: list[list[int]], settings: UpdateSettings) -> dict[int, Tensor]:
        """Response -> log-probabilities [|o_i|] under the weights that the update starts from.

        Packed as the first pass packs them, so that its first ratios are exactly 1.
        """
        out: dict[int, Tensor] = {}
        for members in parts:
            for micro in microbatches(batch, members, self.spec.microbatch_tokens):
                rows = self._rows(batch, micro)
                logp, _ = target_scores(self.policy, self.head, *rows, settings.temperature)
                out |= dict(zip(micro, logp.split([len(batch.responses[i].tokens) for i in micro]), strict=True))
        return out

    def _rows(self, batch: Batch, members: list[int]) -> tuple[Packed, Tensor, Tensor]:
        """Some responses packed; the flat positions [T] that predict their tokens; those tokens [T]."""
        chosen = [batch.responses[i] for i in members]
        return response_rows(self.policy, chosen, self.spec.pack_tokens)

    def _loss(
        self,
        batch: Batch,
        members: list[int],
        weights: list[float],
        settings: UpdateSettings,
        total: UpdateStats,
        trainer: Tensor | None,
        number: int,
    ) -> Tensor:
        """Weighted loss of some responses, microbatch `number` of a step; adds what is measured to `total`.

        `trainer`: log-probabilities [T] before the update; None: not known, or not wanted.
        """
        device, chosen = self.policy.device, [batch.responses[i] for i in members]
        rows = self._rows(batch, members)
        old = torch.tensor([x for r in chosen for x in r.logprobs], device=device)
        advantages = torch.tensor([x for i in members for x in batch.advantages[i]], device=device)
        repeats = torch.tensor([len(r.tokens) for r in chosen], device=device)
        weight = torch.tensor(weights, device=device).repeat_interleave(repeats)
        sequence = torch.arange(len(chosen), device=device).repeat_interleave(repeats)
        other = None
        if settings.kl_coef > 0:
            with torch.no_grad(), without(self.adapters) if self.adapters else contextlib.nullcontext():
                other, _ = target_scores(self.reference, self.reference_head, *rows, settings.temperature)
        bonus = settings.entropy_coef > 0
        new, entropies = target_scores(self.policy, self.head, *rows, settings.temperature, bonus)
        if settings.correction.kind != "none" and trainer is None:
            trainer = new.detach()
        clip = (settings.clip_low, settings.clip_high)
        context = context_for(
            sequence, derive_seed(settings.seed, "objective", total.steps, number), settings.covariance
        )
        loss = corrected_losses(settings.objective, new, old, trainer, advantages, clip, context, settings.correction)
        reference = None
        if other is not None:
            reference = k3(new, other)
            loss = loss + settings.kl_coef * reference
        if bonus:
            loss = loss - settings.entropy_coef * entropies
        with torch.no_grad():
            measure(total, settings.objective, new, old, trainer, advantages, clip, sequence, settings.correction)
            total.entropy_seen(entropies)
            if reference is not None:
                total.reference_seen(reference)
            if total.steps == 0:
                current = torch.tensor([batch.current[i] for i in members], device=device).repeat_interleave(repeats)
                total.compare(new[current], old[current])
        return (loss * weight).sum()

    # ------------------------------------------------------------------ state

    def save(self, path: Path) -> None:
        """`path/policy`: a Hugging Face checkpoint; `path/optimizer.*`: AdamW's moments (safetensors), steps (JSON).

        With LoRA `path/policy` holds the adapter alone, and `path/merged` the whole model where `model.lora.merged` is
        set. In bfloat16 the optimizer's file holds the float32 master weights as well.
        """
        with disk_errors(path):
            if self.adapters is None:
                self.policy.save_pretrained(path / "policy")
            else:
                save_adapter(self.adapters, path / "policy")
            self.tokenizer.save_pretrained(path / "policy")
            if self.adapters is not None and self.lora is not None and self.lora.merged:
                save_merged(self.adapters, path / "merged")
                self.tokenizer.save_pretrained(path / "merged")
            write_optimizer(self.optimizer, path)

    def load(self, path: Path) -> None:
        """Restore what `save` wrote, bit for bit. Raises UserError for what is damaged or of another model."""
        tensors, steps = read_optimizer(path)
        self.optimizer.check(tensors, steps)  # a refused checkpoint leaves everything as it was
        if self.adapters is None:
            load_weights(self.policy, path / "policy")
        else:
            load_adapter(self.adapters, path / "policy")
        self.optimizer.restore(tensors, steps)
        self.loop.forget()

    def identity(self) -> str:
        """What decides its answers, as it stands: equal identities answer the same prompts and seed alike."""
        return policy_identity(self.policy, self.tokenizer, self.adapter.stops, self.spec, self.decode_loop)

    def close(self) -> None:
        """Nothing outlives the process."""
        self.loop.forget()
