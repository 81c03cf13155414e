"""The one catalogue of metrics (docs/metrics.md): every name that a run logs, its unit and its definition.

`{l}` stands for a level's name and `{suite}` for an evaluation suite. The functions that make the values are in
measures.py. Imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from eprli_lab.records import VERDICTS
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
    Metric(
        names.policy(LEVEL, "entropy_coef"),
        "",
        "coefficient of the entropy bonus in this update; only where there is one",
    ),
    *_family(
        names.is_weight(LEVEL, "*"),
        "mean max",
        "",
        "pi_trainer / pi_sampler of the update's tokens, before it; only with algorithm.is_correction",
    ),
    Metric(names.is_weight(LEVEL, "cut"), "fraction of tokens", "whose weight was truncated (tis) or masked (icepop)"),
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
    Metric(
        names.process(LEVEL, "cross_entropy"),
        "nats a response",
        "of the outcomes of the update's groups, by the implicit reward model before it learned from them; this and "
        "the next two only with reward_density=implicit",
    ),
    Metric(
        names.process(LEVEL, "accuracy"),
        "fraction",
        "of those outcomes that it predicted right (a reward above 0 says right; exactly 0 counts one half)",
    ),
    Metric(
        names.process(LEVEL, "step_auc"),
        "",
        "AUC of its token rewards, summed over a worked step, against the exact check of the step (families int and "
        "mod10; absent where all steps were right or all wrong)",
    ),
    Metric(names.optim("lr"), "", "learning rate of the update"),
    Metric(names.optim("grad_norm"), "", "gradient norm before clipping, mean over the update's optimizer steps"),
    Metric(names.seconds("generate"), "s", "sampling, this step"),
    Metric(names.seconds("verify"), "s", "grading, this step"),
    Metric(
        names.seconds("verify_lost"), "s", "of grading processes: spent on answers that timed out, so far, all together"
    ),
    Metric(names.seconds("process"), "s", "the implicit reward model, this step; only with reward_density=implicit"),
    Metric(names.seconds("update"), "s", "training, this step"),
    Metric(names.seconds("evaluate"), "s", "one evaluation of all suites"),
    Metric(names.seconds("remeasure"), "s", "measuring difficulty anew; in time/step"),
    Metric(names.seconds("continue"), "s", "going on with truncated responses of this step; not in time/step"),
    Metric(names.seconds("step"), "s", "this step in all"),
    Metric(names.TOTAL_SECONDS, "s", "the run so far, evaluation included"),
    *_family(
        names.engine_seconds("*"),
        "rollout train broadcast reference trainer",
        "s",
        "an OpenRLHF phase, since the last update",
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
    Metric(f"{names.IMPORTED}/{NAME}", "", "what another trainer logged, under its own key (docs/import.md)"),
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


def catalogue_markdown() -> str:
    """The catalogue as docs/metrics.md shows it."""
    what = "Every metric that is logged: name, unit and definition. `{l}` stands for a level, `{suite}` for a suite."
    made = "Made by `python -m eprli_lab.training.metrics > docs/metrics.md`."
    lines = ["# Metrics", "", what, made, ""]
    lines += ["| name | unit | definition |", "|---|---|---|"]
    lines += [f"| `{metric.name}` | {metric.unit} | {metric.definition} |" for metric in CATALOGUE]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(catalogue_markdown(), end="")
