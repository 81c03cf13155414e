"""h(f) and ceil(h n), by hand at their boundaries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm.hints import hint_share, hinted_steps, with_hint
from eprli_lab.config.curriculum import HintSpec
from eprli_lab.records import Problem


@pytest.mark.parametrize(
    ("share", "steps", "given_steps"),
    [
        (0.0, 5, 0), (0.5, 4, 2), (0.5, 5, 3), (1.0, 5, 5), (0.01, 5, 1), (0.01, 1, 1), (1.0, 1, 1), (0.5, 0, 0),
        (0.55, 20, 11),  # 0.55 * 20 is 11.000000000000002
        (0.1 + 0.2, 10, 3), (0.7, 10, 7), (0.35, 6, 3),
    ],
)  # fmt: skip
def test_steps_are_rounded_up(share: float, steps: int, given_steps: int) -> None:
    assert hinted_steps(share, steps) == given_steps


@pytest.mark.parametrize(
    ("fraction", "until", "spent", "share"),
    [
        (0.9, 0.8, 0.0, 0.9), (0.9, 0.8, 0.2, 0.675), (0.9, 0.8, 0.4, 0.45), (0.9, 0.8, 0.8, 0.0), (0.9, 0.8, 1.0, 0.0),
        (1.0, 1.0, 0.75, 0.25), (1.0, 1.0, 1.0, 0.0),
    ],
)  # fmt: skip
def test_a_linear_fade(fraction: float, until: float, spent: float, share: float) -> None:
    assert hint_share(HintSpec(fraction=fraction, fade="linear", fade_until=until), spent) == pytest.approx(share)
    assert hint_share(HintSpec(fraction=fraction, fade_until=until), spent) == fraction, "without one it stays"


@given(st.floats(0, 1), st.integers(1, 64), st.floats(0, 1))
def test_a_hint_is_the_beginning_of_the_solution_and_never_grows(fraction: float, n: int, spent: float) -> None:
    problem = Problem("p", "q", ("1",), steps=tuple(f"<{i}>" for i in range(n)))
    fading = HintSpec(fraction=fraction, fade="linear")
    before, now = (hinted_steps(hint_share(fading, f), n) for f in (0.0, spent))
    assert 0 <= now <= before <= n and before < fraction * n + 1
    assert with_hint(problem, before).hint.startswith(with_hint(problem, now).hint)
    assert with_hint(problem, 0) is problem
