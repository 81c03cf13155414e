"""The initial policy of a generated family from nothing, by one seeded recipe.

SFT on worked chains to near-competence, then SFT on noisy demonstrations (each step's result wrong with probability
`noise`, the error carried on). That gives a policy that knows how but is unsure, and RL something to do; what RL does
here is mostly sharpening of this latent skill.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from eprli_lab.backends.manifest import new_folder, write_manifest
from eprli_lab.config.data import ModelSpec

# How often a chain with n operations is demonstrated: short ones carry the rule, long ones the habit of going on.
OPERATION_WEIGHTS = {1: 4, 2: 4, 3: 3, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1}
ROW_TOKENS = 72


def train_warmstart(model: ModelSpec, family: str, progress: bool = True) -> Any:
    """The recipe; returns the policy (float32). Same recipe, same machine: same weights."""
    import torch

    from eprli_lab.backends.local.model import build_model
    from eprli_lab.backends.local.tokenizer import build_tokenizer

    recipe = model.warmstart
    assert recipe is not None and model.config is not None
    torch.set_num_threads(1)
    family = recipe.family or family
    policy = build_model(model.config, recipe.seed, model.tokenizer)
    tokenizer = build_tokenizer(model.tokenizer)
    rng = random.Random(f"warmstart-{family}-{recipe.seed}")
    phases = ((recipe.steps, recipe.learning_rate, 0.0), (recipe.noisy_steps, recipe.noisy_learning_rate, recipe.noise))
    for steps, rate, noise in phases:
        optimizer = torch.optim.AdamW(policy.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.95), fused=True)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 50) * min(1.0, max(0.05, (steps - step) / (0.4 * steps)))
            loss = _demonstration_loss(policy, tokenizer, family, rng, recipe.batch, noise)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            if progress and (step + 1) % 100 == 0:
                kind = "noisy" if noise else "clean"
                print(f"warm start {model.name}: {kind} step {step + 1}/{steps}, loss {loss.item():.3f}", flush=True)
    return policy


def _demonstration_loss(policy: Any, tokenizer: Any, family: str, rng: random.Random, batch: int, noise: float) -> Any:
    """Cross-entropy, nats a token, on the answers of `batch` fresh training chains, packed."""
    import torch
    import torch.nn.functional as F

    from eprli_lab.backends.local.packing import rows_for, token_logits
    from eprli_lab.data.families import draw_from, make_family

    source = make_family(family)
    counts = rng.choices(list(OPERATION_WEIGHTS), list(OPERATION_WEIGHTS.values()), k=batch)
    rows, starts = [], []
    for n in counts:
        task = draw_from(source, n, rng, "train")
        prompt = [tokenizer.bos_token_id, *tokenizer.encode(task.prompt, add_special_tokens=False)]
        answer = tokenizer.encode(source.worked(task, rng, noise), add_special_tokens=False)
        rows.append([*prompt, *answer, tokenizer.eos_token_id])
        starts.append(len(prompt))
    packed = rows_for(policy, rows, ROW_TOKENS)
    index = torch.cat(
        [torch.arange(o + s - 1, o + len(r) - 1) for o, s, r in zip(packed.offsets, starts, rows, strict=True)]
    )
    return F.cross_entropy(token_logits(policy, packed, index), packed.ids.flatten()[index + 1])


def start_accuracy(model: ModelSpec, family: str, directory: Path) -> dict[str, float]:
    """Accuracy at temperature 1 on 512 held-out problems (`Family.examined`) of each difficulty, one sample each."""
    from eprli_lab.backends.local.decoders import decoder_for
    from eprli_lab.backends.local.model import build_model, load_weights
    from eprli_lab.backends.local.sampler import decode
    from eprli_lab.backends.local.tokenizer import build_tokenizer
    from eprli_lab.config.data import GeneratedSpec
    from eprli_lab.config.spec import VerifySpec
    from eprli_lab.data.families import generate, make_family
    from eprli_lab.grading.answers import extract_boxed
    from eprli_lab.grading.grader import Grader
    from eprli_lab.records import Sampling

    assert model.config is not None
    policy, tokenizer = build_model(model.config, 0, model.tokenizer), build_tokenizer(model.tokenizer)
    load_weights(policy, directory)
    out, count = {}, make_family(family).examined
    for suite, operations in (("easy", (1, 2)), ("medium", (3, 4)), ("hard", (6, 7, 8))):
        problems = generate(GeneratedSpec(family=family, operations=operations, problems=count), "heldout")
        prompts = [[tokenizer.bos_token_id, *tokenizer.encode(p.prompt, add_special_tokens=False)] for p in problems]
        groups = decode(
            decoder_for(policy),
            prompts,
            Sampling(n=1, max_tokens=76),
            stop_ids=[tokenizer.eos_token_id],
            seed=4242,
        )
        texts = tokenizer.batch_decode([list(one.tokens) for (one,) in groups], skip_special_tokens=True)
        if any(p.verifier for p in problems):
            with Grader(VerifySpec()) as grader:
                grades = grader.grade([(t, p.answers) for t, p in zip(texts, problems, strict=True)], problems=problems)
            right = [g.correct for g in grades]
        else:
            right = [extract_boxed(t) in p.answers for t, p in zip(texts, problems, strict=True)]
        out[suite] = round(sum(right) / len(right), 3)
    return out


def make(model: ModelSpec, family: str, directory: Path, command: str, progress: bool = True) -> dict[str, Any]:
    """Train, write `model.safetensors` (fp16), `provenance.json` and a manifest into `directory`; the provenance."""
    import hashlib

    import torch
    import transformers
    from safetensors.torch import save_file

    from eprli_lab.backends.local.model import RECIPE_VERSION, recipe_fingerprint

    began = time.process_time()
    policy = train_warmstart(model, family, progress)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: p.detach().half().contiguous() for name, p in policy.named_parameters()}  # tied weights once
    save_file(tensors, directory / "model.safetensors")
    assert model.warmstart is not None
    provenance = {
        "fingerprint": recipe_fingerprint(model, family),
        "family": family,
        "sha256": hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in policy.parameters()),
        "config": model.config,
        "recipe": model.warmstart.model_dump(mode="json"),
        "recipe_version": RECIPE_VERSION,
        "start_accuracy": start_accuracy(model, family, directory),
        "cpu_seconds": round(time.process_time() - began, 1),
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "command": command,
    }
    (directory / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n")
    write_manifest(directory, {"kind": "warm start"})
    return provenance


def make_cached(model: ModelSpec, family: str) -> Path:
    """The warm start of a config that is not shipped: made once on this machine, also when several processes ask."""
    from filelock import FileLock

    from eprli_lab.backends.local.model import find_asset, recipe_fingerprint
    from eprli_lab.config.paths import cache_directory

    fingerprint = recipe_fingerprint(model, family)
    cache = cache_directory("warmstart")
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{fingerprint}.lock"):
        found = find_asset(fingerprint)
        if found is None:
            print(f"warm start of {model.name} for {family}: not shipped with the package, making it once", flush=True)
            found = cache / fingerprint
            with new_folder(found, "warm start") as half:
                make(model, family, half, "on first use")
    return found
