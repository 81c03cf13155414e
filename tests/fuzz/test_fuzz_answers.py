"""Random and hostile answers: a grade each, in bounded time, and never right where the values differ."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from answers import HOSTILE, response, text, unequal
from hypothesis import given
from hypothesis import strategies as st
from outcome import examples

from eprli_lab.config.spec import VerifySpec
from eprli_lab.grading.answers import exact, is_missing, normalise
from eprli_lab.grading.formats import mismatch
from eprli_lab.grading.grader import Grader

LIMIT = 1.0  # s, of one answer in a worker


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(VerifySpec(timeout_seconds=LIMIT)) as grader:
        yield grader


@pytest.mark.slow
@examples(8, share=0.1)
@given(st.lists(st.tuples(response(), text().map(lambda t: (t,))), min_size=1, max_size=8))
def test_every_response_gets_a_grade_in_time(grader: Grader, pairs: list[tuple[str, tuple[str, ...]]]) -> None:
    began = time.monotonic()
    grades = grader.grade(pairs)
    assert len(grades) == len(pairs)
    assert time.monotonic() - began < 60 + 5 * LIMIT * len(pairs)  # a hang, not a measurement


@pytest.mark.slow
@examples(10, share=0.2)
@given(st.lists(unequal(), min_size=10, max_size=40))
def test_other_values_are_wrong(grader: Grader, pairs: list[tuple[str, str]]) -> None:
    grades = grader.grade([(rf"\boxed{{{answer}}}", (gold,)) for gold, answer in pairs])
    assert [p for p, g in zip(pairs, grades, strict=True) if g.correct] == []


@examples(150)
@given(text(), text())
def test_what_needs_no_worker(answer: str, gold: str) -> None:
    verdict = exact(answer, (gold,))
    assert verdict in (True, False, None)
    if is_missing(gold):
        assert not verdict
    normalise(answer)
    mismatch([answer] * 3, "boxed")


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_answer_equals_no_other_number(number: int) -> None:
    assert not exact(HOSTILE[number], ("12345",))
    assert not exact("12345", (HOSTILE[number],))
