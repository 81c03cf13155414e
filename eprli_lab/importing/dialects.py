"""What the keys of each trainer mean: those of our metrics that mean the same, and its evaluations.

Where the definitions differ, a key keeps its own name under `imported/`: clip fractions (theirs are shares of all
tokens, ours of the tokens of one sign), KL by other estimators, tokens that count prompts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from eprli_lab.tracking import names
from eprli_lab.tracking.imported import LEVEL


def _sampled(quantity: str) -> str:
    return names.sampled(LEVEL, "all", quantity)


# our metric -> the keys that mean it, the first that is there counts
TRL = {
    _sampled("reward/mean"): ("reward",),
    _sampled("response_tokens/mean"): ("completions/mean_length", "completion_length"),
    _sampled("response_tokens/max"): ("completions/max_length",),
    _sampled("truncation_rate"): ("completions/clipped_ratio",),
    names.policy(LEVEL, "entropy"): ("entropy",),
    names.policy(LEVEL, "kl_ref"): ("kl",),  # k3, as ours
    names.optim("lr"): ("learning_rate",),
    names.optim("grad_norm"): ("grad_norm",),
    names.seconds("step"): ("step_time",),
    names.TOTAL_SECONDS: ("train_runtime",),
}
VERL = {
    _sampled("reward/mean"): ("critic/rewards/mean",),
    _sampled("response_tokens/mean"): ("response_length/mean",),
    _sampled("response_tokens/max"): ("response_length/max",),
    _sampled("truncation_rate"): ("response_length/clip_ratio",),
    names.policy(LEVEL, "entropy"): ("actor/entropy", "actor/entropy_loss"),
    names.optim("lr"): ("actor/lr",),
    names.optim("grad_norm"): ("actor/grad_norm",),
    names.seconds("step"): ("timing_s/step",),
    names.seconds("generate"): ("timing_s/gen",),
    names.TOTAL_SECONDS: ("elapsed_seconds",),
}
OPENRLHF = {
    _sampled("reward/mean"): ("train/rollout/reward_mean", "train/reward"),
    _sampled("reward/std"): ("train/rollout/reward_std",),
    _sampled("response_tokens/mean"): ("train/rollout/response_length_mean", "train/response_length"),
    _sampled("truncation_rate"): ("train/rollout/truncated_rate",),
    names.policy(LEVEL, "entropy"): ("train/entropy_loss",),  # the entropy itself, before its coefficient
    names.optim("lr"): ("train/actor_lr",),
    names.optim("grad_norm"): ("train/actor_grad_norm",),
    names.seconds("step"): ("train/timing/step_total",),
    names.seconds("generate"): ("train/timing/generation",),
}
# A key that tells that the rewards are those of the groups that a filter kept.
FILTERED = ("train/dynamic_filtering_pass_rate", "train/num_gen_batches")
# How an evaluation's accuracy is named: the group is the suite.
EVALUATIONS = {
    "trl": (re.compile(r"eval_(?:(.+)_)?reward"),),
    "verl": (re.compile(r"val-core/(.+)/[^/]+/mean@\d+"), re.compile(r"val/test_score/(.+)")),
    "openrlhf": (re.compile(r"eval/eval_(.+)_pass1"),),
}
# What else of an evaluation has the name of its accuracy, but for the end: (end, measure, other end)
BESIDE = {
    "trl": (
        ("reward", "response_tokens", "completions/mean_length"),
        ("reward", "truncation_rate", "completions/clipped_ratio"),
    ),
    "openrlhf": (
        ("pass1", "response_tokens", "response_length_mean"),
        ("pass1", "truncation_rate", "truncated_rate"),
    ),
}
_TRACKERS = ("openrlhf", "verl", "trl")  # whose keys a W&B history may have
WHOLE_SUITE = "eval"  # of an evaluation without a name


def dialect_of(source: str, keys: Collection[str]) -> str:
    """Whose names the keys are: the source's; of a W&B history those of which most are known."""
    if source in EVALUATIONS:
        return source
    known = {name: len(set(renamed(name, keys).values()) | set(evaluations(name, keys))) for name in _TRACKERS}
    return max(known, key=lambda name: known[name])


def renamed(dialect: str, keys: Collection[str]) -> dict[str, str]:
    """Key -> our metric, for those that mean the same."""
    mapping: Mapping[str, tuple[str, ...]] = {"trl": TRL, "verl": VERL, "openrlhf": OPENRLHF}[dialect]
    own = {_own(dialect, key): key for key in keys}
    out = {}
    filtered = any(key in keys for key in FILTERED)
    for metric, candidates in mapping.items():
        found = next((own[key] for key in candidates if key in own), None)
        if found is not None:
            out[found] = metric.replace(f"/{LEVEL}/all/", f"/{LEVEL}/admitted/") if filtered else metric
    return out


def evaluations(dialect: str, keys: Collection[str]) -> dict[str, str]:
    """Suite -> the key of its accuracy, where the trainer names its evaluations so that they can be told."""
    out: dict[str, str] = {}
    for key in sorted(keys):
        for pattern in EVALUATIONS[dialect]:
            match = pattern.fullmatch(_own(dialect, key))
            if match is not None:
                name = re.sub(r"[^A-Za-z0-9_-]", "_", match[1] or WHOLE_SUITE).lstrip("_-") or WHOLE_SUITE
                out.setdefault(name, key)
    return out


def beside(dialect: str, key: str, keys: Collection[str]) -> dict[str, str]:
    """Measure of an evaluation -> its key, for the accuracy that `key` is."""
    own = {_own(dialect, k): k for k in keys}
    name = _own(dialect, key)
    candidates = {
        measure: own.get(name.removesuffix(end) + other)
        for end, measure, other in BESIDE.get(dialect, ())
        if name.endswith(end)
    }
    if dialect == "openrlhf" and name.endswith("_pass1"):  # the best of as many samples as each problem had
        prefix = name.removesuffix("1")
        numbers = [k.removeprefix(prefix) for k in own if k.startswith(prefix)]
        k = max((int(n) for n in numbers if n.isdecimal() and n.isascii()), default=1)
        candidates["pass_at_k"] = own.get(f"{prefix}{k}") if k > 1 else None
    return {measure: found for measure, found in candidates.items() if found is not None}


def _own(dialect: str, key: str) -> str:
    """TRL's own name of a key: W&B and TensorBoard get `train/reward` and `eval/reward` of `reward`, `eval_reward`."""
    if dialect != "trl":
        return key
    if key.startswith("eval/"):
        return "eval_" + key.removeprefix("eval/")
    return key.removeprefix("train/")
