"""A run's spec as flags of OpenRLHF, and the argument tree that its parts want, made by its real parser."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.spec import AlgorithmSpec, RunSpec
from eprli_lab.errors import UserError, nearest
from eprli_lab.records import CorrectionSettings

MODULE = "openrlhf.cli.train_ppo_ray"
ESTIMATORS = {"group_norm": "group_norm", "mean_only": "dr_grpo", "rloo": "rloo"}
AGGREGATIONS = {"token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean", "constant": "token-mean"}
OWN = {"ppo_clip": "ppo", "gspo": "gspo"}  # objectives that its PolicyLoss has
Flag = tuple[str, ...]  # name and values
# What `backend.flags` may say: flags that act where our loop drives the actors and that no config value of ours sets.
# All others are read by OpenRLHF's own controller, loss or sampler arguments; here they would do nothing.
HANDED_ON = (
    "--actor.adam.eps",
    "--actor.dual_clip",
    "--actor.gradient_checkpointing_reentrant",
    "--ds.deepcompile",
    "--ds.experts_implementation",
    "--ds.grad_accum_dtype",
    "--ds.overlap_comm",
    "--ds.use_liger_kernel",
    "--ds.zpg",
    "--train.full_determinism_enable",
    "--vllm.sync_with_ray",
)


def flags(spec: RunSpec, policy: str, directory: Path | str) -> list[Flag]:
    """What the spec says, for a policy (directory or id) and the run's directory.

    What changes from level to level (clip bounds, passes, group and response sizes) stands here as the first level has
    it; the actors and engines are told each level's own with every call.
    """
    b, common = spec.backend, spec.algorithm
    assert isinstance(b, OpenRLHFSpec)
    kl: list[Flag] = [("--algo.kl.init_coef", str(common.kl_coef))]
    if common.kl_coef > 0:
        kl += [("--algo.kl.use_loss",), ("--algo.kl.estimator", "k3")]
    switches = {
        "--ds.packing_samples": b.packing,
        "--ds.adam_offload": b.adam_offload,
        "--ds.enable_sleep": b.sleep,
        "--vllm.enable_sleep": b.sleep,
        "--vllm.enforce_eager": b.enforce_eager,
        "--vllm.enable_prefix_caching": b.prefix_caching,
        "--ref.offload": b.reference_offload,
        "--actor.gradient_checkpointing_enable": b.gradient_checkpointing,
    }
    resources: list[Flag] = [
        ("--actor.num_nodes", str(b.nodes)),
        ("--actor.num_gpus_per_node", str(b.gpus_per_node)),
        ("--ref.num_nodes", str(b.nodes)),
        ("--ref.num_gpus_per_node", str(b.gpus_per_node)),
        ("--train.colocate_all",),
        ("--vllm.num_engines", str(b.gpus // b.engine_gpus)),
        ("--vllm.tensor_parallel_size", str(b.engine_gpus)),
        ("--vllm.sync_backend", "gloo" if b.rehearsal else "nccl"),
        ("--vllm.gpu_memory_utilization", str(b.engine_memory)),
        ("--ds.zero_stage", str(b.zero_stage)),
        ("--ds.param_dtype", b.param_dtype),
        ("--ds.attn_implementation", b.attention),
        *[(name,) for name, on in switches.items() if on],
    ]
    paths: list[Flag] = [
        ("--actor.model_name_or_path", policy),
        ("--ckpt.path", str(Path(directory) / "openrlhf")),
        ("--ckpt.output_dir", str(Path(directory) / "openrlhf")),
    ]
    return [
        *paths,
        *resources,
        *_lora(spec),
        *_algorithm(spec),
        *kl,
        *_sizes(spec),
        *[tuple(f.split()) for f in b.flags],
    ]


def _lora(spec: RunSpec) -> list[Flag]:
    """Adapters; dropout stays at OpenRLHF's 0."""
    lora = spec.model.lora
    if lora is None:
        return []
    sizes: list[Flag] = [("--ds.lora.rank", str(lora.rank)), ("--ds.lora.alpha", str(lora.alpha))]
    # with nargs="*" a given all-linear would be a list of one name, which peft looks for in vain
    return sizes if lora.targets == "all-linear" else [*sizes, ("--ds.lora.target_modules", *lora.targets)]


