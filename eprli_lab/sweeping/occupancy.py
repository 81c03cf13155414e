"""What a sweep's workers did with their time: in their runs' loops, around them, and idle, by the reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Stretch(NamedTuple):
    """One run on one worker; times are seconds by one clock."""

    worker: Hashable
    began: float
    ended: float
    inside: float = 0.0  # s of it within the run's loop: training and evaluation, also before a resume
    waited: float = 0.0  # s of the gap before it in which there was nothing to claim


@dataclass(frozen=True)
class Occupancy:
    """Seconds of all workers together, which add up to `workers` times `wall`."""

    workers: int
    wall: float
    inside: float  # in the loops of runs: training and evaluation
    around: float  # starting runs (imports, policy, data, store) and closing them
    first: float  # idle before the first run
    between: float  # idle between two runs: results are booked, the next run is claimed
    waiting: float  # idle while there was nothing to claim: for another arm's run, for other processes
    end: float  # idle after the last run

    @property
    def share(self) -> float:
        """Fraction of the workers' time in which they had a run."""
        return (self.inside + self.around) / (self.workers * self.wall) if self.wall > 0 else 0.0

    def line(self) -> str:
        """For the end of a sweep."""
        total = self.workers * self.wall or 1.0
        name = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return (
            f"{name}, {self.wall:.1f} s: {100 * self.inside / total:.0f}% training and evaluating, "
            f"{100 * self.around / total:.0f}% starting and closing runs; idle: {self.first:.1f} s at the start, "
            f"{self.between:.1f} s between runs, {self.waiting:.1f} s waiting for others, {self.end:.1f} s at the end"
        )


def occupancy(stretches: Sequence[Stretch], workers: int, began: float, ended: float) -> Occupancy:
    """Of the runs of a sweep that lasted from `began` to `ended`. A worker without any run was idle at the end."""
    inside = around = first = between = waiting = end = 0.0
    by_worker: dict[Hashable, list[Stretch]] = {}
    for stretch in sorted(stretches, key=lambda s: s.began):
        by_worker.setdefault(stretch.worker, []).append(stretch)
    for of_worker in by_worker.values():
        free_since = began
        for stretch in of_worker:
            gap = max(0.0, stretch.began - free_since)
            waited = min(gap, stretch.waited)
            waiting += waited
            if stretch is of_worker[0]:
                first += gap - waited
            else:
                between += gap - waited
            seconds = stretch.ended - stretch.began
            inside += min(stretch.inside, seconds)
            around += seconds - min(stretch.inside, seconds)
            free_since = stretch.ended
        end += max(0.0, ended - free_since)
    end += (workers - len(by_worker)) * (ended - began)
    return Occupancy(workers, ended - began, inside, around, first, between, waiting, end)


@dataclass
class Record:
    """Keeps a sweep's stretches while it runs. A worker that died leaves its place to the next one."""

    workers: int
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    stretches: list[Stretch] = field(default_factory=list)
    _under_way: dict[Hashable, tuple[int, float, float]] = field(default_factory=dict)  # place, began, waited
    _empty_since: float | None = None  # since when somebody is idle because there is nothing to claim

    def __post_init__(self) -> None:
        self.began = self.clock()

    def nothing_to_claim(self) -> None:
        """There is an idle worker and nothing for it."""
        if self._empty_since is None:
            self._empty_since = self.clock()

    def begin(self, worker: Hashable) -> None:
        """The worker got a run."""
        now = self.clock()
        taken = {place for place, _, _ in self._under_way.values()}
        place = next(i for i in range(self.workers + 1) if i not in taken)
        self._under_way[worker] = (place, now, 0.0 if self._empty_since is None else now - self._empty_since)
        if len(self._under_way) >= self.workers:
            self._empty_since = None

    def end(self, worker: Hashable, inside: float = 0.0) -> None:
        """Its run is over, whatever became of it. `inside`: s in the run's loop, where it said so."""
        place, began, waited = self._under_way.pop(worker)
        self.stretches.append(Stretch(place, began, self.clock(), inside, waited))

    def occupancy(self) -> Occupancy:
        """Until now, of the runs that are over."""
        return occupancy(self.stretches, self.workers, self.began, self.clock())
