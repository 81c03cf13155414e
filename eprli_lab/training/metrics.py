"""The one catalogue of metric names (docs/metrics.md) and the pure functions from records to {name: value}.

`{l}` stands for a level's name and `{suite}` for an evaluation suite. `all` counts every group, `admitted` the
survivors: both are logged, since survivors alone are biased by construction. Imports no torch.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from eprli_lab.algorithm.buffer import Tally
from eprli_lab.algorithm.progress import Progress
from eprli_lab.records import VERDICTS, Group, LossTerms


@dataclass(frozen=True)
class Metric:
    """One name (or a family of names) of the catalogue."""

    name: str
    unit: str
    definition: str


def _family(pattern: str, values: str, unit: str, definition: str) -> list[Metric]:
    return [Metric(pattern.replace("*", v), unit, definition) for v in values.split()]


CATALOGUE: tuple[Metric, ...] = (
    *_family("train/{l}/*/reward/mean", "all admitted", "", "mean shaped reward of this step's responses"),
    *_family("train/{l}/*/reward/std", "all admitted", "", "standard deviation of the shaped reward over responses"),
    *_family("train/{l}/*/accuracy", "all admitted", "fraction", "correct responses, before shaping"),
    *_family("train/{l}/all/solved_*", "none some all", "fraction of groups", "groups with no / some / all correct"),
    *_family("train/{l}/all/response_tokens/*", "mean p90 max", "tokens", "response length"),
    Metric("train/{l}/all/truncation_rate", "fraction", "responses that met the length limit"),
    Metric("buffer/{l}/groups/generated", "groups", "sampled this step; the sum of the five verdicts, always"),
    *_family("buffer/{l}/groups/*", " ".join(VERDICTS), "groups", "groups with this verdict"),
    Metric("buffer/{l}/groups/surplus", "groups", "admitted groups beyond N_l when the update was made"),
    Metric("buffer/{l}/groups/stale_dropped", "groups", "carried groups dropped for their age"),
    Metric("buffer/{l}/admission_rate", "fraction", "admitted / generated"),
    Metric("buffer/{l}/fill_fraction", "fraction", "waiting groups / N_l, at most 1, when the update was decided"),
    Metric("buffer/{l}/rounds", "rounds", "sampling rounds of this step"),
    Metric("buffer/{l}/staleness", "updates", "mean age of the groups trained on"),
    Metric("buffer/{l}/tokens_per_admitted_group", "tokens", "generated tokens / admitted groups"),
    Metric("buffer/{l}/reward_variance/within", "", "mean over groups of the unbiased variance within a group"),
    Metric("buffer/{l}/reward_variance/between", "", "unbiased variance of the groups' mean rewards"),
    Metric("policy/{l}/loss", "", "the objective's value"),
    Metric("policy/{l}/entropy", "nats a token", "entropy of the policy on sampled tokens' contexts"),
    Metric(
        "policy/{l}/kl_ref", "nats a token", "k3 estimate to the frozen reference; only with a positive coefficient"
    ),
    Metric("policy/{l}/approx_kl", "nats a token", "k3 estimate of the new against the sampling policy"),
    Metric("policy/{l}/mismatch_kl", "nats a token", "k3 estimate of trainer against sampler, equal weights"),
    Metric("policy/{l}/mismatch_max", "nats", "largest difference of a token's log-probability in that comparison"),
    Metric("policy/{l}/clip_fraction/low", "fraction of tokens", "of negative-advantage tokens, ratio < 1 - eps_low"),
    Metric("policy/{l}/clip_fraction/high", "fraction of tokens", "of positive-advantage tokens, ratio > 1 + eps_high"),
    Metric("optim/lr", "", "learning rate of the update"),
    Metric("optim/grad_norm", "", "gradient norm before clipping, mean over the update's optimizer steps"),
    Metric("time/generate", "s", "sampling, this step"),
    Metric("time/verify", "s", "grading, this step"),
    Metric("time/update", "s", "training, this step"),
    Metric("time/evaluate", "s", "one evaluation of all suites"),
    Metric("time/step", "s", "this step in all"),
    Metric("time/total", "s", "the run so far, evaluation included"),
    *_family("time/engine/*", "rollout train broadcast reference", "s", "an OpenRLHF phase, since the last update"),
    Metric("perf/tokens_per_second", "tokens/s", "generated tokens / time/step"),
    Metric("progress/tokens", "tokens", "generated for training so far"),
    Metric("progress/responses", "responses", "generated for training so far"),
    Metric("progress/problems", "problems", "drawn for training so far"),
    Metric("progress/updates", "updates", "made so far"),
    *_family("verify/*", "timeout error no_answer", "responses", "so far, with this status"),
    Metric("eval/{suite}/avg_at_k", "fraction", "mean over problems of the share of k samples that are correct"),
    Metric("eval/{suite}/pass_at_k", "fraction", "unbiased estimate (arXiv 2107.03374) at k = samples"),
    Metric("eval/{suite}/maj_at_k", "fraction", "problems whose most frequent answer is correct"),
    Metric("eval/{suite}/response_tokens", "tokens", "mean response length"),
    Metric("eval/{suite}/truncation_rate", "fraction", "responses that met the length limit"),
    Metric("score", "fraction", "mean over suites of avg_at_k: the sweep's default objective"),
    Metric("response_tokens", "tokens", "mean over suites of eval/{suite}/response_tokens"),
)
_PATTERNS = [
    re.compile(re.escape(m.name).replace(r"\{l\}", "[^/]+").replace(r"\{suite\}", "[^/]+") + "$") for m in CATALOGUE
]


def in_catalogue(name: str) -> bool:
    """True when the catalogue defines `name`."""
    return any(p.match(name) for p in _PATTERNS)


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def _rewards(prefix: str, groups: Sequence[Group]) -> dict[str, float]:
    if not groups:
        return {}
    rewards = [r for g in groups for r in g.rewards]
    return {
        f"{prefix}/reward/mean": statistics.fmean(rewards),
        f"{prefix}/reward/std": statistics.pstdev(rewards),
        f"{prefix}/accuracy": statistics.fmean(g.accuracy for g in groups),
    }


def sampling_metrics(level: str, groups: Sequence[Group]) -> dict[str, float]:
    """train/{l}/...: of all groups sampled in a step, errored ones left out, and of the admitted ones."""
    known = [g for g in groups if g.verdict != "errored"]
    out = _rewards(f"train/{level}/all", known)
    out |= _rewards(f"train/{level}/admitted", [g for g in known if g.verdict == "admitted"])
    if known:
        solved = [g.accuracy for g in known]
        out[f"train/{level}/all/solved_none"] = sum(a == 0.0 for a in solved) / len(solved)
        out[f"train/{level}/all/solved_some"] = sum(0.0 < a < 1.0 for a in solved) / len(solved)
        out[f"train/{level}/all/solved_all"] = sum(a == 1.0 for a in solved) / len(solved)
    responses = [r for g in groups for r in g.responses]
    if responses:
        lengths = [len(r.tokens) for r in responses]
        out[f"train/{level}/all/response_tokens/mean"] = statistics.fmean(lengths)
        out[f"train/{level}/all/response_tokens/p90"] = quantile(lengths, 0.9)
        out[f"train/{level}/all/response_tokens/max"] = max(lengths)
        out[f"train/{level}/all/truncation_rate"] = sum(r.truncated for r in responses) / len(responses)
    return {k: float(v) for k, v in out.items()}


def buffer_metrics(
    level: str, tally: Tally, groups: Sequence[Group], *, waiting: int, size: int, ages: Sequence[int]
) -> dict[str, float]:
    """buffer/{l}/...: the tally of a step, the groups sampled in it, and the ages (updates) of those trained on."""
    p = f"buffer/{level}"
    out: dict[str, float] = {f"{p}/groups/{v}": tally.verdicts[v] for v in VERDICTS}
    out[f"{p}/groups/generated"] = tally.generated
    out[f"{p}/groups/surplus"] = tally.overflow
    out[f"{p}/groups/stale_dropped"] = tally.stale_dropped
    out[f"{p}/rounds"] = tally.rounds
    out[f"{p}/fill_fraction"] = min(1.0, waiting / size)
    if tally.generated:
        out[f"{p}/admission_rate"] = tally.verdicts["admitted"] / tally.generated
    if tally.verdicts["admitted"]:
        out[f"{p}/tokens_per_admitted_group"] = tally.tokens / tally.verdicts["admitted"]
    if ages:
        out[f"{p}/staleness"] = statistics.fmean(ages)
    known = [g for g in groups if g.verdict != "errored"]
    if known:
        out[f"{p}/reward_variance/within"] = statistics.fmean(statistics.variance(g.rewards) for g in known)
    if len(known) > 1:
        out[f"{p}/reward_variance/between"] = statistics.variance([statistics.fmean(g.rewards) for g in known])
    return {k: float(v) for k, v in out.items()}


def policy_metrics(level: str, terms: LossTerms, lr: float) -> dict[str, float]:
    """policy/{l}/... and optim/... of one update."""
    p = f"policy/{level}"
    out = {
        f"{p}/loss": terms.loss,
        f"{p}/entropy": terms.entropy,
        f"{p}/approx_kl": terms.approx_kl,
        f"{p}/clip_fraction/low": terms.clip_fraction_low,
        f"{p}/clip_fraction/high": terms.clip_fraction_high,
        "optim/lr": lr,
        "optim/grad_norm": terms.grad_norm,
    }
    out |= {f"time/engine/{name}": seconds for name, seconds in terms.phases}
    optional = {"kl_ref": terms.kl_ref, "mismatch_kl": terms.mismatch_kl, "mismatch_max": terms.mismatch_max}
    out |= {f"{p}/{name}": value for name, value in optional.items() if value is not None}
    return out


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased chance that one of k samples is correct: 1 - C(n-c, k) / C(n, k) (arXiv 2107.03374, eq. 1).

    ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, not n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def progress_metrics(progress: Progress) -> dict[str, float]:
    """progress/...: the x axes."""
    return {f"progress/{k}": float(getattr(progress, k)) for k in ("tokens", "responses", "problems", "updates")}


def catalogue_markdown() -> str:
    """The catalogue as docs/metrics.md shows it."""
    made = "Made by `python -m eprli_lab.training.metrics > docs/metrics.md`. `{l}`: a level; `{suite}`: a suite."
    lines = ["# Metrics", "", made, ""]
    lines += ["| name | unit | definition |", "|---|---|---|"]
    lines += [f"| `{metric.name}` | {metric.unit} | {metric.definition} |" for metric in CATALOGUE]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(catalogue_markdown(), end="")