def _algorithm(spec: RunSpec) -> list[Flag]:
    """Loss, advantages, optimizer."""
    common, first = spec.algorithm, next(iter(spec.curriculum.levels.values()))
    return [
        ("--actor.eps_clip_low_high", str(first.clip.low), str(first.clip.high)),
        ("--actor.loss_agg_mode", AGGREGATIONS[common.aggregation]),
        ("--actor.policy_loss_type", OWN.get(common.objective, "ppo")),
        ("--actor.entropy_coef", str(common.entropy_coef)),  # of the first update; 0: measured, not rewarded
        *_correction(CorrectionSettings(common.is_correction, common.is_cap, common.is_low, common.is_high)),
        ("--actor.adam.lr", str(spec.optim.learning_rate)),
        ("--actor.adam.betas", *[str(x) for x in spec.optim.betas]),
        ("--actor.adam.weight_decay", str(spec.optim.weight_decay)),
        ("--actor.max_norm", str(spec.optim.max_grad_norm)),
        ("--actor.lr_scheduler", "constant"),  # our loop sets the rate of every update: no warm-up from zero, no wrap
        ("--actor.lr_warmup_ratio", "0"),
        ("--algo.advantage.estimator", ESTIMATORS.get(common.advantage, "group_norm")),
    ]


def correction_attributes(correction: CorrectionSettings) -> dict[str, Any]:
    """What PolicyLoss calls the correction: its attributes, and the ends of its flags."""
    threshold = [0.0, correction.cap] if correction.kind == "tis" else [correction.low, correction.high]
    return {
        "is_correction_level": "off" if correction.kind == "none" else "token",
        "is_correction_mode": "clip" if correction.kind == "tis" else "mask",
        "is_correction_gating": "ratio",
        "is_correction_threshold": threshold,
    }


def _correction(correction: CorrectionSettings) -> list[Flag]:
    """Trainer against sampler; nothing without a correction."""
    if correction.kind == "none":
        return []
    made = correction_attributes(correction)
    values = {k: v if isinstance(v, list) else [v] for k, v in made.items()}
    return [(f"--algo.advantage.{k}", *map(str, v)) for k, v in values.items()]


def _sizes(spec: RunSpec) -> list[Flag]:
    """Groups, batches, lengths."""
    b, first = spec.backend, next(iter(spec.curriculum.levels.values()))
    assert isinstance(b, OpenRLHFSpec)
    return [
        ("--rollout.n_samples_per_prompt", str(first.group_size)),
        ("--rollout.batch_size", str(max(first.problems_per_round, b.gpus))),
        ("--rollout.micro_batch_size", "1"),
        ("--rollout.max_new_tokens", str(first.max_response_tokens)),
        ("--rollout.temperature", str(spec.algorithm.temperature)),
        ("--train.max_epochs", str(first.inner_iterations)),
        ("--train.micro_batch_size", "1"),
        ("--train.batch_size", str(b.gpus)),  # accumulation 1: our loop says when an optimizer step is due
        ("--train.seed", str(spec.rng_seed)),
        ("--data.max_len", str(b.prompt_tokens + longest_response(spec))),
    ]


def longest_response(spec: RunSpec) -> int:
    """Tokens, of any level and of the evaluation, gone on with where that is asked for."""
    levels = [lv.max_response_tokens for lv in spec.curriculum.levels.values()]
    return max([*levels, spec.evaluation.max_response_tokens, spec.evaluation.continue_truncated or 0])


