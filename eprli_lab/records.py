"""What travels between the parts: Problem, Response, Group, Batch, UpdateSettings, LossTerms.

Every field says its shape, symbol and unit. Imports no torch: tensors are made by the backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["admitted", "too_hard", "too_easy", "no_signal", "errored"]
ZERO_VARIANCE: Verdict = "no_signal"  # rewards without spread; the name under which it is logged
VERDICTS: tuple[Verdict, ...] = ("admitted", "too_hard", "too_easy", "no_signal", "errored")
GradeStatus = Literal["exact", "symbolic", "wrong", "no_answer", "timeout", "error"]


@dataclass(frozen=True)
class Problem:
    """q: one question with a verifiable answer."""

    id: str  # stable within its data set
    prompt: str  # plain text given to the policy (the last user message where the data is chat-style)
    answers: tuple[str, ...]  # accepted gold answers, at least one
    difficulty: float | None = None  # d(q) in [0, 1]; one minus the pass rate of the initial policy
    source: str = ""  # the data set's name
    messages: tuple[tuple[str, str], ...] = ()  # chat-style prompt as (role, content); empty: plain text
    system: str | None = None  # system prompt of the level that asks; None: the run's (config/prompts.py)
    suffix: str | None = None  # what that level puts behind the question; None: the run's
    steps: tuple[str, ...] = ()  # worked steps of the gold solution, without its answer; empty: none are known
    hint: str = ""  # beginning of the answer that is given: a part of the prompt, no token of the response
    begun: tuple[int, ...] = ()  # ids of a response that is to be gone on with; behind the hint
    answer_format: str | None = None  # where a response says its answer; None: the run's verify.format
    verifier: str | None = None  # registered verifier or import path that grades it; None: the run's verify.grader
    checks: str = ""  # what that verifier needs beside the response, as JSON; empty: the answers


@dataclass(frozen=True)
class Response:
    """o_i: one sampled response."""

    text: str  # decoded, without special tokens
    prompt_tokens: tuple[int, ...]  # ids of q
    tokens: tuple[int, ...]  # ids of o_i, the end-of-sequence token included when it was sampled
    logprobs: tuple[float, ...]  # nats, under the sampling policy at the sampling temperature; one a token
    truncated: bool  # ended by the length limit, not by the end-of-sequence token
    ends: tuple[int, ...] = ()  # characters of `text` up to and including each token; only where steps are checked


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn; every word means what it means in vLLM's SamplingParams, on every engine."""

    n: int  # responses a problem
    max_tokens: int  # limit of one response
    temperature: float = 1.0  # 0: greedy
    top_p: float = 1.0  # 1: the whole distribution
    top_k: int = 0  # 0: the whole distribution
    min_p: float = 0.0  # of the most probable token's probability
    stop: tuple[str, ...] = ()  # a response ends where its text holds one of them; it is left out of the text


@dataclass(frozen=True)
class Completion:
    """What an engine drew for one response, before it is text."""

    tokens: tuple[int, ...]  # the stop token included
    logprobs: tuple[float, ...]  # nats, of the distribution that was drawn from; one a token
    finish: str  # "stop": a stop token or stop string; "length": the limit; whatever else an engine may say


@dataclass(frozen=True)
class Step:
    """One checkable step of a worked response."""

    end: int  # index of the token in which it ends
    correct: bool


@dataclass(frozen=True)
class Grade:
    """The verifier's word on one response."""

    correct: bool
    status: GradeStatus  # timeout counts as wrong; error means that nothing is known
    answer: str | None = None  # what was extracted


