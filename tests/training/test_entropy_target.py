"""A coefficient that follows the entropy: its steps, its run, its resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import ScriptedBackend, small_spec
from loops import TINY, run, small_levels, tables, trainer

from eprli_lab.algorithm.entropy_control import next_coefficient
from eprli_lab.errors import Interrupted

COEFFICIENT = "policy/l1/entropy_coef"


def test_steps_by_hand():
    assert next_coefficient(0.01, 0.2, 0.3, 0.005) == 0.015
    assert next_coefficient(0.01, 0.4, 0.3, 0.005) == 0.005
    assert next_coefficient(0.003, 0.4, 0.3, 0.005) == 0.0, "never below zero"
    assert next_coefficient(0.01, 0.3, 0.3, 0.005) == 0.01, "at the target it stays"


def spec_of(*overrides: str):
    return small_spec(*TINY, *small_levels(1), "budget.amount=1500", "checkpoint.every_updates=2", *overrides)


def coefficients(log: dict[tuple[int, str], float]) -> list[float]:
    return [value for (_, name), value in sorted(log.items()) if name == COEFFICIENT]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "sign"), [(0.3, 1), (0.1, -1)])
def test_a_run_steps_up_below_its_target_and_down_above_it(target: float, sign: int, tmp_path: Path):
    """The scripted engine's entropy is always .2."""
    spec = spec_of("algorithm.entropy_coef=0.02", f"algorithm.entropy_target={target}", "algorithm.entropy_step=0.01")
    backend = ScriptedBackend()
    found = coefficients(run(spec, tmp_path, backend))
    assert len(found) > 4 and found == [s.entropy_coef for _, s in backend.batches]
    expected = [0.02]
    for _ in found[1:]:
        expected.append(expected[-1] + 0.01 if sign > 0 else max(0.0, expected[-1] - 0.01))
    assert found == expected


@pytest.mark.slow
def test_a_fixed_coefficient_stays_and_none_is_not_logged(tmp_path: Path):
    assert set(coefficients(run(spec_of("algorithm.entropy_coef=0.02"), tmp_path / "a", ScriptedBackend()))) == {0.02}
    log = run(spec_of(), tmp_path / "b", ScriptedBackend())
    assert coefficients(log) == []
    state = json.loads(next((tmp_path / "b").glob("checkpoint-*/state.json")).read_text())
    assert "entropy_coef" not in state


@pytest.mark.slow
def test_killed_and_resumed_it_equals_the_uninterrupted_run(tmp_path: Path):
    spec = spec_of("algorithm.entropy_target=0.3")
    whole, first = run(spec, tmp_path / "whole", ScriptedBackend()), {}
    made, steps = trainer(spec, tmp_path / "cut", ScriptedBackend()), []
    made.log = lambda values, step: (first.update({(step, k): v for k, v in values.items()}), steps.append(step))
    made.stop = lambda: bool(steps and max(steps) >= 3)
    with pytest.raises(Interrupted):
        made.run()
    second = run(spec, tmp_path / "cut", ScriptedBackend())
    assert coefficients(second)[0] > 0.0, "it goes on from where it was"
    assert coefficients(first) + coefficients(second) == coefficients(whole)
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
