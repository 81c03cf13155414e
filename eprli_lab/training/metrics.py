"""The one catalogue of metrics (docs/metrics.md) and the pure functions from records to {name: value}.

`{l}` stands for a level's name and `{suite}` for an evaluation suite. `all` counts every group, `admitted` the
survivors: both are logged, since survivors alone are biased by construction. Imports no torch.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from eprli_lab.algorithm.admission import AdmissionRule
from eprli_lab.algorithm.buffer import Tally
from eprli_lab.algorithm.progress import Progress
from eprli_lab.algorithm.schedule import Schedule
from eprli_lab.config.curriculum import HintSpec
from eprli_lab.data.samplers import ProblemSampler
from eprli_lab.records import VERDICTS, Group, LossTerms
from eprli_lab.tracking import names
from eprli_lab.training.memory_metrics import memory_rows


@dataclass(frozen=True)
class Metric:
    """One name (or a family of names) of the catalogue."""

    name: str
    unit: str
    definition: str


def _family(pattern: str, values: str, unit: str, definition: str) -> list[Metric]:
    return [Metric(pattern.replace("*", v), unit, definition) for v in values.split()]


LEVEL = "{l}"
NAME = "{name}"  # whatever one of the user's own calls it
SUITE = "{suite}"  # like LEVEL, stands for any name
VALID = "of the truncated responses, right when gone on with (0: none was); with evaluation.continue_truncated"
CATALOGUE: tuple[Metric, ...] = (
    *_family(
        names.sampled(LEVEL, "*", "reward/mean"), "all admitted", "", "mean shaped reward of this step's responses"
    ),
    *_family(
        names.sampled(LEVEL, "*", "reward/std"),
        "all admitted",
        "",
        "standard deviation of the shaped reward over responses",
    ),
    *_family(names.sampled(LEVEL, "*", "accuracy"), "all admitted", "fraction", "correct responses, before shaping"),
    *_family(
        names.sampled(LEVEL, "all", "solved_*"),
        "none some all",
        "fraction of groups",
        "groups with no / some / all correct",
    ),
    *_family(names.sampled(LEVEL, "all", "response_tokens/*"), "mean p90 max", "tokens", "response length"),
    Metric(names.sampled(LEVEL, "all", "truncation_rate"), "fraction", "responses that met the length limit"),
    Metric(names.sampled(LEVEL, "all", "hint_steps"), "steps", "worked steps given, mean over groups; only with hints"),
    Metric(
        names.sampled(LEVEL, "all", "resampled"),
        "fraction of groups",
        "sampled once more, with a hint, of those sampled without; only with hint.when=all_wrong",
    ),
    Metric(names.sampled(LEVEL, "all", "valid_truncation_rate"), "fraction", VALID),
    Metric(names.generated(LEVEL), "groups", "sampled this step; the sum of the five verdicts, always"),
    *_family(names.groups(LEVEL, "*"), " ".join(VERDICTS), "groups", "groups with this verdict"),
    Metric(names.groups(LEVEL, "surplus"), "groups", "admitted groups beyond N_l when the update was made"),
    Metric(names.groups(LEVEL, "stale_dropped"), "groups", "carried groups dropped for their age"),
    Metric(names.buffer(LEVEL, "admission_rate"), "fraction", "admitted / generated"),
    Metric(
        names.buffer(LEVEL, "fill_fraction"), "fraction", "waiting groups / N_l, at most 1, when the update was decided"
    ),
    Metric(names.buffer(LEVEL, "rounds"), "rounds", "sampling rounds of this step"),
    Metric(names.buffer(LEVEL, "staleness"), "updates", "mean age of the groups trained on"),
    Metric(names.buffer(LEVEL, "tokens_per_admitted_group"), "tokens", "generated tokens / admitted groups"),
    Metric(names.reward_variance(LEVEL, "within"), "", "mean over groups of the unbiased variance within a group"),
    Metric(names.reward_variance(LEVEL, "between"), "", "unbiased variance of the groups' mean rewards"),
    Metric(names.sampler(LEVEL, NAME), "", "what the problem sampler says of itself, as `target`"),
    Metric(names.admission(LEVEL, NAME), "", "what the level's admission rule says of itself"),
    Metric(names.schedule(NAME), "", "what the schedule says of itself"),
    *(Metric(*row) for row in memory_rows(LEVEL)),
    Metric(names.policy(LEVEL, "loss"), "", "the objective's value"),
    Metric(names.policy(LEVEL, "entropy"), "nats a token", "entropy of the policy on sampled tokens' contexts"),
    Metric(
        names.policy(LEVEL, "kl_ref"),
        "nats a token",
        "k3 estimate to the frozen reference; only with a positive coefficient",
    ),
    Metric(names.policy(LEVEL, "approx_kl"), "nats a token", "k3 estimate of the new against the sampling policy"),
    Metric(names.policy(LEVEL, "mismatch_kl"), "nats a token", "k3 estimate of trainer against sampler, equal weights"),
    Metric(
        names.policy(LEVEL, "mismatch_max"),
        "nats",
        "largest difference of a token's log-probability in that comparison",
    ),
    Metric(
        names.clip_fraction(LEVEL, "low"), "fraction of tokens", "of negative-advantage tokens, ratio < 1 - eps_low"
    ),
    Metric(
        names.clip_fraction(LEVEL, "high"), "fraction of tokens", "of positive-advantage tokens, ratio > 1 + eps_high"
    ),
    Metric(names.optim("lr"), "", "learning rate of the update"),
    Metric(names.optim("grad_norm"), "", "gradient norm before clipping, mean over the update's optimizer steps"),
    Metric(names.seconds("generate"), "s", "sampling, this step"),
    Metric(names.seconds("verify"), "s", "grading, this step"),
    Metric(
        names.seconds("verify_lost"), "s", "of grading processes: spent on answers that timed out, so far, all together"
    ),
    Metric(names.seconds("update"), "s", "training, this step"),
    Metric(names.seconds("evaluate"), "s", "one evaluation of all suites"),
    Metric(names.seconds("remeasure"), "s", "measuring difficulty anew; in time/step"),
    Metric(names.seconds("continue"), "s", "going on with truncated responses of this step; not in time/step"),
    Metric(names.seconds("step"), "s", "this step in all"),
    Metric(names.TOTAL_SECONDS, "s", "the run so far, evaluation included"),
    *_family(
        names.engine_seconds("*"), "rollout train broadcast reference", "s", "an OpenRLHF phase, since the last update"
    ),
    Metric(names.performance("tokens_per_second"), "tokens/s", "generated tokens / time/step"),
    Metric(names.TOKENS, "tokens", "generated for training so far; what measured difficulty anew included"),
    Metric(names.progress("responses"), "responses", "generated for training so far"),
    Metric(names.progress("problems"), "problems", "drawn for training so far"),
    Metric(names.UPDATES, "updates", "made so far"),
    Metric(
        names.PARAMETERS,
        "",
        "of all networks that the run trains, at step 0 (weights=separate: L times the policy; LoRA: adapters alone)",
    ),
    *_family(names.verification("*"), "timeout error no_answer", "responses", "so far, with this status"),
    Metric(names.accuracy(SUITE), "fraction", "mean over problems of the share of k samples that are correct"),
    Metric(names.evaluation(SUITE, "pass_at_k"), "fraction", "unbiased estimate (arXiv 2107.03374) at k = samples"),
    Metric(names.evaluation(SUITE, "maj_at_k"), "fraction", "problems whose most frequent answer is correct"),
    Metric(names.evaluation(SUITE, "response_tokens"), "tokens", "mean response length"),
    Metric(names.evaluation(SUITE, "truncation_rate"), "fraction", "responses that met the length limit"),
    Metric(names.evaluation(SUITE, "valid_truncation_rate"), "fraction", VALID),
    Metric(
        names.heldout_accuracy(LEVEL),
        "fraction",
        "avg_at_k over the held-out problems of D_l (Q_{l-1} < d <= Q_l), all suites together, each problem once",
    ),
    Metric(names.heldout(LEVEL, "problems"), "problems", "how many those are in this evaluation"),
    Metric(
        names.common_accuracy(LEVEL),
        "fraction",
        "the same over those that every evaluation asks: the first `evaluation.boundary_problems` of each suite",
    ),
    Metric(names.COMMON_SCORE, "fraction", "`score` over the problems that every evaluation asks"),
    Metric(names.SCORE, "fraction", "mean over suites of avg_at_k: the sweep's default objective"),
    Metric(names.RESPONSE_TOKENS, "tokens", "mean over suites of eval/{suite}/response_tokens"),
)
_HOLES = {re.escape(LEVEL): "[^/]+", re.escape(SUITE): "[^/]+", re.escape(NAME): ".+"}


def _pattern(name: str) -> re.Pattern[str]:
    text = re.escape(name)
    for hole, filling in _HOLES.items():
        text = text.replace(hole, filling)
    return re.compile(text + "$")


_PATTERNS = [_pattern(m.name) for m in CATALOGUE]


def in_catalogue(name: str) -> bool:
    """True when the catalogue defines `name`."""
    return any(p.match(name) for p in _PATTERNS)


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
    return out


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


def catalogue_markdown() -> str:
    """The catalogue as docs/metrics.md shows it."""
    made = "Made by `python -m eprli_lab.training.metrics > docs/metrics.md`. `{l}`: a level; `{suite}`: a suite."
    lines = ["# Metrics", "", made, ""]
    lines += ["| name | unit | definition |", "|---|---|---|"]
    lines += [f"| `{metric.name}` | {metric.unit} | {metric.definition} |" for metric in CATALOGUE]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(catalogue_markdown(), end="")
