"""What runs in Ray's actors: OpenRLHF's policy actor and rollout engine, each with what our loop asks of it.

Imported in processes where OpenRLHF is (in a rehearsal: after `rehearsal.install`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import deepspeed
import ray
import torch
from openrlhf.models import PolicyLoss
from openrlhf.models.loss import aggregate_loss
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ray.ppo_actor import PolicyModelActor
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor

from eprli_lab.algorithm.loss import k3
from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.local.lora import merged_weight, plain_parameters
from eprli_lab.backends.openrlhf.engine_worker import Shapes, digest, refuse_disabled
from eprli_lab.backends.openrlhf.flags import OWN, correction_attributes
from eprli_lab.backends.openrlhf.rehearsal.vllm_cpu import ENGINE
from eprli_lab.backends.openrlhf.rows import Row, pad
from eprli_lab.backends.token_loss import context_for, corrected_losses, measure
from eprli_lab.backends.update_stats import UpdateStats
from eprli_lab.records import Completion, Sampling

_Policy: Any = PolicyModelActor.__ray_metadata__.modified_class
_Rollout: Any = RolloutRayActor.__ray_metadata__.modified_class


class MeasuredLoss(PolicyLoss):  # type: ignore[misc]
    """OpenRLHF's loss with a level's bounds, which also measures the tokens that pass through it.

    ppo_clip and gspo are its own, and so is the correction of ppo_clip; other objectives stand in its place.
    """

    def begin(self, settings: dict[str, Any], rank: int = 0) -> None:
        """Take a level's bounds, objective and aggregation for the update that follows."""
        self.clip_eps_low, self.clip_eps_high = settings["clip_low"], settings["clip_high"]
        self.token_level_loss = settings["aggregation"] != "sequence_mean"
        self.objective, self.correction = settings["objective"], settings["correction"]
        self.policy_loss_type = "gspo" if self.objective == "gspo" else "ppo"
        self.covariance, self.seed, self.calls = settings["covariance"], (settings["seed"], "objective", rank), 0
        for name, value in correction_attributes(self.correction).items():
            setattr(self, name, value)
        self.sums = UpdateStats()
        self.current: Any = None  # [B]: whose sampling weights are those that the update starts from; None: not now
        self.reference: Any = None  # [B, T - 1]: log-probabilities under the reference

    def forward(self, log_probs: Any, old_log_probs: Any, advantages: Any, action_mask: Any = None, **more: Any) -> Any:
        """As PolicyLoss; with an objective that it has not, that one's loss of a token in the place of its own."""
        mask, corrected = action_mask.bool(), self.correction.kind != "none"
        sampled = more["rollout_log_probs"] if corrected else old_log_probs
        rows = torch.arange(len(mask), device=mask.device)[:, None].expand(mask.shape)[mask]
        new, sampler, values = log_probs[mask], sampled[mask], advantages[mask]
        trainer = old_log_probs[mask] if corrected else None
        clip = (self.clip_eps_low, self.clip_eps_high)
        self._measure(log_probs.detach(), sampled, mask)
        measure(
            self.sums, self.objective, new.detach().float(), sampler.float(),
            None if trainer is None else trainer.float(), values, clip, rows, self.correction,
        )  # fmt: skip
        made = super().forward(log_probs, old_log_probs, advantages, action_mask=action_mask, **more)
        if self.objective in OWN:
            return made
        self.calls += 1
        context = context_for(rows, derive_seed(*self.seed, self.calls), self.covariance)
        loss = corrected_losses(self.objective, new, sampler, trainer, values, clip, context, self.correction)
        spread = torch.zeros_like(log_probs).masked_scatter(mask, loss.to(log_probs.dtype))
        sizes = {k: more[k] for k in ("dp_size", "batch_num_tokens", "global_batch_size") if k in more}
        return aggregate_loss(spread, action_mask, token_level_loss=self.token_level_loss, **sizes), *made[1:]

    @torch.no_grad()
    def _measure(self, new: Any, sampled: Any, mask: Any) -> None:
        """Against the reference, and trainer against sampler where the weights are the same."""
        if self.reference is not None:
            self.sums.reference_seen(k3(new[mask].float(), self.reference[mask].float()))
        if self.current is not None:
            fresh = mask & self.current[:, None]
            self.sums.compare(new[fresh].float(), sampled[fresh].float())


class MergedWeight:
    """What the broadcast reads of a parameter, merged when it is read: one at a time, the policy as it was."""

    requires_grad = True

    def __init__(self, parameter: Any, layer: Any) -> None:
        self.shape, self.dtype, self.parameter, self.layer = parameter.shape, parameter.dtype, parameter, layer

    @property
    def data(self) -> Any:
        """The tensor that is sent."""
        return self.parameter.data if self.layer is None else merged_weight(self.layer)


