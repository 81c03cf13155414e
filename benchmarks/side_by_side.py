"""One side of benchmarks/trl.py, in a process of its own: the same GRPO work by our engine or by TRL's trainer.

    python -P benchmarks/side_by_side.py compiled|torch|trl SEED UPDATES EVERY

`compiled` and `torch` are our engine with that decode loop. Prints one line of JSON. Time is CPU time of the process,
with one thread; the held-out evaluations every EVERY updates are made by our engine on all sides and are not counted,
nor is the start.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

import torch  # noqa: E402

from eprli_lab.algorithm.admission import admission_verdict, make_rule  # noqa: E402
from eprli_lab.algorithm.reward import rewards  # noqa: E402
from eprli_lab.algorithm.seeding import derive_seed  # noqa: E402
from eprli_lab.algorithm.settings import update_settings  # noqa: E402
from eprli_lab.backends.build import build_backend  # noqa: E402
from eprli_lab.config.compose import compose_spec  # noqa: E402
from eprli_lab.data.load import load_suite, load_training  # noqa: E402
from eprli_lab.grading.grader import Grader  # noqa: E402
from eprli_lab.records import Group, Sampling  # noqa: E402
from eprli_lab.training.batch import make_batch  # noqa: E402
from eprli_lab.training.evaluate import evaluate, graded, scores  # noqa: E402

LEVEL = "l1"
PROMPTS = 8  # of an update


class Work:
    """What both sides share: problems, reward, policy at the start, held-out evaluation, and the account of time."""

    def __init__(self, decode: str, seed: int, updates: int, every: int) -> None:
        self.seed = seed
        self.updates = updates
        self.every = every
        self.spec = compose_spec([f"curriculum={LEVEL}", "model=mod10", f"seed={seed}", f"backend.decode={decode}"])
        self.level = self.spec.curriculum.levels[LEVEL]
        self.problems = load_training(self.spec.data)
        self.suites = {name: load_suite(name, suite) for name, suite in self.spec.evaluation.suites.items()}
        self.backend: Any = build_backend(self.spec, Path(tempfile.gettempdir()))
        torch.set_num_threads(1)
        self.grader = Grader(self.spec.verify)
        self.tokens = 0  # of responses, their end included
        self.generating = 0.0  # s
        self.not_counted = 0.0  # s of evaluation
        self.began = 0.0
        self.rows: list[dict[str, float]] = []

    def timed(self, sample: Callable[[], Any]) -> Any:
        """What `sample` returns; its time counts as generation."""
        began = time.process_time()
        out = sample()
        self.generating += time.process_time() - began
        return out

    def updated(self, weights: dict[str, Any] | None = None) -> None:
        """An update is over. `weights`: of a policy that is not our engine's."""
        row: dict[str, float] = {
            "cpu": time.process_time() - self.began - self.not_counted,
            "generate": self.generating,
            "tokens": self.tokens,
        }
        last = len(self.rows) + 1 == self.updates
        if last or (self.every and (len(self.rows) + 1) % self.every == 0):
            began = time.process_time()
            if weights is not None:
                self.backend.policy.load_state_dict(weights)
                self.backend.loop.forget()
            outcomes = evaluate(self.backend, self.grader, self.suites, self.spec.evaluation, full=last)
            row["score"] = scores(outcomes)["score"]
            self.not_counted += time.process_time() - began
        self.rows.append(row)


def ours(work: Work) -> None:
    """Our engine's sample and update, every group trained on (as TRL does)."""
    spec, level, backend = work.spec, work.level, work.backend
    rule = make_rule(level.admission)
    order = random.Random(work.seed).sample(work.problems, len(work.problems))
    sampling = Sampling(level.group_size, level.max_response_tokens, spec.algorithm.temperature)
    work.began = time.process_time()
    for update in range(work.updates):
        problems = [order[(PROMPTS * update + i) % len(order)] for i in range(PROMPTS)]
        seed = derive_seed(work.seed, "sample", update)
        responses = work.timed(lambda p=problems, s=seed: list(backend.sample(p, sampling, seed=s)))
        groups = []
        for problem, (group, grades) in zip(problems, graded(responses, problems, work.grader), strict=True):
            correct = [g.correct for g in grades]
            reward = rewards(level, problem, group, correct)
            verdict = admission_verdict(rule, problem, correct, reward)
            groups.append(Group(problem, LEVEL, group, grades, reward, update, verdict, (), 0))
        work.tokens += sum(g.tokens for g in groups)
        settings = update_settings(spec, LEVEL, spec.optim.learning_rate, update)
        backend.update(make_batch(groups, spec.algorithm, update), settings)
        work.updated()


