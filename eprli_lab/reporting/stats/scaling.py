"""What more compute would buy: a saturating curve through an arm's evaluations, its parameters with intervals. Pure.

    R(C) = R0 + (A - R0) / (1 + (C_mid / C)^B)      (ScaleRL, arXiv 2510.13786, eq. 1)

C: generated training tokens. R0 is the measured accuracy before training and no parameter; A the asymptote; C_mid the
tokens at which half of the gain A - R0 is made, and B how steeply: together the efficiency.

The fit is least squares over all evaluations of all seeds together. For given (C_mid, B) the best A is a quotient of
sums (variable projection), so the whole plane of (C_mid, B) is looked at: a grid finds the valley that a local search
from one start may miss, and is then made finer around its minimum.

Intervals: whole seeds are drawn with replacement, since the points of one run share its luck. A percentile bootstrap
of four seeds is hopeless (35 different resamples, and the widest too rare), so only the spread of the resamples is
taken: estimate +- t_{n-1} sd sqrt(n / (n - 1)), which for a mean is exactly its t interval; of the gain A - R0, the
tokens and the exponent on the log scale. tests/reporting/test_scaling.py says what it covers in simulation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprli_lab.errors import counted
from eprli_lab.reporting.stats.aggregates import Estimate
from eprli_lab.reporting.stats.paired import paired_difference, t_quantile

Array = NDArray[np.float64]
MIN_SEEDS = 3  # as for any verdict: the t of two seeds is 12.7
MIN_POINTS = 4  # evaluations after the start: three parameters, and one point that can contradict them
MIN_GAIN = 0.03  # accuracy; what the start's own sampling error can feign, and the smallest gain that matters
FALL_P = 0.01  # of a paired t test: a curve that falls so surely is no saturating one
BENT_P = 0.2  # of one that it lies above a straight line: a weak hint is enough, the interval of A must still hold
RESAMPLES = 200  # beyond EXHAUSTIVE seeds; a standard deviation needs no more
EXHAUSTIVE = 4  # seeds up to which every resample is looked at: 10 of three seeds, 35 of four
MIDPOINTS = 48  # of the grid
EXPONENTS = 20
STEEPEST = 8.0  # B; ScaleRL's own fits lie between 1 and 3
LOST = 0.025  # weight of resamples that never reach a score, beyond which its tokens have no interval
LEAST = 1e-6  # A - R0 of a curve that gains nothing
ROUNDS = 5  # of refinement, each of which halves the grid's step


class Run(NamedTuple):
    """Evaluations of one seed after the start, by tokens."""

    tokens: Array  # m, above 0
    scores: Array  # m


class Curve(NamedTuple):
    """R(C)."""

    start: float  # R0
    asymptote: float  # A
    midpoint: float  # C_mid, tokens
    exponent: float  # B

    def at(self, tokens: Array) -> Array:
        """The score after so many tokens."""
        share = _share(np.log(tokens), math.log(self.midpoint), math.log(self.exponent))
        return self.start + (self.asymptote - self.start) * share


class Scaling(NamedTuple):
    """The curve of an arm. Every estimate has a 95% interval; tokens that are never enough are inf."""

    curve: Curve
    asymptote: Estimate  # nan, as midpoint and exponent, where `open_end` is not empty
    midpoint: Estimate  # tokens to half of the gain
    exponent: Estimate
    open_end: str  # why no asymptote is told: then the curve says something between the evaluations only
    first: float  # tokens of the first evaluation after the start, mean over seeds
    budget: float  # of the last one
    seeds: int
    resampled: Array  # R x 3: logs of A - R0, midpoint, exponent
    weights: Array  # R, probabilities of the resamples

    def tokens_to(self, score: float) -> Estimate:
        """Tokens until the curve reaches `score`. Above a resample's asymptote there are none: then no upper end."""
        c = self.curve
        estimate = _log_tokens_to(score - c.start, np.log([[c.asymptote - c.start, c.midpoint, c.exponent]]))
        values = _log_tokens_to(score - c.start, self.resampled)
        return _on_log_scale(float(estimate[0]), values, self.weights, self.seeds)


