"""The local engine: an in-process torch policy that samples with our decode loop and trains on packed sequences."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from eprli_lab.algorithm.loss import k3, sequence_weights
from eprli_lab.backends.batching import microbatches, minibatches
from eprli_lab.backends.local.heads import head_of
from eprli_lab.backends.local.loops import DecodeLoop
from eprli_lab.backends.local.lora import attach, load_adapter, save_adapter, save_merged, without
from eprli_lab.backends.local.model import load_weights
from eprli_lab.backends.local.optimizer import MasterAdamW
from eprli_lab.backends.local.packing import response_rows, target_scores
from eprli_lab.backends.local.policy import load_policy
from eprli_lab.backends.local.stopping import StopStrings
from eprli_lab.backends.tensors import disk_errors, read_tensors
from eprli_lab.backends.tokenization import TokenizerAdapter
from eprli_lab.backends.update_stats import UpdateStats
from eprli_lab.config.backend import LocalSpec
from eprli_lab.config.data import ModelSpec
from eprli_lab.config.extensions import resolve
from eprli_lab.config.prompts import PromptsSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.errors import NonFiniteError, UserError
from eprli_lab.files import read_json
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
        for _ in range(settings.inner_iterations):
            for members in minibatches(batch, settings.minibatches, rng):
                self._optimizer_step(batch, members, settings, total)
        return total.terms()

    def _optimizer_step(self, batch: Batch, members: list[int], settings: UpdateSettings, total: UpdateStats) -> None:
        """Accumulate the gradient of one minibatch over microbatches, check it, step."""
        lengths = [len(batch.responses[i].tokens) for i in members]
        weights = sequence_weights(lengths, settings.aggregation, settings.constant_tokens)
        weight_of = dict(zip(members, weights, strict=True))
        self.optimizer.zero_grad()
        loss, first = 0.0, total.steps == 0
        for micro in microbatches(batch, members, self.spec.microbatch_tokens):
            part = self._loss(batch, micro, [weight_of[i] for i in micro], settings, total, mismatch=first)
            part.backward()
            loss += part.item()
        norm = self.optimizer.clip(settings.max_grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimizer.zero_grad()
            raise NonFiniteError(f"loss {loss} and gradient norm {norm} are not both finite")
        self.optimizer.step(settings.learning_rate)
        total.step(loss, norm)

    def _loss(
        self,
        batch: Batch,
        members: list[int],
        weights: list[float],
        settings: UpdateSettings,
        total: UpdateStats,
        mismatch: bool,
    ) -> Tensor:
        """Weighted loss of some responses; adds what is measured on the way to `total`."""
        device, chosen = self.policy.device, [batch.responses[i] for i in members]
        packed, index, targets = response_rows(self.policy, chosen, self.spec.pack_tokens)
        old = torch.tensor([x for r in chosen for x in r.logprobs], device=device)
        advantages = torch.tensor([x for i in members for x in batch.advantages[i]], device=device)
        repeats = torch.tensor([len(r.tokens) for r in chosen], device=device)
        weight = torch.tensor(weights, device=device).repeat_interleave(repeats)
        other = None
        if settings.kl_coef > 0:
            with torch.no_grad(), without(self.adapters) if self.adapters else contextlib.nullcontext():
                model, head = self.reference, self.reference_head
                other, _ = target_scores(model, head, packed, index, targets, settings.temperature)
        new, entropies = target_scores(self.policy, self.head, packed, index, targets, settings.temperature)
        objective = resolve("objective", settings.objective)
        loss: Tensor = objective(new, old, advantages, settings.clip_low, settings.clip_high)
        reference = None
        if other is not None:
            reference = k3(new, other)
            loss = loss + settings.kl_coef * reference
        with torch.no_grad():
            total.tokens_seen(new, old, advantages, settings.clip_low, settings.clip_high)
            total.entropy_seen(entropies)
            if reference is not None:
                total.reference_seen(reference)
            if mismatch:
                current = torch.tensor([batch.current[i] for i in members], device=device).repeat_interleave(repeats)
                total.compare(new[current], old[current])
        return (loss * weight).sum()

    # ------------------------------------------------------------------ state

    def save(self, path: Path) -> None:
        """`path/policy`: a Hugging Face checkpoint; `path/optimizer.*`: AdamW's moments (safetensors), steps (JSON).

        With LoRA `path/policy` holds the adapter alone, and `path/merged` the whole model where `model.lora.merged` is
        set. In bfloat16 the optimizer's file holds the float32 master weights as well.
        """
        from safetensors.torch import save_file

        with disk_errors(path):
            if self.adapters is None:
                self.policy.save_pretrained(path / "policy")
            else:
                save_adapter(self.adapters, path / "policy")
            self.tokenizer.save_pretrained(path / "policy")
            if self.adapters is not None and self.lora is not None and self.lora.merged:
                save_merged(self.adapters, path / "merged")
                self.tokenizer.save_pretrained(path / "merged")
            tensors, steps = self.optimizer.state()
            save_file({k: v.contiguous() for k, v in tensors.items()}, path / "optimizer.safetensors")
        (path / "optimizer.json").write_text(json.dumps({"steps": steps}))

    def load(self, path: Path) -> None:
        """Restore what `save` wrote, bit for bit. Raises UserError for what is damaged or of another model."""
        tensors = read_tensors(path / "optimizer.safetensors")
        steps = _steps(path / "optimizer.json")
        self.optimizer.check(tensors, steps)  # a refused checkpoint leaves everything as it was
        if self.adapters is None:
            load_weights(self.policy, path / "policy")
        else:
            load_adapter(self.adapters, path / "policy")
        self.optimizer.restore(tensors, steps)
        self.loop.forget()

    def close(self) -> None:
        """Nothing outlives the process."""
        self.loop.forget()


def _steps(path: Path) -> dict[str, float]:
    """Parameter's number -> AdamW's steps so far. Raises UserError for a file that holds something else."""
    remedy = "it is not a whole checkpoint"
    content = read_json(path, remedy)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(steps, dict) or not all(isinstance(v, (int, float)) and v >= 0 for v in steps.values()):
        raise UserError(f"{path} is damaged (no steps of an optimizer): {remedy}")
    return steps
