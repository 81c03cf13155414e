"""pass@k, avg@k, maj@k of an evaluation from its counts, and what its number of problems lets one say. Pure.

A count is (n, c): n samples of one problem, c of them correct. The unit of an interval here is the problem: it answers
"what would this one policy score on other problems of the kind?" and says nothing about other seeds of training.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from eprli_lab.reporting.stats.aggregates import wilson
from eprli_lab.reporting.stats.paired import spread, t_quantile
from eprli_lab.training.measures import pass_at_k

Count = tuple[int, int]  # n, c


class Evaluation(NamedTuple):
    """One policy's score on one suite, as a fraction, with its interval over problems."""

    value: float
    low: float
    high: float
    problems: int
    method: str  # "wilson" or "clustered t"

    def __str__(self) -> str:
        """`50.0 [33.2, 66.8] (30 problems)`: in percent."""
        shown = f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{shown} ({self.problems} problem{'s' if self.problems != 1 else ''})"


def mean_pass_at_k(counts: Sequence[Count], k: int) -> float:
    """Mean of pass@k over problems; nan of none."""
    return math.fsum(pass_at_k(n, c, k) for n, c in counts) / len(counts) if counts else math.nan


def avg_at_k(counts: Sequence[Count]) -> float:
    """Mean over problems of the share of their samples that are correct; nan of none."""
    return mean_pass_at_k(counts, 1)


def maj_at_k(votes: Sequence[tuple[Mapping[str, int], Collection[str]]]) -> float:
    """Share of problems whose most frequent answer is right; nan of none.

    A problem is (answer -> how many of its k samples gave it, the right answers). Answers that tie share the problem
    equally, since counts do not say which came first (the logged maj_at_k lets the first win). No answer, no credit.
    """
    return math.fsum(_majority(*v) for v in votes) / len(votes) if votes else math.nan


def _majority(votes: Mapping[str, int], right: Collection[str]) -> float:
    most = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == most and count > 0]
    return sum(w in right for w in winners) / len(winners) if winners else 0.0


def evaluation_interval(counts: Sequence[Count], confidence: float = 0.95) -> Evaluation:
    """avg@k with an interval over problems.

    Samples of one problem are not independent, so problems are the clusters: mean +- t_{M-1} sd / sqrt(M) of the
    shares c / n (arXiv 2411.00640). Wilson's interval instead where every share is 0 or 1 (one sample a
    problem), and where all shares are equal, since they then show no spread. Holds 94 to 96% of the time (simulation),
    but 79% where 5% of 30 problems can be solved at all: so few problems may miss every one. ValueError without any.
    """
    if not counts:
        raise ValueError("an evaluation without problems has no interval")
    shares = [pass_at_k(n, c, 1) for n, c in counts]
    m = len(shares)
    mean = math.fsum(shares) / m
    sd = spread(shares)
    if not sd > 0 or all(s in (0.0, 1.0) for s in shares):
        return published(mean, m, confidence)
    half = t_quantile(m - 1, confidence) * sd / math.sqrt(m)
    return Evaluation(mean, max(0.0, mean - half), min(1.0, mean + half), m, "clustered t")


def published(value: float, problems: int, confidence: float = 0.95) -> Evaluation:
    """Wilson's interval of a score of which only the value and the number of problems are known.

    Exact in spirit for one sample a problem; for a mean over several samples it is the widest that the number of
    problems allows, since shares within [0, 1] vary at most as much as zeros and ones of the same mean.
    """
    if not (0 <= value <= 1 and problems >= 1):
        raise ValueError(f"a score within [0, 1] of at least one problem is needed, not {value} of {problems}")
    return Evaluation(value, *wilson(value, problems, confidence), problems, "wilson")
