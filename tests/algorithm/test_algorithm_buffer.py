"""The buffer's books, and the schedule."""

from __future__ import annotations

import pytest
from helpers import group
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.algorithm import schedule
from eprli_lab.algorithm.buffer import Buffer, conserved, starvation_advice
from eprli_lab.algorithm.progress import LevelProgress, Progress
from eprli_lab.config.curriculum import AdmissionSpec, CurriculumSpec
from eprli_lab.config.spec import OptimSpec
from eprli_lab.records import VERDICTS


def admitted(version: int = 0):
    return group([True, False], version=version)


def test_below_n_there_is_no_update():
    buffer = Buffer(AdmissionSpec(), 3)
    buffer.add_round([admitted(), admitted()])
    assert not buffer.full
    with pytest.raises(ValueError, match="holds 2 groups, 3 are needed"):
        buffer.take()


@pytest.mark.parametrize(
    ("surplus", "taken", "kept", "counted"), [("carry", 3, 2, 2), ("drop", 3, 0, 2), ("train", 5, 0, 0)]
)
def test_surplus(surplus, taken, kept, counted):
    buffer = Buffer(AdmissionSpec(surplus=surplus), 3)
    buffer.add_round([admitted() for _ in range(5)])
    assert len(buffer.take()) == taken
    assert len(buffer.groups) == kept
    assert buffer.tally.overflow == counted


def test_oldest_groups_are_taken_first():
    buffer = Buffer(AdmissionSpec(), 2)
    old, new = admitted(0), admitted(3)
    buffer.add_round([old, new, admitted(3)])
    assert buffer.take()[0] is old


def test_staleness_is_counted_in_updates_and_limited():
    buffer = Buffer(AdmissionSpec(max_staleness=2), 9)
    buffer.add_round([admitted(0), admitted(1), admitted(3)])
    buffer.expire(2)  # ages 2, 1: on the limit is kept
    assert len(buffer.groups) == 3
    buffer.expire(3)
    assert [g.version for g in buffer.groups] == [1, 3]
    assert buffer.tally.stale_dropped == 1


@given(st.lists(st.lists(st.sampled_from(VERDICTS), max_size=8), max_size=8), st.integers(1, 4))
def test_generated_is_the_sum_of_the_verdicts_always(rounds, size):
    buffer = Buffer(AdmissionSpec(), size)
    for verdicts in rounds:
        buffer.add_round([group([True, False], verdict=v) for v in verdicts])
        assert conserved(buffer.tally)
        assert len(buffer.groups) == buffer.tally.verdicts["admitted"]
    tally = buffer.pop_tally()
    assert tally.generated == sum(map(len, rounds))
    assert tally.rounds == len(rounds)
    assert tally.tokens == 10 * tally.generated
    assert buffer.pop_tally().generated == 0


def test_starvation_names_the_threshold_to_change():
    buffer = Buffer(AdmissionSpec(), 6)
    buffer.add_round([group([False, False], verdict="too_hard") for _ in range(4)])
    sentence = starvation_advice("l2", AdmissionSpec(), buffer.tally.verdicts, 1)
    assert "l2 starved" in sentence
    assert "lower curriculum.levels.l2.admission.accuracy_min (now 0.125)" in sentence


def curriculum(kind: str = "sequential", weights=(1.0, 1.0, 2.0)) -> CurriculumSpec:
    levels = {
        f"l{i + 1}": {"quality_threshold": (i + 1) / 3, "max_response_tokens": 8, "budget_weight": w}
        for i, w in enumerate(weights)
    }
    levels["l3"]["quality_threshold"] = 1.0
    return CurriculumSpec.model_validate({"schedule": kind, "levels": levels})


def fresh() -> dict[str, LevelProgress]:
    return {f"l{i}": LevelProgress() for i in (1, 2, 3)}


def next_level(spec: CurriculumSpec, amount: float, spent: float, levels, *, step: int, seed: int) -> str | None:
    made = schedule.make_schedule(spec, amount, seed)
    return schedule.next_level(made, Progress(steps=step, levels=levels), spent)


