"""Logs that other trainers really wrote, for tests and docs/import.md: the same small work in TRL and in OpenRLHF.

    python benchmarks/foreign_logs.py trl OUT [--seeds 0,1,2] [--updates 16] [--environment DIR]
    python benchmarks/foreign_logs.py openrlhf OUT [--seeds 0,1,2] [--updates 16]
    python benchmarks/foreign_logs.py trim OUT --into tests/data_samples/foreign

`trl`: TRL 1.16's own GRPOTrainer in the environment of benchmarks/trl.py writes OUT/trl/seedS/trainer_state.json.
`openrlhf`: OpenRLHF's own `train_ppo_ray` writes TensorBoard events to OUT/openrlhf/seedS; run it with the Python of a
rehearsal environment (docs/cluster.md), which has OpenRLHF, vLLM and Ray on a CPU. Policy mod10, 8 prompts x 8
responses an update, an evaluation of 64 held-out problems x 2 samples every fourth update. `trim` keeps the entries of
every fourth step, as they were written, without texts: logs of a few KB for tests.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROMPTS, GROUP, EVERY, HELDOUT, SAMPLES, LONGEST = 8, 8, 4, 64, 2, 76
RATE = 1e-3


def _work() -> tuple[Any, list[Any], list[Any]]:
    """(backend of the initial policy, training problems, held-out problems): ours, the same for every trainer."""
    from eprli_lab.backends.build import build_backend  # noqa: PLC0415  (torch, in the process that trains alone)
    from eprli_lab.config.compose import compose_spec  # noqa: PLC0415
    from eprli_lab.data.load import load_suite, load_training  # noqa: PLC0415

    spec = compose_spec(["curriculum=l1", "model=mod10", "data=mod10", "evaluation=heldout"])
    suite = spec.evaluation.suites["heldout_medium"]
    backend = build_backend(spec, Path(tempfile.gettempdir()))
    return backend, load_training(spec.data), load_suite("heldout_medium", suite)[:HELDOUT]


def _rows(backend: Any, problems: list[Any]) -> list[dict[str, Any]]:
    return [
        {"prompt": backend.tokenizer.decode(backend.adapter.prompt(p)), "answer": next(iter(p.answers))}
        for p in problems
    ]


def train_with_trl(out: Path, seed: int, updates: int) -> None:
    """One run of GRPOTrainer; its state is `out/trainer_state.json`."""
    import torch  # noqa: PLC0415
    from datasets import Dataset  # noqa: PLC0415  (the environment of benchmarks/trl.py)
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415
    from trl import GRPOConfig, GRPOTrainer  # noqa: PLC0415

    from eprli_lab.config.spec import VerifySpec  # noqa: PLC0415
    from eprli_lab.grading.grader import Grader  # noqa: PLC0415

    backend, problems, heldout = _work()
    grader = Grader(VerifySpec())

    def correct(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        grades = grader.grade([(c, (a,)) for c, a in zip(completions, answer, strict=True)])
        return [float(g.correct) for g in grades]

    with tempfile.TemporaryDirectory() as directory:
        backend.policy.save_pretrained(directory)
        backend.tokenizer.save_pretrained(directory)
        options: dict[str, Any] = {
            "per_device_train_batch_size": PROMPTS * GROUP, "num_generations": GROUP, "max_completion_length": LONGEST,
            "gradient_accumulation_steps": 1, "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.28, "loss_type": "dapo",
            "learning_rate": RATE, "lr_scheduler_type": "constant", "max_steps": updates, "seed": seed,
            "temperature": 1.0, "top_k": 0, "bf16": False, "gradient_checkpointing": False, "use_cpu": True,
            "logging_steps": 1, "eval_strategy": "steps", "eval_steps": EVERY, "eval_on_start": True,
            "per_device_eval_batch_size": 2 * HELDOUT, "num_generations_eval": SAMPLES, "save_strategy": "no",
            "report_to": [], "disable_tqdm": True, "dataloader_pin_memory": False,
        }  # fmt: skip
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(directory),
            reward_funcs=correct,
            args=GRPOConfig(output_dir=str(out), **options),
            train_dataset=Dataset.from_list(_rows(backend, problems)),
            eval_dataset=Dataset.from_list(_rows(backend, heldout)),
        )
        trainer.train()
        trainer.save_state()


def train_with_openrlhf(out: Path, seed: int, updates: int) -> None:
    """One run of OpenRLHF's own `train(args)` on pretended GPUs; TensorBoard's events are in `out`.

    Its trainer, controller, sample generator, evaluation and logger are its own. What a CPU needs is the rehearsal's:
    the set-up of its processes, an engine whose worker takes broadcast weights, AdamW of torch.
    """
    from eprli_lab.backends.openrlhf import rehearsal  # noqa: PLC0415

    rehearsal.install()
    import openrlhf.trainer.ray.vllm_engine as vllm_engine  # noqa: PLC0415
    import ray  # noqa: PLC0415

    from eprli_lab.backends.openrlhf import launch, reward_function  # noqa: PLC0415
    from eprli_lab.backends.openrlhf.flags import parse  # noqa: PLC0415
    from eprli_lab.config.compose import compose_spec  # noqa: PLC0415

    backend, problems, heldout = _work()
    with tempfile.TemporaryDirectory() as directory:
        backend.policy.save_pretrained(f"{directory}/policy")
        backend.tokenizer.save_pretrained(f"{directory}/policy")
        for name, of in (("train", problems), ("heldout", heldout)):
            rows = [json.dumps({**row, "datasource": name}) for row in _rows(backend, of)]
            Path(directory, f"{name}.jsonl").write_text("\n".join(rows) + "\n")
        os.environ["EPRLI_FORMAT"] = compose_spec(["model=mod10", "data=mod10"]).verify.format
        spec: Any = compose_spec(["backend=openrlhf_cpu", "model=mod10", "data=mod10"]).backend
        launch.start_ray(spec.model_copy(update={"gpus_per_node": 2}))
        args = parse(_openrlhf_flags(Path(directory), out, seed, updates, str(reward_function.__file__)))
        from openrlhf.cli import train_ppo_ray  # noqa: PLC0415
        from openrlhf.trainer.ray.ppo_actor import PolicyModelActor  # noqa: PLC0415

        from eprli_lab.backends.openrlhf.workers import RemoteRollout  # noqa: PLC0415

        policy: Any = PolicyModelActor.__ray_metadata__.modified_class

        class Policy(policy):
            def init_model_from_pretrained(self, strategy: Any, *rest: Any, **more: Any) -> Any:
                rehearsal.plain_adam(strategy)
                return super().init_model_from_pretrained(strategy, *rest, **more)

        vllm_engine.RolloutRayActor = launch._with(RemoteRollout, trust_remote_code=False)
        train_ppo_ray.PolicyModelActor = ray.remote(num_gpus=1)(Policy)
        train_ppo_ray.train(args)
        ray.shutdown()


def _openrlhf_flags(work: Path, out: Path, seed: int, updates: int, reward: str) -> list[tuple[str, ...]]:
    """Flags of `train_ppo_ray` for the same work as TRL's options."""
    return [
        ("--actor.model_name_or_path", f"{work}/policy"), ("--reward.remote_url", reward),
        ("--data.prompt_dataset", f"{work}/train.jsonl"), ("--eval.dataset", f"{work}/heldout.jsonl"),
        ("--data.input_key", "prompt"), ("--data.label_key", "answer"), ("--data.max_len", "140"),
        ("--data.max_samples", str(PROMPTS * updates)), ("--train.num_episodes", "1"),
        ("--rollout.max_new_tokens", str(LONGEST)), ("--rollout.n_samples_per_prompt", str(GROUP)),
        ("--rollout.batch_size", str(PROMPTS)), ("--rollout.micro_batch_size", "16"),
        ("--train.batch_size", str(PROMPTS * GROUP)), ("--train.micro_batch_size", "16"), ("--train.seed", str(seed)),
        ("--train.max_epochs", "1"), ("--algo.advantage.estimator", "group_norm"), ("--algo.kl.init_coef", "0"),
        ("--actor.eps_clip_low_high", "0.2", "0.28"), ("--actor.adam.lr", str(RATE)), ("--actor.entropy_coef", "0"),
        ("--actor.lr_scheduler", "constant"), ("--actor.lr_warmup_ratio", "0"),
        ("--actor.num_nodes", "1"), ("--actor.num_gpus_per_node", "1"), ("--vllm.num_engines", "1"),
        ("--vllm.tensor_parallel_size", "1"), ("--vllm.sync_backend", "gloo"), ("--vllm.enforce_eager",),
        ("--vllm.gpu_memory_utilization", "0.3"), ("--ds.zero_stage", "2"), ("--ds.param_dtype", "bf16"),
        ("--ds.attn_implementation", "eager"), ("--eval.steps", str(EVERY)), ("--eval.temperature", "1.0"),
        ("--eval.n_samples_per_prompt", str(SAMPLES)), ("--logger.logging_steps", "1"),
        ("--logger.tensorboard_dir", str(out.parent)), ("--logger.wandb.run_name", out.name),
        ("--ckpt.output_dir", f"{work}/final"), ("--ckpt.path", f"{work}/checkpoints"), ("--ckpt.save_steps", "-1"),
    ]  # fmt: skip


