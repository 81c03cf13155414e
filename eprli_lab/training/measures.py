"""Pure functions from records to {metric's name: value}; what each name means is the catalogue's (metrics.py).

`all` counts every group, `admitted` the survivors: both are logged, since survivors alone are biased by construction.
Imports no torch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from eprli_lab.algorithm.admission import AdmissionRule
from eprli_lab.algorithm.buffer import Tally
from eprli_lab.algorithm.progress import Progress
from eprli_lab.algorithm.schedule import Schedule
from eprli_lab.config.curriculum import HintSpec
from eprli_lab.config.objective import ObjectiveSpec
from eprli_lab.data.samplers import ProblemSampler
from eprli_lab.records import VERDICTS, Group, LossTerms
from eprli_lab.tracking import names


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def _rewards(level: str, which: str, groups: Sequence[Group]) -> dict[str, float]:
    """Names -> values of these groups; `which` is their part of the name."""
    if not groups:
        return {}
    rewards = [r for g in groups for r in g.rewards]
    return {
        names.sampled(level, which, "reward/mean"): statistics.fmean(rewards),
        names.sampled(level, which, "reward/std"): statistics.pstdev(rewards),
        names.sampled(level, which, "accuracy"): statistics.fmean(g.accuracy for g in groups),
    }


def sampling_metrics(level: str, groups: Sequence[Group]) -> dict[str, float]:
    """train/{l}/...: of all groups sampled in a step, errored ones left out, and of the admitted ones."""
    known = [g for g in groups if g.verdict != "errored"]
    out = _rewards(level, "all", known)
    out |= _rewards(level, "admitted", [g for g in known if g.verdict == "admitted"])
    if known:
        solved = [g.accuracy for g in known]
        out[names.sampled(level, "all", "solved_none")] = sum(a == 0.0 for a in solved) / len(solved)
        out[names.sampled(level, "all", "solved_some")] = sum(0.0 < a < 1.0 for a in solved) / len(solved)
        out[names.sampled(level, "all", "solved_all")] = sum(a == 1.0 for a in solved) / len(solved)
    responses = [r for g in groups for r in g.responses]
    if responses:
        lengths = [len(r.tokens) for r in responses]
        out[names.sampled(level, "all", "response_tokens/mean")] = statistics.fmean(lengths)
        out[names.sampled(level, "all", "response_tokens/p90")] = quantile(lengths, 0.9)
        out[names.sampled(level, "all", "response_tokens/max")] = max(lengths)
        out[names.sampled(level, "all", "truncation_rate")] = sum(r.truncated for r in responses) / len(responses)
    return {k: float(v) for k, v in out.items()}


def hint_metrics(level: str, hint: HintSpec, groups: Sequence[Group]) -> dict[str, float]:
    """train/{l}/all/{hint_steps,resampled} of the groups sampled in a step; nothing at a level without hints."""
    if hint.fraction == 0.0 or not groups:
        return {}
    out = {names.sampled(level, "all", "hint_steps"): statistics.fmean(g.hinted for g in groups)}
    if hint.when == "all_wrong":
        again = sum(g.hinted > 0 for g in groups)
        out[names.sampled(level, "all", "resampled")] = again / (len(groups) - again)
    return out


def buffer_metrics(
    level: str, tally: Tally, groups: Sequence[Group], *, waiting: int, size: int, ages: Sequence[int]
) -> dict[str, float]:
    """buffer/{l}/...: the tally of a step, the groups sampled in it, and the ages (updates) of those trained on."""
    out: dict[str, float] = {names.groups(level, v): tally.verdicts[v] for v in VERDICTS}
    out[names.generated(level)] = tally.generated
    out[names.groups(level, "surplus")] = tally.overflow
    out[names.groups(level, "stale_dropped")] = tally.stale_dropped
    out[names.buffer(level, "rounds")] = tally.rounds
    out[names.buffer(level, "fill_fraction")] = min(1.0, waiting / size)
    if tally.generated:
        out[names.buffer(level, "admission_rate")] = tally.verdicts["admitted"] / tally.generated
    if tally.verdicts["admitted"]:
        out[names.buffer(level, "tokens_per_admitted_group")] = tally.tokens / tally.verdicts["admitted"]
    if ages:
        out[names.buffer(level, "staleness")] = statistics.fmean(ages)
    known = [g for g in groups if g.verdict != "errored"]
    if known:
        out[names.reward_variance(level, "within")] = statistics.fmean(statistics.variance(g.rewards) for g in known)
    if len(known) > 1:
        out[names.reward_variance(level, "between")] = statistics.variance([statistics.fmean(g.rewards) for g in known])
    return {k: float(v) for k, v in out.items()}


def policy_metrics(level: str, terms: LossTerms, lr: float) -> dict[str, float]:
    """policy/{l}/... and optim/... of one update."""
    out = {
        names.policy(level, "loss"): terms.loss,
        names.policy(level, "entropy"): terms.entropy,
        names.policy(level, "approx_kl"): terms.approx_kl,
        names.clip_fraction(level, "low"): terms.clip_fraction_low,
        names.clip_fraction(level, "high"): terms.clip_fraction_high,
        names.optim("lr"): lr,
        names.optim("grad_norm"): terms.grad_norm,
    }
    out |= {names.engine_seconds(name): seconds for name, seconds in terms.phases}
    optional = {"kl_ref": terms.kl_ref, "mismatch_kl": terms.mismatch_kl, "mismatch_max": terms.mismatch_max}
    out |= {names.policy(level, name): value for name, value in optional.items() if value is not None}
    weights = {"mean": terms.is_weight_mean, "cut": terms.is_weight_cut, "max": terms.is_weight_max}
    return out | {names.is_weight(level, k): value for k, value in weights.items() if value is not None}


def entropy_metrics(level: str, objective: ObjectiveSpec, coefficient: float) -> dict[str, float]:
    """policy/{l}/entropy_coef of one update; nothing in a run without a bonus."""
    if objective.entropy_coef == 0.0 and objective.entropy_target is None:
        return {}
    return {names.policy(level, "entropy_coef"): coefficient}


def extension_metrics(level: str, schedule: Schedule, sampler: ProblemSampler, rule: AdmissionRule) -> dict[str, float]:
    """sampler/{l}/..., admission/{l}/..., schedule/...: what these say of themselves."""
    out = {names.schedule(k): v for k, v in schedule.metrics().items()}
    out |= {names.sampler(level, k): v for k, v in sampler.metrics().items()}
    out |= {names.admission(level, k): v for k, v in rule.metrics().items()}
    return {k: float(v) for k, v in out.items()}


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased chance that one of k samples is correct: 1 - C(n-c, k) / C(n, k) (arXiv 2107.03374, eq. 1).

    ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, not n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def progress_metrics(progress: Progress) -> dict[str, float]:
    """progress/...: the x axes."""
    return {names.progress(k): float(getattr(progress, k)) for k in ("tokens", "responses", "problems", "updates")}