def fit_curve(runs: Sequence[Run], start: float) -> Scaling | str:
    """The curve through these seeds of an arm, or a sentence on why its evaluations carry none.

    `start`: accuracy before training, mean over seeds. Refused: too few seeds or points, no gain, a fall that is no
    noise. A curve without an asymptote (`open_end`): one that has not bent, or whose asymptote is as uncertain as the
    gain.
    """
    reason = _unfit(runs, start)
    if reason:
        return reason
    n = len(runs)
    counts, weights = _resamples(n)
    values = _fit(runs, start, np.vstack([np.ones(n), counts]))
    best, draws = values[0], values[1:]
    last = float(np.mean([r.scores[r.tokens.argmax()] for r in runs]))
    budget = float(np.mean([r.tokens.max() for r in runs]))
    gain, midpoint, exponent = (_on_log_scale(best[i], draws[:, i], weights, n) for i in range(3))
    open_end = _straight(*_aligned(runs), start) or _unidentified(gain, midpoint.value, last - start, 1 - start, budget)
    nothing = Estimate(math.nan, math.nan, math.nan, n)
    value, low, high = (min(1.0, start + end) for end in (gain.value, gain.low, gain.high))
    asymptote = Estimate(value, low, high, n)
    return Scaling(
        Curve(start, start + gain.value, midpoint.value, exponent.value),  # above 1 it still serves between its points
        *((nothing,) * 3 if open_end else (asymptote, midpoint, exponent)),
        open_end,
        float(np.mean([r.tokens.min() for r in runs])),
        budget,
        n,
        draws,
        weights,
    )


def _unidentified(gain: Estimate, midpoint: float, so_far: float, most: float, budget: float) -> str:
    """Why a fitted gain A - R0 tells no asymptote; "" where it does. `most`: the gain up to an accuracy of 1."""
    if midpoint > budget:
        return (
            f"it has not bent: by its best curve half of the gain lies beyond the {budget:,.0f} tokens of the budget, "
            "so no asymptote can be told"
        )
    if gain.high - gain.low >= so_far:
        return f"no asymptote can be told: its 95% interval would be as wide as the gain so far ({so_far:.3f})"
    if gain.low <= so_far and gain.high >= most:
        return "no asymptote can be told: its 95% interval would reach from what is reached already up to 1"
    return ""


def _unfit(runs: Sequence[Run], start: float) -> str:
    """Why no curve is tried; "" where one is."""
    if len(runs) < MIN_SEEDS:
        return f"{counted(len(runs), 'seed')}: a curve with intervals needs {MIN_SEEDS}"
    points = min(len(set(r.tokens.tolist())) for r in runs)
    if points < MIN_POINTS:
        return (
            f"{points} evaluations after the start, and a curve needs {MIN_POINTS}: set evaluation.curve_points="
            f"{MIN_POINTS} or more"
        )
    last = {i: float(r.scores[r.tokens.argmax()]) for i, r in enumerate(runs)}
    gain = paired_difference(last, dict.fromkeys(last, start))
    if not gain.mean >= MIN_GAIN or gain.low <= 0.0:
        ends = "" if math.isnan(gain.low) else f" [{gain.low:+.3f}, {gain.high:+.3f}]"
        return f"it is flat: the gain of {gain.mean:+.3f}{ends} is not above noise and {MIN_GAIN:g}"
    return _fall(*_aligned(runs))


def _aligned(runs: Sequence[Run]) -> tuple[Array, Array]:
    """The places (tokens) of the run with the fewest evaluations, and every seed's score there, seeds x places."""
    shortest = min(runs, key=lambda r: len(r.tokens))
    places = np.sort(shortest.tokens)
    order = [np.argsort(r.tokens) for r in runs]
    return places, np.array([np.interp(places, r.tokens[o], r.scores[o]) for r, o in zip(runs, order, strict=True)])


def _fall(places: Array, aligned: Array) -> str:
    """A sentence where the mean curve falls from its peak by more than noise."""
    peak = int(aligned.mean(axis=0).argmax())
    for j in range(peak + 1, len(places)):
        drop = paired_difference(dict(enumerate(aligned[:, j])), dict(enumerate(aligned[:, peak])))
        if drop.mean < -MIN_GAIN and drop.p * (len(places) - peak - 1) < FALL_P:
            return (
                f"it falls from {aligned[:, peak].mean():.3f} at {places[peak]:,.0f} tokens to "
                f"{aligned[:, j].mean():.3f} at {places[j]:,.0f} by more than noise: no saturating curve describes that"
            )
    return ""


def _straight(places: Array, aligned: Array, start: float) -> str:
    """A sentence where the evaluations on the way do not lie above the straight line from the start to the last one."""
    line = start + (aligned[:, -1:] - start) * places / places[-1]
    above = (aligned - line)[:, :-1].mean(axis=1)
    bend = paired_difference(dict(enumerate(above)), dict.fromkeys(range(len(above)), 0.0))
    if bend.mean > 0.0 and not bend.p > BENT_P:
        return ""
    return "it has not bent: up to its end it rises as a straight line does, so no asymptote can be told"


def _share(tokens: Array, midpoint: Array | float, exponent: Array | float) -> Array:
    """The share of the gain that is made, 1 / (1 + (C_mid / C)^B); of the logs of all three."""
    return np.asarray(1.0 / (1.0 + np.exp(np.exp(exponent) * (midpoint - tokens))))