def trim(out: Path, into: Path) -> None:
    """Of every log in OUT the entries of every EVERY-th step, unchanged; of events those that hold numbers."""
    for log in sorted(out.glob("trl/*/trainer_state.json")):
        state = json.loads(log.read_text())
        state["log_history"] = [row for row in state["log_history"] if row["step"] % EVERY == 0]
        _place(into / log.relative_to(out), json.dumps(state).encode())
    for log in sorted(out.glob("openrlhf/*/*tfevents*")):
        kept = [record for record in _records(log.read_bytes()) if _is_kept(record[12:-4])]
        _place(into / log.parent.relative_to(out) / "events.out.tfevents.0", b"".join(kept))


def _place(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{path}: {len(content):,} bytes")


def _records(data: bytes) -> Iterator[bytes]:
    """TFRecords, whole: length, its checksum, the bytes, their checksum."""
    while data:
        end = 16 + struct.unpack("<Q", data[:8])[0]
        yield data[:end]
        data = data[end:]


def _is_kept(event: bytes) -> bool:
    """The first record (its version), and numbers of the steps that are kept."""
    from eprli_lab.importing.events import _take  # noqa: PLC0415
    from eprli_lab.importing.log import Log  # noqa: PLC0415

    log = Log()
    _take(event, log, "")
    return b"brain.Event" in event or any(step % EVERY == 0 for step in log.steps)


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trainer", choices=("trl", "openrlhf", "trim", "one-trl", "one-openrlhf"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--updates", type=int, default=16)
    parser.add_argument("--environment", type=Path, default=cache / "eprli_lab" / "trl")
    parser.add_argument("--into", type=Path, default=ROOT / "tests" / "data_samples" / "foreign")
    options = parser.parse_args()
    if options.trainer == "trim":
        trim(options.out, options.into)
        return
    if options.trainer.startswith("one-"):
        train = train_with_trl if options.trainer == "one-trl" else train_with_openrlhf
        train(options.out, int(options.seeds), options.updates)
        return
    python = sys.executable
    if options.trainer == "trl":
        from trl import environment  # noqa: PLC0415  (benchmarks/trl.py, beside this file)

        python = str(environment(options.environment))
    for seed in options.seeds.split(","):
        out = options.out / options.trainer / f"seed{seed}"
        words = [f"one-{options.trainer}", str(out.resolve()), "--seeds", seed, "--updates", str(options.updates)]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run([python, "-P", __file__, *words], check=True, env=variables)
        print(json.dumps({"seed": seed, "log": str(out)}))


if __name__ == "__main__":
    main()
