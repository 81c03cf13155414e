"""What a sweep's workers did with their time, against sums made by hand."""

from __future__ import annotations

import pytest

from eprli_lab.sweeping.occupancy import Occupancy, Record, Stretch, occupancy


def test_two_workers_by_hand() -> None:
    """Worker x: idle 1, run 1-5 (3 inside), idle 2 of which 1.5 nothing to claim, run 7-9 (2 inside), idle to 12."""
    stretches = [
        Stretch("x", 1.0, 5.0, inside=3.0),
        Stretch("y", 2.0, 11.0, inside=10.0),  # a clock that runs fast: never more than the stretch
        Stretch("x", 7.0, 9.0, inside=2.0, waited=1.5),
    ]
    result = occupancy(stretches, workers=3, began=0.0, ended=12.0)
    assert result == Occupancy(
        workers=3, wall=12.0, inside=14.0, around=1.0, first=3.0, between=0.5, waiting=1.5, end=3.0 + 1.0 + 12.0
    )
    parts = (result.inside, result.around, result.first, result.between, result.waiting, result.end)
    assert sum(parts) == 3 * 12.0 and result.share == pytest.approx(15 / 36)
    assert result.line() == (
        "3 workers, 12.0 s: 39% training and evaluating, 3% starting and closing runs; idle: 3.0 s at the start, 0.5 s "
        "between runs, 1.5 s waiting for others, 16.0 s at the end"
    )


def test_a_sweep_without_runs_has_no_share() -> None:
    assert occupancy([], workers=1, began=5.0, ended=5.0).share == 0.0


def test_a_record_gives_a_dead_workers_place_to_the_next_and_knows_when_there_was_nothing_to_claim() -> None:
    now = 100.0
    record = Record(2, clock=lambda: now)
    record.begin("first")
    now = 101.0
    record.nothing_to_claim()
    now = 104.0
    record.nothing_to_claim()  # still: since 101
    now = 105.0
    record.begin("second")
    now = 110.0
    record.end("first", inside=6.0)
    now = 111.0
    record.begin("third")  # in the place of the first
    now = 113.0
    record.end("third", inside=1.0)
    record.end("second", inside=8.0)
    now = 114.0
    assert record.stretches == [
        Stretch(0, 100.0, 110.0, 6.0, 0.0),
        Stretch(0, 111.0, 113.0, 1.0, 0.0),
        Stretch(1, 105.0, 113.0, 8.0, 4.0),
    ]
    assert record.occupancy() == Occupancy(
        workers=2, wall=14.0, inside=15.0, around=5.0, first=1.0, between=1.0, waiting=4.0, end=2.0
    )
