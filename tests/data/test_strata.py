"""D_l and the stream of problems through it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.config.curriculum import CurriculumSpec, LevelSpec
from eprli_lab.data.samplers import UniformSampler
from eprli_lab.data.strata import shuffle_labels, stratify
from eprli_lab.errors import UserError
from eprli_lab.records import Problem


def problems(*difficulties):
    return [Problem(f"p{i:03d}", "q", ("1",), d) for i, d in enumerate(difficulties)]


def curriculum(*thresholds: float, strata: str = "band") -> CurriculumSpec:
    levels = {f"l{i}": LevelSpec(quality_threshold=q, max_response_tokens=8) for i, q in enumerate(thresholds, 1)}
    return CurriculumSpec(levels=levels, strata=strata)


def ids(strata):
    return {name: [p.id for p in chosen] for name, chosen in strata.levels.items()}


def test_thresholds_are_closed_above_and_open_below():
    strata = stratify(problems(0.0, 0.25, 0.250000001, 0.5, 0.6, 0.75, 1.0), curriculum(0.25, 0.5, 0.75))
    assert ids(strata) == {"l1": ["p000", "p001"], "l2": ["p002", "p003"], "l3": ["p004", "p005"]}
    assert strata.left_out == 1


def test_the_first_level_takes_difficulty_zero_and_below():
    strata = stratify(problems(0.0, -0.0), curriculum(1.0))
    assert ids(strata) == {"l1": ["p000", "p001"]} and strata.left_out == 0


def test_an_empty_stratum_is_named():
    with pytest.raises(UserError) as caught:
        stratify(problems(0.1, 0.2, 0.9, 0.95), curriculum(0.3, 0.6, 0.8))
    said = str(caught.value)
    assert said.startswith("curriculum.levels.l2.quality_threshold: the stratum of l2 is empty: none of 4 problems has")
    assert "in (0.3, 0.6]" in said and "0.1 to 0.95" in said and "2 dropped above the last threshold" in said
    with pytest.raises(UserError, match=r"l1 is empty: none of 1 problems has a difficulty <= 0\.3 "):
        stratify(problems(0.5), curriculum(0.3))
    with pytest.raises(UserError, match="l1 is empty: none of 0 problems"):
        stratify([], curriculum(0.3))


def test_problems_without_difficulty_are_refused():
    with pytest.raises(UserError, match=r"2 of 3 problems have no difficulty, p001 for one: .*eprli-lab difficulty"):
        stratify(problems(0.1, None, None), curriculum(1.0))


EIGHTHS = st.integers(0, 8).map(lambda n: n / 8)
THRESHOLDS = st.lists(st.integers(1, 8).map(lambda n: n / 8), min_size=1, max_size=4, unique=True).map(sorted)


@given(st.lists(st.one_of(EIGHTHS, st.floats(0, 1)), max_size=40), THRESHOLDS)
def test_strata_and_what_is_left_out_are_everything(difficulties, thresholds):
    given_problems = problems(*difficulties)
    try:
        strata = stratify(given_problems, curriculum(*thresholds))
    except UserError:
        below = [float("-inf"), *thresholds]
        counts = [sum(a < d <= b for d in difficulties) for a, b in zip(below, thresholds, strict=False)]
        assert 0 in counts
        return
    seen = [p.id for chosen in strata.levels.values() for p in chosen]
    assert len(seen) == len(set(seen))
    assert len(seen) + strata.left_out == len(given_problems)
    assert strata.left_out == sum(d > thresholds[-1] for d in difficulties)
    tops = [max(p.difficulty for p in chosen) for chosen in strata.levels.values()]
    assert all(t <= q for t, q in zip(tops, thresholds, strict=True))


def test_strata_may_overlap():
    difficulties = (0.1, 0.25, 0.3, 0.5, 0.9)
    cumulative = stratify(problems(*difficulties), curriculum(0.25, 0.5, strata="cumulative"))
    assert ids(cumulative) == {"l1": ["p000", "p001"], "l2": ["p000", "p001", "p002", "p003"]}
    everything = stratify(problems(*difficulties), curriculum(0.25, 0.5, strata="all"))
    assert ids(everything) == {"l1": ["p000", "p001", "p002", "p003"], "l2": ["p000", "p001", "p002", "p003"]}
    assert cumulative.left_out == everything.left_out == 1
    with pytest.raises(UserError, match=r"l1 is empty: none of 1 problems has a difficulty <= 0\.25 "):
        stratify(problems(0.4), curriculum(0.25, 0.5, strata="cumulative"))


# --- noisy labels


def test_a_share_of_the_labels_is_shuffled():
    true = problems(*[i / 100 for i in range(100)])
    assert shuffle_labels(true, 0.0, 0) == true
    noisy = shuffle_labels(true, 0.3, 0)
    assert [p.id for p in noisy] == [p.id for p in true], "order and problems stay"
    moved = sum(a.difficulty != b.difficulty for a, b in zip(true, noisy, strict=True))
    assert 25 <= moved <= 30, "30 are shuffled, one in 30 stays where it was"
    assert sorted(p.difficulty for p in noisy) == [p.difficulty for p in true]
    assert shuffle_labels(list(reversed(true)), 0.3, 0) == list(reversed(noisy)), (
        "the order of the file does not matter"
    )
    assert shuffle_labels(true, 0.3, 1) != noisy, "each seed shuffles others"
    every = shuffle_labels(true, 1.0, 0)
    assert sum(a.difficulty != b.difficulty for a, b in zip(true, every, strict=True)) > 95


@given(st.lists(EIGHTHS, max_size=30), st.floats(0, 1), st.integers(0, 5))
def test_shuffling_keeps_the_distribution(difficulties, share, seed):
    noisy = shuffle_labels(problems(*difficulties), share, seed)
    assert sorted(p.difficulty for p in noisy) == sorted(difficulties)


# --- the stream


@given(st.integers(1, 12), st.lists(st.integers(0, 20), max_size=8), st.data())
def test_a_resumed_stream_is_the_uninterrupted_one(n, takes, data):
    given_problems = problems(*[0.5] * n)
    whole = UniformSampler(given_problems, "7-l1")
    expected = [p.id for t in takes for p in whole.take(t)]
    split = data.draw(st.integers(0, len(takes)))
    first = UniformSampler(given_problems, "7-l1")
    got = [p.id for t in takes[:split] for p in first.take(t)]
    state = json.loads(json.dumps(first.state()))
    resumed = UniformSampler(
        list(reversed(given_problems)), "7-l1", state=state
    )  # the order of the file does not matter
    got += [p.id for t in takes[split:] for p in resumed.take(t)]
    assert got == expected
    assert resumed.state() == whole.state()


@given(st.integers(1, 15), st.integers(1, 4))
def test_each_epoch_is_a_permutation(n, epochs):
    given_problems = problems(*[0.5] * n)
    taken = [p.id for p in UniformSampler(given_problems, "s").take(n * epochs)]
    for e in range(epochs):
        assert sorted(taken[e * n : (e + 1) * n]) == sorted(p.id for p in given_problems)


def test_epochs_and_seeds_are_shuffled_anew():
    given_problems = problems(*[0.5] * 50)
    stream = UniformSampler(given_problems, "a")
    one, two = stream.take(50), stream.take(50)
    assert one != two and one != sorted(one, key=lambda p: p.id)
    assert UniformSampler(given_problems, "b").take(50) != one
    assert UniformSampler(given_problems, "a").take(50) == one
    assert stream.state() == {"epoch": 1, "position": 50}
    assert UniformSampler(given_problems, "a").take(0) == []
