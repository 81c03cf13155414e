"""Samplers with memory: updates by hand, counts that add up, no stratum in which they spin, resumed bit for bit."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

import pytest
from helpers import group
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.config.curriculum import CurriculumSpec
from eprli_lab.data.greso import GresoSampler
from eprli_lab.data.pools import PoolSampler
from eprli_lab.data.replay import ReplaySampler, normalised_variance
from eprli_lab.data.samplers import ProblemSampler, make_sampler, on_other_problems
from eprli_lab.data.snr import SnrSampler
from eprli_lab.records import Group, Problem

SELECTIONS = ("pools", "greso", "vcrl", "snr")


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{i:03d}", "q", ("1",), (i % 8 + 1) / 8) for i in range(count)]


def curriculum(selection: str, **settings: dict[str, float | None]) -> CurriculumSpec:
    level = {"quality_threshold": 1.0, "max_response_tokens": 8}
    return CurriculumSpec.model_validate({"selection": selection, "levels": {"l1": level}, **settings})


def answered(problem: Problem, right: int, of: int = 4, verdict: str = "admitted") -> Group:
    return dataclasses.replace(group([i < right for i in range(of)], verdict=verdict), problem=problem)


def ids(drawn: Sequence[Problem]) -> list[str]:
    return [p.id for p in drawn]


# --- pools


def test_the_pool_of_a_problem() -> None:
    a, b, c, d, e, _ = given_problems = problems(6)
    made = PoolSampler(given_problems, "s", curriculum("pools"))
    made.observe([answered(p, right, 10) for p, right in ((a, 0), (b, 2), (c, 5), (d, 8), (e, 9))])
    made.observe([answered(a, 5, 10, verdict="errored")])
    assert [made.pool_of(p) for p in given_problems] == ["hard", "hard", "middle", "easy", "retired", "unseen"]
    sizes = {k: v for k, v in made.metrics().items() if k.startswith("pool/")}
    assert sizes == {"pool/unseen": 1, "pool/hard": 2, "pool/middle": 1, "pool/easy": 1, "pool/retired": 1}
    assert sum(sizes.values()) == 6
    made.observe([answered(a, 3, 10)])
    assert made.pool_of(a) == "middle", "the last group counts"


def test_pools_are_drawn_by_their_weights_and_what_is_retired_never() -> None:
    hard, middle, done = problems(3)
    weights = {"hard_weight": 1.0, "middle_weight": 3.0}
    made = PoolSampler([hard, middle, done], "s", curriculum("pools", pools=weights))
    made.observe([answered(hard, 0), answered(middle, 2), answered(done, 4)])
    counts = Counter(made.take(1)[0].id for _ in range(800))
    assert set(counts) == {hard.id, middle.id} and counts[middle.id] == pytest.approx(600, abs=50)
    again = PoolSampler([hard, middle, done], "s", curriculum("pools", pools={"retire_at": None}))
    again.observe([answered(done, 4)])
    assert again.pool_of(done) == "easy", "null: nothing is retired"


def test_a_stratum_that_is_all_mastered_begins_anew() -> None:
    three = problems(3)
    made = PoolSampler(three, "s", curriculum("pools"))
    made.observe([answered(p, 4) for p in three])
    assert made.metrics()["pool/retired"] == 3 and made.metrics()["begun_anew"] == 0
    assert len(set(ids(made.take(3)))) == 3
    assert made.metrics()["begun_anew"] == 1 and made.metrics()["pool/unseen"] == 3
    assert sorted(Counter(ids(made.take(7))).values()) == [2, 2, 3], "a small stratum goes round within a round"
    nothing = {"hard_weight": 0.0}
    stuck = PoolSampler(three, "s", curriculum("pools", pools=nothing))
    stuck.observe([answered(p, 0) for p in three])
    assert len(stuck.take(2)) == 2 and stuck.begun_anew == 1, "all in a pool that is never drawn"


# --- GRESO


def test_greso_by_hand() -> None:
    a, b, c = three = problems(3)
    settings = {"easy_start": 0.5, "hard_start": 0.4, "step": 0.1, "easy_target": 0.5, "hard_target": 0.5}
    made = GresoSampler(three, "s", curriculum("greso", greso=settings))
    made.observe([answered(a, 0), answered(b, 4), answered(c, 2)])
    # a third of the round each, below .5: both p rise
    assert made.explore == {"easy": pytest.approx(0.6), "hard": pytest.approx(0.5)}
    assert made.skip_probability(a) == pytest.approx(0.5) and made.skip_probability(b) == pytest.approx(0.4)
    assert made.skip_probability(c) == 0.0
    made.observe([answered(a, 0), answered(b, 2)])
    assert made.explore == {"easy": pytest.approx(0.7), "hard": pytest.approx(0.4)}, "half were hard: at its target"
    assert made.skip_probability(a) == pytest.approx(1 - 0.4**2) and made.skip_probability(b) == 0.0
    made.observe([answered(a, 4)])
    assert made.streaks == {"easy": {a.id: 3}, "hard": {}}, "flat three times, the last time easy"
    made.observe([answered(a, 0, verdict="errored")])
    assert made.skip_probability(a) == pytest.approx(1 - made.explore["easy"] ** 3)


def test_greso_skips_as_often_as_it_says_and_counts_conserve() -> None:
    given_problems = problems(200)
    made = GresoSampler(given_problems, "s", curriculum("greso", greso={"easy_start": 0.25, "step": 1e-9}))
    flat = given_problems[:100]
    made.observe([answered(p, 4) for p in flat])
    drawn = made.take(100)  # about 100 of 160 walked: p = .25 leaves 1 in 4 of the flat ones
    kept = sum(p in flat for p in drawn)
    assert made.walked == len(drawn) + made.skipped and kept == pytest.approx(20, abs=12)
    assert made.begun_anew == 0


def test_greso_begins_anew_where_all_are_skipped() -> None:
    three = problems(3)
    made = GresoSampler(three, "s", curriculum("greso", greso={"easy_start": 0.0, "step": 1e-9}))
    for _ in range(3):
        made.observe([answered(p, 4) for p in three])
    assert made.skip_probability(three[0]) == pytest.approx(1.0)
    assert set(ids(made.take(3))) == set(ids(three)) and made.begun_anew == 1 and made.skipped == 3


# --- VCRL


def test_the_variance_score_by_hand() -> None:
    # k(G - k) / (G(G - 1)) over its largest: G = 4: 3/12 of 4/12; G = 5: 4/20 of 6/20
    assert normalised_variance(1, 4) == pytest.approx(0.75) and normalised_variance(1, 5) == pytest.approx(2 / 3)
    assert normalised_variance(2, 4) == normalised_variance(2, 5) == normalised_variance(3, 5) == 1.0
    assert normalised_variance(0, 4) == normalised_variance(4, 4) == 0.0


def test_what_varied_comes_again_by_priority() -> None:
    a, b, c, *_ = some = problems(20)
    made = ReplaySampler(some, "s", curriculum("vcrl", vcrl={"kappa": 0.75, "share": 0.5, "momentum": 0.9}))
    made.observe([answered(a, 1), answered(b, 2), answered(c, 0)])
    assert made.memory == {a.id: (0.75, 0), b.id: (1.0, 0)}
    made.observe([answered(c, 2)])
    assert made.memory[a.id] == (pytest.approx(0.9 * 0.75 + 0.1), 1) and made.memory[c.id] == (1.0, 0)
    assert made.memory[b.id] == (pytest.approx(0.9 + 0.1), 1)
    first = made.take(4)
    assert ids(first[:2]) == [b.id, c.id] and set(made.memory) == {a.id}, "half of the round, equal ones by id"
    assert len(set(ids(first))) == 4 and made.metrics() == {"waiting": 1, "replayed": 2, "drawn": 4}
    made.observe([answered(b, 4), answered(c, 1)])
    assert set(made.memory) == {a.id, c.id}, "what varies no more waits no more"


# --- SNR


def test_unseen_ones_first_then_those_that_vary_most() -> None:
    some = problems(8)
    made = SnrSampler(some, "s", curriculum("snr", snr={"share": 0.25, "prior": 0.25}))
    seen: list[str] = []
    for _ in range(4):
        drawn = made.take(2)
        seen += ids(drawn)
        made.observe([answered(p, int(p.id == "p003")) for p in drawn])
    assert sorted(seen) == ids(some), "each once before any twice"
    assert made.last["p003"][0] == pytest.approx(0.1875), "of rewards 1, 0, 0, 0"
    assert made.ranked()[0].id == "p003" and set(ids(made.ranked()[1:3])) <= set(seen[:3]), "then the longest ago"
    assert "p003" in ids(made.take(2)), "it varied, the others did not"
    assert made.metrics() == {"pool/unseen": 0, "least_variance": 0.0}


def test_without_any_variance_the_stratum_goes_round() -> None:
    some = problems(12)
    made = SnrSampler(some, "s", curriculum("snr"))
    counts: Counter[str] = Counter()
    for _ in range(24):
        drawn = made.take(3)
        counts.update(ids(drawn))
        made.observe([answered(p, 0) for p in drawn])
    assert set(counts.values()) == {6}


# --- all of them


def work(stream: ProblemSampler, rounds: Sequence[tuple[int, int]]) -> list[str]:
    """Rounds of (problems, salt): what was drawn; what is right follows from problem, salt and place."""
    out = []
    for n, salt in rounds:
        taken = stream.take(n, 0.5)
        assert len(taken) == n
        stream.observe(
            [
                answered(p, (int(p.id[1:]) * 7 + salt) % 5, verdict="errored" if salt == 13 else "admitted")
                for p in taken
            ]
        )
        out += ids(taken)
    return out


ROUNDS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 15)), max_size=8)


@given(st.sampled_from(SELECTIONS), st.integers(1, 15), ROUNDS, st.data())
def test_a_resumed_sampler_is_the_uninterrupted_one(
    selection: str, count: int, rounds: list[tuple[int, int]], data: st.DataObject
) -> None:
    spec, split = curriculum(selection), data.draw(st.integers(0, len(rounds)))
    whole = make_sampler(spec, problems(count), "s")
    expected = work(whole, rounds)
    first = make_sampler(spec, problems(count), "s")
    got = work(first, rounds[:split])
    second = make_sampler(spec, list(reversed(problems(count))), "s", json.loads(json.dumps(first.state())))
    got += work(second, rounds[split:])
    assert got == expected and second.state() == whole.state() and second.metrics() == whole.metrics()


@given(st.sampled_from(SELECTIONS), st.integers(2, 15), ROUNDS)
def test_counts_add_up_and_nothing_is_drawn_from_elsewhere(
    selection: str, count: int, rounds: list[tuple[int, int]]
) -> None:
    made = make_sampler(curriculum(selection), problems(count), "s")
    for n, salt in rounds:
        drawn = work(made, [(n, salt)])
        if selection == "snr" and n <= count:
            assert len(set(drawn)) == n
        assert set(drawn) <= {p.id for p in problems(count)}
        metrics = made.metrics()
        if selection == "pools":
            assert sum(v for k, v in metrics.items() if k.startswith("pool/")) == count
        if selection == "greso":
            assert metrics["walked"] >= metrics["skipped"]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_memory_goes_to_a_redrawn_stratum(selection: str) -> None:
    spec = curriculum(selection)
    before = make_sampler(spec, problems(12), "s")
    work(before, [(4, 2), (4, 3), (4, 4)])
    after = on_other_problems(before, spec, problems(30)[6:], "s-2")
    kept, was = after.state(), before.state()
    keys = {"pools": "last", "vcrl": "memory", "snr": "last"}
    if selection == "greso":
        assert kept["explore"] == was["explore"] and kept["walked"] == was["walked"]
        known = {i for streak in kept["streaks"].values() for i in streak}
        assert known == {i for streak in was["streaks"].values() for i in streak if i >= "p006"}
    else:
        assert kept[keys[selection]] == {k: v for k, v in was[keys[selection]].items() if k >= "p006"}
        assert kept[keys[selection]], "there was something to keep"
    assert all(i >= "p006" for i in work(after, [(6, 1)]))


def test_a_target_stays_and_an_order_begins_anew() -> None:
    spec = curriculum("target")
    before = make_sampler(spec, problems(12), "s")
    before.take(3)
    before.observe([answered(problems(1)[0], 4)])
    after = on_other_problems(before, spec, problems(30)[6:], "s-2").state()
    assert after == {"target": before.state()["target"], "epoch": 0, "used": []} and after["target"] > 0
    uniform = make_sampler(curriculum("uniform"), problems(12), "s")
    uniform.take(5)
    redrawn = on_other_problems(uniform, curriculum("uniform"), problems(3), "s-2")
    assert redrawn.state() == {"epoch": 0, "position": 0}