class LevelPolicyActor(_Policy):  # type: ignore[misc]
    """A rank of the policy: trains on what our loop made, with the settings that come along."""

    def init_model_from_pretrained(self, strategy: Any, pretrain: str, **more: Any) -> None:
        """As PolicyModelActor's; then the loss measures, and entropies are read on the way."""
        if strategy.args.vllm.sync_backend == "gloo":  # a rehearsal
            from eprli_lab.backends.openrlhf.rehearsal import plain_adam

            plain_adam(strategy)
        super().init_model_from_pretrained(strategy, pretrain, **more)
        self.actor.model.lr_scheduler = None  # our loop sets the rate of every step; a scheduler would set it back
        theirs = self.trainer.actor_loss_fn
        self.loss = MeasuredLoss(theirs.clip_eps_low, theirs.clip_eps_high, dual_clip=theirs.dual_clip)
        self.trainer.actor_loss_fn = self.loss
        self.entropies: Any = None
        self.actor.register_forward_hook(self._read_entropy)
        without_dropout(self.actor.model.module)
        refuse_disabled(getattr(self.trainer, "_model_update_group", None))

    def _read_entropy(self, module: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, tuple) and getattr(output[1], "entropy", None) is not None:
            self.entropies = output[1].entropy.detach()

    def update(self, rows: dict[int, Row], steps: list[list[list[int]]], settings: list[dict[str, Any]]) -> UpdateStats:
        """Train on this rank's rows. `steps`: per optimizer step its microbatches, each a list of row indices.
        `settings`: per optimizer step.

        An index below zero is a row that only keeps the ranks in step: -1 - i stands for row i without weight.
        """
        self.loss.begin(settings[0], self._rank)
        self.trainer.args.actor.entropy_coef = settings[0]["entropy_coef"]  # read again at every training step
        engine, sums = self.actor.model, self.loss.sums
        for number, (micros, own) in enumerate(zip(steps, settings, strict=True)):
            for group in engine.optimizer.param_groups:
                group["lr"] = own["learning_rate"]
            loss = 0.0
            for i, members in enumerate(micros):
                last = i == len(micros) - 1
                engine.set_gradient_accumulation_boundary(last)
                loss += self._micro([(rows[m if m >= 0 else -1 - m], m >= 0) for m in members], own, number == 0)
            norm = float(self.strategy.get_grad_norm(self.actor))
            sums.step(self.strategy.all_reduce({"loss": loss}, "mean")["loss"], norm)
        return sums

    def _micro(self, members: list[tuple[Row, bool]], settings: dict[str, Any], first: bool) -> float:
        """One forward and backward pass through OpenRLHF's training step; its part of the loss."""
        batch = pad(members, int(self.tokenizer.pad_token_id or 0))
        device = torch.cuda.current_device()
        experience = Experience(**batch["fields"])
        experience.to_device(device)
        self.loss.current = batch["current"].to(device) if first else None
        self.loss.reference = experience.base_action_log_probs
        normalise = {k: torch.tensor(v, device=device) for k, v in settings["normalise"].items()}
        info = {"dp_size": settings["ranks"], **normalise}
        status = self.trainer.training_step(experience, settings["kl_coef"], 0, info)
        mask = experience.action_mask.bool()
        if self.entropies is not None:
            self.loss.sums.entropy_seen(self.entropies[:, -mask.shape[1] :][mask])
        value = float(status["metrics"]["policy_loss"])
        if settings["entropy_coef"] > 0:
            value -= settings["entropy_coef"] * float(status["metrics"]["entropy_loss"])
        return value + (settings["kl_coef"] * float(status["metrics"]["kl"]) if settings["kl_coef"] > 0 else 0.0)

    def save_state(self, path: str) -> None:
        """`path/policy` (rank 0) and this rank's optimizer state."""
        from eprli_lab.backends.openrlhf.state import save_optimizer

        self.strategy.save_model(self.actor, self.tokenizer, str(Path(path) / "policy"))
        save_optimizer(self.actor.model, Path(path), self._rank, self._world_size)

    def load_state(self, path: str) -> None:
        """Restore what `save_state` wrote."""
        from eprli_lab.backends.openrlhf.state import load_module, load_optimizer

        load_module(self.actor.model, Path(path) / "policy")
        load_optimizer(self.actor.model, Path(path), self._rank, self._world_size)

    def _sent(self) -> list[tuple[str, Any]]:
        """(name, parameter) in the order of the broadcast, under the names that an engine knows, adapters merged."""
        module = self.actor.model.module
        if not hasattr(module, "peft_config"):
            return list(module.named_parameters())
        return [(name, MergedWeight(p, layer)) for name, p, layer in plain_parameters(module)]

    def broadcast_to_vllm(self) -> None:
        """As PolicyModelActor's; of a policy with adapters the merged weights.

        OpenRLHF would send `base_model.model...base_layer.weight` and the adapter's two matrices, none of which an
        engine has. The walk over the parameters, which is all that it asks of the module, is ours meanwhile.
        """
        module, named = self.actor.model.module, self._sent()
        if not hasattr(module, "peft_config"):
            super().broadcast_to_vllm()
            return
        module.named_parameters = lambda: iter(named)
        try:
            super().broadcast_to_vllm()
        finally:
            del module.named_parameters

    def shapes(self) -> Shapes:
        """Parameter -> its whole shape, in the order of the broadcast."""
        return {name: tuple(getattr(p, "ds_shape", p.shape)) for name, p in self._sent()}

    def digests(self) -> dict[str, str]:
        """Parameter -> digest of its bits, adapters merged; under ZeRO 3 every rank must be asked."""
        found = {}
        for name, p in self._sent():
            with deepspeed.zero.GatheredParameters([p], enabled=self.strategy.args.ds.zero_stage == 3):
                found[name] = digest(p.data)
        return found

    def settings_in_force(self) -> dict[str, Any]:
        """What the last update was made with, read back from the running parts."""
        loss, engine = self.trainer.actor_loss_fn, self.actor.model
        return {
            "clip_low": loss.clip_eps_low,
            "clip_high": loss.clip_eps_high,
            "token_level": loss.token_level_loss,
            "policy_loss_type": loss.policy_loss_type,
            "is_correction_level": loss.is_correction_level,
            "entropy_coef": self.trainer.args.actor.entropy_coef,
            "optimizer_steps": loss.sums.steps,
            "learning_rate": engine.optimizer.param_groups[0]["lr"],
            "max_grad_norm": engine.gradient_clipping(),
            "zero_stage": engine.zero_optimization_stage(),
        }