@pytest.mark.parametrize(
    ("spent", "name"), [(0, "l1"), (24, "l1"), (25, "l2"), (49, "l2"), (50, "l3"), (99, "l3"), (100, None)]
)
def test_sequential_levels_get_their_shares(spent, name):
    # weights 1 1 2 of 100: ends at 25, 50, 100
    assert next_level(curriculum(), 100, spent, fresh(), step=0, seed=0) == name


@pytest.mark.parametrize(
    ("spent", "name"), [(0, "l3"), (49, "l3"), (50, "l2"), (74, "l2"), (75, "l1"), (99, "l1"), (100, None)]
)
def test_hard_first_visits_the_levels_backwards(spent, name):
    # weights 1 1 2 of 100, l3 first: ends at 50, 75, 100
    hard_first = curriculum().model_copy(update={"order": "descending"})
    assert next_level(hard_first, 100, spent, fresh(), step=0, seed=0) == name
    assert [schedule.level_end(hard_first, n, 100) for n in ("l3", "l2", "l1")] == [50, 75, 100]
    adaptive = curriculum("adaptive").model_copy(update={"order": "descending"})
    levels = fresh()
    levels["l3"] = LevelProgress(updates=4, accuracy=0.8)
    assert next_level(adaptive, 100, 5, levels, step=0, seed=0) == "l2"


def test_a_starved_level_leaves_its_share_to_the_next():
    levels = fresh()
    levels["l1"].ended = "starved"
    assert next_level(curriculum(), 100, 3, levels, step=0, seed=0) == "l2"
    for level in levels.values():
        level.ended = "starved"
    assert next_level(curriculum(), 100, 3, levels, step=0, seed=0) is None


def test_adaptive_promotes_exactly_at_the_bar():
    levels = fresh()
    levels["l1"] = LevelProgress(updates=4, accuracy=0.8)
    assert next_level(curriculum("adaptive"), 100, 5, levels, step=0, seed=0) == "l2"
    levels["l1"] = LevelProgress(updates=4, accuracy=0.7999)
    assert next_level(curriculum("adaptive"), 100, 5, levels, step=0, seed=0) == "l1"
    levels["l1"] = LevelProgress(updates=3, accuracy=1.0)
    assert next_level(curriculum("adaptive"), 100, 5, levels, step=0, seed=0) == "l1"


def test_mixed_draws_levels_by_weight_and_by_step():
    drawn = [next_level(curriculum("mixed"), 100, 1, fresh(), step=s, seed=7) for s in range(4000)]
    assert drawn == [next_level(curriculum("mixed"), 100, 1, fresh(), step=s, seed=7) for s in range(4000)]
    assert drawn.count("l3") / 4000 == pytest.approx(0.5, abs=0.03)
    assert drawn.count("l1") / 4000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("left", "mean", "count"),
    [
        (5000, None, 5),
        (9000, None, 8),
        (200, None, 1),
        (1000, 100.0, 8),
        (300, 100.0, 3),
        (49, 100.0, 0),
        (51, 100.0, 1),
    ],
)
def test_last_round_is_cut_to_the_budget(left, mean, count):
    assert schedule.affordable_problems(left, mean, 1000, 8) == count


def test_learning_rate_never_starts_at_zero_and_spans_the_levels():
    warm = OptimSpec(learning_rate=1e-3, warmup_updates=3)
    assert [schedule.learning_rate(warm, 0.0, u) for u in range(4)] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])
    down = OptimSpec(learning_rate=1e-3, schedule="linear")
    assert [schedule.learning_rate(down, f, 9) for f in (0.0, 0.5, 1.0, 1.5)] == pytest.approx(
        [1e-3, 5.5e-4, 1e-4, 1e-4]
    )


def test_moving_accuracy_starts_at_its_first_value():
    progress = LevelProgress()
    progress.observe([], 0.8)
    assert progress.accuracy is None
    progress.observe([0.5, 0.7], 0.8)
    progress.observe([1.0], 0.8)
    assert progress.accuracy == pytest.approx(0.8 * 0.6 + 0.2 * 1.0)
