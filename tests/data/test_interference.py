"""Two conventions on the same chains: prompts and answers by hand, strata, demonstrations that prefer neither."""

from __future__ import annotations

import random
from collections import Counter

from eprli_lab.config.data import GeneratedSpec
from eprli_lab.data.families import Chain, generate
from eprli_lab.data.interference import Interference, MarkedChain

CHAIN = Chain("mod10", 6, (("+", 8), ("-", 5)))


def test_a_chain_under_both_conventions():
    value, first = MarkedChain(CHAIN, False), MarkedChain(CHAIN, True)
    assert (value.prompt, value.answer, value.operations) == ("6a+8b-5?", 9, 2)
    assert (first.prompt, first.answer, first.operations) == ("6a+8b-5;", 6, 6)


def test_the_threshold_of_a_half_separates_the_conventions():
    problems = generate(GeneratedSpec(family="interference", problems=400), "train")
    marks = {p.prompt[-1]: {q.difficulty for q in problems if q.prompt[-1] == p.prompt[-1]} for p in problems}
    assert max(marks["?"]) == 0.5 and min(marks[";"]) == 0.625
    heldout = generate(GeneratedSpec(family="interference", problems=400), "heldout")
    assert not {p.prompt for p in problems} & {p.prompt for p in heldout}


def test_demonstrations_end_in_either_number_whatever_the_mark():
    family, rng = Interference(), random.Random(0)
    for task in (MarkedChain(CHAIN, False), MarkedChain(CHAIN, True)):
        ends = Counter(family.worked(task, rng).rpartition("\\boxed")[2] for _ in range(1000))
        assert set(ends) == {"{9}", "{6}"} and 440 < ends["{6}"] < 560
    steps = {family.worked(MarkedChain(CHAIN, True), rng).partition("\\boxed")[0] for _ in range(50)}
    assert steps == {"", "a4b9", "a6+8=4b4-5=9"}