@dataclass(frozen=True)
class Group:
    """G_l responses to one problem, graded and rewarded, as they were sampled."""

    problem: Problem
    level: str
    responses: tuple[Response, ...]  # G
    grades: tuple[Grade, ...]  # G
    rewards: tuple[float, ...]  # G; r_i after shaping
    version: int  # updates made before it was sampled; staleness is measured against it
    verdict: Verdict
    steps: tuple[tuple[Step, ...], ...] = ()  # G; only where steps are checked
    hinted: int = 0  # worked steps that the problem's hint gave
    process: tuple[tuple[float, ...], ...] = ()  # G x |o_i|; learned token rewards; only where they are, in an update

    @property
    def accuracy(self) -> float:
        """Share of correct responses, before any shaping."""
        return sum(g.correct for g in self.grades) / len(self.grades)

    @property
    def tokens(self) -> int:
        """Generated tokens of the whole group."""
        return sum(len(r.tokens) for r in self.responses)


@dataclass(frozen=True)
class Batch:
    """What one update trains on: B responses of whole groups."""

    responses: tuple[Response, ...]  # B
    advantages: tuple[tuple[float, ...], ...]  # B x |o_i|; A_{i,t}
    groups: tuple[int, ...]  # B; index of the group a response belongs to
    current: tuple[bool, ...]  # B; sampled from the very weights that the update starts from (not carried over)


@dataclass(frozen=True)
class CovarianceSettings:
    """Which tokens clip_cov and kl_cov act on (algorithm/covariance.py)."""

    clip_share: float = 2e-4  # of all tokens: how many clip_cov holds back
    clip_low: float = 1.0  # of a token's covariance, for clip_cov
    clip_high: float = 5.0
    kl_share: float = 2e-3  # of all tokens: how many kl_cov penalises
    kl_coef: float = 1.0


@dataclass(frozen=True)
class CorrectionSettings:
    """The correction of trainer against sampler (algorithm/importance.py)."""

    kind: Literal["none", "tis", "icepop"] = "none"
    cap: float = 2.0  # of tis
    low: float = 0.5  # of icepop
    high: float = 5.0


@dataclass(frozen=True)
class UpdateSettings:
    """How one update is made: the level's clip bounds and inner iterations, and what is common to all levels."""

    clip_low: float  # eps_low
    clip_high: float  # eps_high
    inner_iterations: int  # mu_l: passes over the batch
    minibatches: int  # optimizer steps a pass
    aggregation: Literal["token_mean", "sequence_mean", "constant"]
    constant_tokens: int  # divisor of `constant`
    kl_coef: float  # of the k3 estimate to the frozen reference; 0: no reference is kept
    temperature: float  # of sampling
    learning_rate: float
    max_grad_norm: float
    seed: int  # of the shuffle into minibatches
    objective: str = "ppo_clip"  # registered name or import path of the loss of a token
    entropy_coef: float = 0.0  # of the bonus on the entropy of each token's context
    covariance: CovarianceSettings = CovarianceSettings()  # of clip_cov and kl_cov
    correction: CorrectionSettings = CorrectionSettings()  # of trainer against sampler


@dataclass(frozen=True)
class LossTerms:
    """Means over the optimizer steps of one update; nats a token unless said otherwise."""

    loss: float
    entropy: float
    approx_kl: float  # k3 of the new against the sampling policy
    mismatch_kl: float | None  # k3 of the trainer against the sampler, same weights (None: every group was carried)
    mismatch_max: float | None  # largest |difference| of a token's log-probability in that comparison, nats
    kl_ref: float | None  # k3 against the reference; None when its coefficient is zero
    clip_fraction_low: float  # of negative-advantage tokens, those with ratio < 1 - eps_low
    clip_fraction_high: float  # of positive-advantage tokens, those with ratio > 1 + eps_high
    grad_norm: float  # before clipping
    optimizer_steps: int
    phases: tuple[tuple[str, float], ...] = ()  # (name, s) of the engine's own phases since the last update
    is_weight_mean: float | None = None  # of pi_trainer / pi_sampler before the update; None without a correction
    is_weight_cut: float | None = None  # fraction of tokens whose weight was truncated or masked
    is_weight_max: float | None = None