def theirs(work: Work) -> None:
    """TRL's GRPOTrainer, tuned by hand: one micro-batch, no checkpointing, float32, no logging."""
    from datasets import Dataset  # noqa: PLC0415  (our side has no TRL, and pays for no import of the other one)
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: PLC0415
    from trl import GRPOConfig, GRPOTrainer  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory:
        work.backend.policy.save_pretrained(directory)
        work.backend.tokenizer.save_pretrained(directory)
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="sdpa")
        tokenizer = AutoTokenizer.from_pretrained(directory)
        texts = [tokenizer.decode(work.backend.adapter.prompt(p)) for p in work.problems]
        for text, problem in zip(texts[:50], work.problems, strict=False):
            assert tokenizer(text)["input_ids"] == list(work.backend.adapter.prompt(problem)), "another prompt"
        golds = [list(p.answers) for p in work.problems]

        def reward(completions: list[str], gold: list[list[str]], **_: Any) -> list[float]:
            grades = work.grader.grade([(c, tuple(g)) for c, g in zip(completions, gold, strict=True)])
            return [float(g.correct) for g in grades]

        class Trainer(GRPOTrainer):
            def _generate_single_turn(self, *arguments: Any, **options: Any) -> Any:
                out = work.timed(lambda: super(Trainer, self)._generate_single_turn(*arguments, **options))
                work.tokens += sum(len(ids) for ids in out[0])
                return out

        class Account(TrainerCallback):
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                work.began = time.process_time()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                was = model.training
                work.updated(model.state_dict())
                model.train(was)

        trainer = Trainer(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(output_dir=directory, **_options(work)),
            train_dataset=Dataset.from_list([{"prompt": t, "gold": g} for t, g in zip(texts, golds, strict=True)]),
            processing_class=tokenizer,
            callbacks=[Account()],
        )
        trainer.train()


def _options(work: Work) -> dict[str, Any]:
    """GRPOConfig for the same work as our spec's."""
    spec, level = work.spec, work.level
    return {
        "per_device_train_batch_size": PROMPTS * level.group_size, "num_generations": level.group_size,
        "gradient_accumulation_steps": 1, "max_completion_length": level.max_response_tokens,
        "beta": spec.algorithm.kl_coef, "epsilon": level.clip.low, "epsilon_high": level.clip.high,
        "loss_type": "dapo", "scale_rewards": "group", "num_iterations": level.inner_iterations,
        "learning_rate": spec.optim.learning_rate, "lr_scheduler_type": "constant", "warmup_steps": 0,
        "adam_beta1": spec.optim.betas[0], "adam_beta2": spec.optim.betas[1], "optim": "adamw_torch_fused",
        "weight_decay": spec.optim.weight_decay, "max_grad_norm": spec.optim.max_grad_norm,
        "temperature": spec.algorithm.temperature, "top_p": 1.0, "top_k": 0,
        "bf16": False, "fp16": False, "gradient_checkpointing": False, "use_cpu": True, "use_vllm": False,
        "max_steps": work.updates, "seed": work.seed, "remove_unused_columns": False,
        "dataloader_num_workers": 0, "dataloader_pin_memory": False, "log_completions": False,
        "logging_strategy": "no", "save_strategy": "no", "report_to": [], "disable_tqdm": True,
    }  # fmt: skip


def main() -> None:
    side, seed, updates, every = sys.argv[1], *map(int, sys.argv[2:5])
    work = Work("auto" if side == "trl" else side, seed, updates, every)
    start = time.process_time()
    (theirs if side == "trl" else ours)(work)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"start": start, "rows": work.rows, "memory": memory}))


if __name__ == "__main__":
    main()