def _resamples(n: int) -> tuple[Array, Array]:
    """How often each seed is drawn, R x n, and the resamples' probabilities."""
    if n > EXHAUSTIVE:
        counts = np.random.default_rng(n).multinomial(n, [1 / n] * n, size=RESAMPLES)
        return counts.astype(float), np.full(RESAMPLES, 1 / RESAMPLES)
    drawn = itertools.combinations_with_replacement(range(n), n)
    counts = np.array([np.bincount(one, minlength=n) for one in drawn])
    orders = [math.factorial(n) / math.prod(math.factorial(int(k)) for k in row) for row in counts]
    return counts.astype(float), np.array(orders) / n**n


def _fit(runs: Sequence[Run], start: float, weights: Array) -> Array:
    """Least squares of every row of weights (R x seeds): R x 3, logs of A - R0, midpoint, exponent."""
    seeds = np.concatenate([np.full(len(r.tokens), i) for i, r in enumerate(runs)])
    tokens = np.log(np.concatenate([r.tokens for r in runs]))
    gains = np.concatenate([r.scores for r in runs]) - start
    of_seed = (seeds[None, :] == np.arange(len(runs))[:, None]).astype(float)  # seeds x points
    most = 3.0 * float(gains.max())  # of A - R0
    middles = np.linspace(tokens.min() - math.log(20), tokens.max() + math.log(8), MIDPOINTS)
    steeps = np.linspace(math.log(1 / 4), math.log(STEEPEST), EXPONENTS)
    lower, upper = (np.array([g[i] for g in (middles, steeps)]) for i in (0, -1))
    step = np.array([middles[1] - middles[0], steeps[1] - steeps[0]])

    grid = np.array(list(itertools.product(middles, steeps)))  # G x 2
    share = _share(tokens, grid[:, :1], grid[:, 1:])  # G x points
    squares, products = (share * share) @ of_seed.T, (share * gains) @ of_seed.T  # G x seeds
    amplitude, error = _projected(weights @ squares.T, weights @ products.T, most)
    at = grid[error.argmin(axis=1)]  # R x 2
    by_point = weights @ of_seed  # R x points
    moves = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=2)))
    rows = np.arange(len(weights))
    for _ in range(ROUNDS):
        step = step / 2
        near = np.clip(at[:, None, :] + moves * step, lower, upper)  # R x 25 x 2
        share = _share(tokens, near[..., :1], near[..., 1:])  # R x 25 x points
        weighted = share * by_point[:, None, :]
        amplitude, error = _projected((weighted * share).sum(-1), weighted @ gains, most)
        best = error.argmin(axis=1)
        at = near[rows, best]
        amplitude = amplitude[rows, best]
    return np.column_stack([np.log(amplitude), at])


def _projected(squares: Array, products: Array, most: float) -> tuple[Array, Array]:
    """The best A - R0, at most `most`, for sums of h^2 and h y; and the squared error less that of A = R0."""
    amplitude = np.clip(products / squares, LEAST, most)
    return amplitude, amplitude * (amplitude * squares - 2 * products)


def _log_tokens_to(gain: float, logs: Array) -> Array:
    """log C at which so much is gained: C_mid / ((A - R0) / gain - 1)^(1 / B); inf from the asymptote on.

    `logs`: R x 3, of A - R0, C_mid, B.
    """
    if gain <= 0:
        return np.full(len(logs), -math.inf)
    left = np.exp(logs[:, 0]) / gain - 1.0
    with np.errstate(divide="ignore"):
        return np.where(left > 0, logs[:, 1] - np.log(np.maximum(left, 0.0)) / np.exp(logs[:, 2]), math.inf)


def _half_width(values: Array, weights: Array, n: int) -> float:
    """t_{n-1} sd sqrt(n / (n - 1)) of resampled estimates."""
    sd = math.sqrt(float(weights @ (values - weights @ values) ** 2) * n / (n - 1))
    return t_quantile(n - 1) * sd


def _on_log_scale(estimate: float, values: Array, weights: Array, n: int) -> Estimate:
    """exp of an estimate and its interval; without any for inf, without ends where resamples of weight LOST are inf."""
    if not math.isfinite(estimate):
        return Estimate(math.exp(estimate), math.nan, math.nan, n)
    finite = np.isfinite(values)
    known = float(weights[finite].sum())
    if known < 1 - LOST:
        return Estimate(math.exp(estimate), math.nan, math.inf, n)
    half = _half_width(values[finite], weights[finite] / known, n)
    return Estimate(math.exp(estimate), math.exp(estimate - half), math.exp(min(700.0, estimate + half)), n)