class GroupRolloutActor(_Rollout):  # type: ignore[misc]
    """A rollout engine that answers whole groups with tokens and log-probabilities."""

    async def __init__(  # type: ignore[misc]
        self, *args: Any, trust_remote_code: bool = False, **kwargs: Any
    ) -> None:
        kwargs["worker_extension_cls"] = "eprli_lab.backends.openrlhf.engine_worker.EngineWorker"
        if os.environ.get("EPRLI_REHEARSAL"):
            kwargs |= ENGINE
        await super().__init__(*args, **kwargs, trust_remote_code=trust_remote_code)

    async def sample_groups(
        self, prompts: list[list[int]], seeds: list[int], sampling: Sampling, stops: list[int]
    ) -> AsyncIterator[tuple[int, list[Completion]]]:
        """(index of the prompt, its n responses) of each group, as it is finished.

        The stop tokens are the run's own: the engine's idea of them (config.json, generation_config.json) is put aside.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        shared: dict[str, Any] = {
            "n": sampling.n,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "stop": list(sampling.stop),
            "stop_token_ids": stops,
            "ignore_eos": True,
            "logprobs": 0,  # of the sampled token alone
            "detokenize": bool(sampling.stop),
            "output_kind": RequestOutputKind.FINAL_ONLY,  # else an answer holds what the last step went on with only
        }

        async def group(i: int) -> tuple[int, list[Completion]]:
            out = await self.generate(prompts[i], SamplingParams(**shared, seed=seeds[i] % 2**63))
            return i, [
                Completion(
                    tokens=tuple(o.token_ids),
                    logprobs=tuple(float(at[t].logprob) for t, at in zip(o.token_ids, o.logprobs, strict=True)),
                    finish=str(o.finish_reason),
                )
                for o in out.outputs
            ]

        tasks = [asyncio.create_task(group(i)) for i in range(len(prompts))]  # asked in order
        for done in asyncio.as_completed(tasks):
            yield await done

    async def digests(self, shapes: Shapes) -> dict[str, str]:
        """Trainer's name -> digest of what the engine's first worker holds of it (engine_worker.py)."""
        found: dict[str, str] = (await self.llm.collective_rpc("digests", args=(dict(shapes),)))[0]
        return found

    async def forget(self, shapes: Shapes) -> None:
        """NaN in every weight that the trainer is about to send."""
        await self.llm.collective_rpc("forget", args=(dict(shapes),))


def without_dropout(model: Any) -> None:
    """Trainer and sampler must be the same function; OpenRLHF trains in the mode in which dropout acts."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


RemotePolicy = ray.remote(num_gpus=1)(LevelPolicyActor)
RemoteRollout = ray.remote(GroupRolloutActor)