def refuse_unsupported(spec: RunSpec) -> None:
    """What an OpenRLHF run cannot honour is refused here, never ignored. Raises UserError."""
    b = spec.backend
    assert isinstance(b, OpenRLHFSpec)
    ours = {f[0] for f in flags(spec, "policy", ".")[: -len(b.flags) or None]}
    for flag in b.flags:
        name = flag.split()[0] if flag.split() else ""
        if name in ours or not name.startswith("--"):
            raise UserError(
                f"backend.flags: {flag or 'an empty flag'} is set by the run's own config (or is no flag): change the "
                "config value that it is made from"
            )
        if name not in HANDED_ON:
            raise UserError(
                f"backend.flags: {name} would do nothing in a run whose loop is not OpenRLHF's own"
                f"{nearest(name, HANDED_ON)}"
            )
    _refuse_losses(spec.algorithm, b)
    if spec.algorithm.reward_density == "implicit":
        raise UserError(
            "algorithm.reward_density: the implicit process reward model is the local engine's: use backend=local, or "
            "outcome"
        )
    if spec.model.dtype != "float32":
        raise UserError("model.dtype: OpenRLHF's precision is backend.param_dtype: leave model.dtype at float32")
    if spec.model.lora is not None and b.zero_stage == 3:
        raise UserError(
            "backend.zero_stage: with model.lora the engines get merged weights, which no rank holds whole in stage 3: "
            "set 2 (an adapter's optimizer state is small)"
        )
    if spec.model.lora is not None and spec.model.lora.merged:
        raise UserError(
            "model.lora.merged: a checkpoint of OpenRLHF holds the adapter: set merged=false, and merge a checkpoint "
            "with python -m openrlhf.cli.lora_combiner"
        )


def _refuse_losses(common: AlgorithmSpec, backend: OpenRLHFSpec) -> None:
    """Losses that OpenRLHF's training step cannot make. Raises UserError."""
    for key, value in (("kl_coef", common.kl_coef), ("entropy_coef", common.entropy_coef)):
        used = value > 0 or (key == "entropy_coef" and common.entropy_target is not None)
        if common.aggregation == "sequence_mean" and used:
            what = "KL" if key == "kl_coef" else "entropy"
            raise UserError(
                f"algorithm.aggregation: OpenRLHF averages the {what} term over tokens whatever the loss does: with "
                f"{key if value > 0 else 'entropy_target'}{' > 0' if value > 0 else ''} use token_mean or constant"
            )
    if any(f.split()[0] == "--actor.dual_clip" for f in backend.flags) and common.objective not in OWN:
        raise UserError(
            f"backend.flags: --actor.dual_clip is of OpenRLHF's own loss, and algorithm.objective={common.objective} "
            "stands in its place: leave the flag out"
        )


class _Captured(BaseException):
    """Carries what was wanted out of OpenRLHF's main block."""


def parser() -> argparse.ArgumentParser:
    """OpenRLHF's own parser, taken from its main block, which makes it and nothing else before it parses."""

    def grab(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Captured(self)

    found: argparse.ArgumentParser = _run_main([], "parse_args", grab)
    return found


def _run_main(arguments: list[str], method: str, replacement: Any) -> Any:
    original, argv = getattr(argparse.ArgumentParser, method), sys.argv
    setattr(argparse.ArgumentParser, method, replacement)
    sys.argv = [MODULE, *arguments]
    try:
        runpy.run_module(MODULE, run_name="__main__", alter_sys=False)
    except _Captured as got:
        return got.args[0]
    finally:
        setattr(argparse.ArgumentParser, method, original)
        sys.argv = argv
    raise UserError(f"backend: {MODULE} did not {method}: this version of OpenRLHF is laid out differently")


def parse(emitted: list[Flag]) -> Any:
    """The argument tree, after OpenRLHF's own checks and repairs. Raises UserError with the flag it does not take.

    Its main block ends in `train(args)`, whose first step is `get_strategy(args)`: there the tree is taken and
    nothing has been started.
    """
    import openrlhf.utils
    import ray

    known = {option for action in parser()._actions for option in action.option_strings}
    for name, *_ in emitted:
        if name not in known:
            near = nearest(name, known)
            hint = near if near.startswith(" (did") else ""  # not all 170 flags
            raise UserError(f"backend: this version of OpenRLHF has no flag {name}{hint}")

    def capture(args: Any) -> None:
        raise _Captured(args)

    def refuse(self: argparse.ArgumentParser, message: str) -> None:
        raise UserError(f"backend: OpenRLHF refuses its flags: {message}")

    strategy, initialised = openrlhf.utils.get_strategy, ray.is_initialized
    openrlhf.utils.get_strategy, ray.is_initialized = capture, lambda: True
    try:
        return _run_main([word for flag in emitted for word in flag], "error", refuse)
    except AssertionError as error:
        raise UserError(f"backend: OpenRLHF refuses its flags: {error}") from None
    finally:
        openrlhf.utils.get_strategy, ray.is_initialized = strategy, initialised
