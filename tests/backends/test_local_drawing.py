"""Filters and draw against distributions worked out by hand, in vLLM's order and at its boundaries."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from conftest import rest_exhaustive
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from eprli_lab.backends.local import drawing
from eprli_lab.backends.local.drawing import BLOCK, draw, keep, pick
from eprli_lab.backends.local.uniform import streams, uniform
from eprli_lab.records import Sampling

# Eight tokens; all shares are powers of two, so that sums and boundaries are exact in float32.
SHARES = [0.25, 0.0625, 0.5, 0.125, 0.03125, 0.015625, 0.0078125, 0.0078125]


def logits(shares=SHARES, rows: int = 1) -> torch.Tensor:
    return torch.tensor([[math.log(x) if x else -math.inf for x in shares]]).repeat(rows, 1)


def sampling(**words: Any) -> Sampling:
    return Sampling(1, 1, **words)


def places(rows: int, seed: int) -> torch.Tensor:
    """Uniform numbers [rows, 1]."""
    return uniform(streams(seed, 0, rows), 0)


def kept(**words: Any) -> set[int]:
    return set(keep(logits(), sampling(**words))[0].isfinite().nonzero()[:, 0].tolist())


ORDER = [2, 0, 3, 1, 4, 5, 6, 7]  # most probable first; 6 and 7 are a tie


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ({}, 8),
        ({"top_k": 1}, 1),
        ({"top_k": 3}, 3),
        ({"top_k": 7}, 8),  # the seventh largest is a tie of two: both stay
        ({"top_k": 8}, 8),
        ({"top_k": 99}, 8),
        ({"top_p": 1.0}, 8),
        ({"top_p": 0.5}, 1),  # the first token alone has the mass
        ({"top_p": 0.5001}, 2),
        ({"top_p": 0.75}, 2),
        ({"top_p": 0.7501}, 3),
        ({"top_p": 0.001}, 1),  # at least one
        ({"min_p": 0.0625}, 5),  # .03125 = .0625 x .5 is on the bound, and stays
        ({"min_p": 0.0626}, 4),
        ({"min_p": 1.0}, 1),
        # min_p leaves .5 .25 .125 (sum .875), of which the first is 4/7, the first two 6/7
        ({"min_p": 0.25, "top_p": 0.57}, 1),
        ({"min_p": 0.25, "top_p": 0.58}, 2),
        ({"min_p": 0.25, "top_p": 0.857}, 2),
        ({"min_p": 0.25, "top_p": 0.858}, 3),
        # top_k leaves .5 .25 (sum .75), of which the first is 2/3: without top_k a mass of .7 needs two
        ({"top_k": 2, "top_p": 0.66}, 1),
        ({"top_k": 2, "top_p": 0.67}, 2),
        ({"top_p": 0.66}, 2),
    ],
    ids=str,
)
def test_what_is_kept_at_the_boundaries(words, count):
    assert kept(**words) == set(ORDER[:count])


def test_a_tie_across_the_mass_keeps_the_lower_index():
    got = keep(logits([0.25, 0.25, 0.25, 0.25]), sampling(top_p=0.5))
    assert got[0].isfinite().tolist() == [True, True, False, False]


def test_the_temperature_comes_before_the_filters():
    # at temperature .5 the shares are squared: .25, .0625, ... of a sum of .3335: the first has .7497 of the mass
    tokens, values = pick(logits(rows=4000), sampling(temperature=0.5, top_p=0.74), places(4000, 0))
    assert set(tokens.tolist()) == {2} and values.abs().max() == 0.0
    tokens, _ = pick(logits(rows=4000), sampling(temperature=0.5, top_p=0.76), places(4000, 0))
    assert set(tokens.tolist()) == {2, 0}


@pytest.mark.parametrize("large", [False, True], ids=["one block", "blocks"])
@pytest.mark.parametrize(
    ("words", "expected"),
    rest_exhaustive(
        [
            ({}, dict(enumerate(SHARES))),
            ({"temperature": 0.5, "top_k": 3, "top_p": 0.9}, {2: 0.8, 0: 0.2}),
            ({"min_p": 0.25}, {2: 4 / 7, 0: 2 / 7, 3: 1 / 7}),
            ({"top_k": 2}, {2: 2 / 3, 0: 1 / 3}),
            ({"top_p": 0.76}, {2: 4 / 7, 0: 2 / 7, 3: 1 / 7}),
            ({"temperature": 2.0, "top_k": 2}, {2: math.sqrt(2) / (1 + math.sqrt(2)), 0: 1 / (1 + math.sqrt(2))}),
        ],
        3,
    ),
    ids=str,
)
@pytest.mark.slow
def test_frequencies_and_log_probabilities_are_of_what_was_kept(words, expected, large):
    rows, places = 20_000, {i: 700 * i + 3 if large else i for i in range(8)}  # 4,904 tokens of probability 0 between
    wide = torch.full((rows, 5000 if large else 8), -math.inf)
    wide[:, list(places.values())] = logits()
    tokens, values = pick(wide, sampling(**words), uniform(streams(7, 0, rows), 0))
    back = {place: i for i, place in places.items()}
    found = [back[t] for t in tokens.tolist()]
    assert set(found) <= set(expected)
    observed = [found.count(i) for i in expected]
    assert chisquare(observed, [rows * p for p in expected.values()]).pvalue > 1e-3
    assert values.tolist() == pytest.approx([math.log(expected[i]) for i in found], abs=1e-6)


def test_greedy_is_the_most_probable_token_with_its_log_probability_at_temperature_one():
    tokens, values = pick(logits(rows=3), sampling(temperature=0.0, top_k=2, top_p=0.1), None)
    assert tokens.tolist() == [2, 2, 2]
    assert values.tolist() == pytest.approx([math.log(0.5)] * 3, abs=1e-6)


def test_log_probabilities_at_a_real_vocabulary_are_those_of_float64():
    wide = torch.randn(16, 151_936, generator=torch.Generator().manual_seed(0)) * 3
    expected = wide.double().log_softmax(-1)
    tokens, values = pick(wide.clone(), sampling(), places(16, 1))
    assert (values - expected.gather(1, tokens[:, None])[:, 0]).abs().max() < 1e-6


def test_the_rows_worked_on_at_once_change_nothing(monkeypatch):
    wide = torch.randn(12, 2000, generator=torch.Generator().manual_seed(0))
    whole = pick(wide.clone(), sampling(top_p=0.9), places(12, 1))
    monkeypatch.setattr(drawing, "ELEMENTS", 5 * 2000 + 1)
    cut = pick(wide.clone(), sampling(top_p=0.9), places(12, 1))
    assert torch.equal(whole[0], cut[0]) and torch.equal(whole[1], cut[1])


# ---------------------------------------------------------------------- the draw itself

TOP = 1.0 - 2**-53  # the largest that torch.rand gives in float64


@given(
    st.lists(st.sampled_from([0.0, 1e-38, 1e-7, 0.3, 1.0, 7.0]), min_size=1, max_size=40).filter(any),
    st.one_of(st.sampled_from([0.0, TOP, 0.5]), st.floats(0.0, TOP)),
    st.integers(1, 200),
)
def test_a_weight_of_zero_is_never_drawn(weights, uniform, apart):
    """At the ends of [0, 1) too, with the weights spread over blocks."""
    wide = torch.zeros(1, len(weights) * apart)
    wide[0, ::apart] = torch.tensor(weights)
    index, total = draw(wide, torch.tensor([[uniform]], dtype=torch.float64))
    assert wide[0, index[0, 0]] > 0.0
    assert float(total) == pytest.approx(sum(weights), rel=1e-6)


@pytest.mark.parametrize("size", [BLOCK, BLOCK + 1, 3 * BLOCK - 1, 151_936])
def test_equal_weights_are_drawn_at_equal_steps(size):
    """Uniform number (i + 1/2) / V draws index i: no drift, though float32 sums of 152,000 shares would drift."""
    picks = torch.linspace(0, size - 1, 301).long()
    uniform = ((picks.double() + 0.5) / size)[:, None]
    index, _ = draw(torch.full((1, size), 0.1).expand(len(picks), size), uniform)
    assert torch.equal(index[:, 0], picks)


def test_uneven_weights_of_a_real_vocabulary_fall_where_float64_says():
    weights = torch.rand(1, 151_936, generator=torch.Generator().manual_seed(0)) ** 8
    sums = weights[0].double().cumsum(0)
    middle = (sums - weights[0].double() / 2)[::997, None] / sums[-1]  # in the middle of every 997th token
    index, _ = draw(weights.expand(len(middle), -1), middle)
    wide = weights[0, ::997] > 1e-4  # steps below float32's precision of a block's sum may fall beside
    assert torch.equal(index[wide, 0], torch.arange(0, 151_936, 997)[wide])
