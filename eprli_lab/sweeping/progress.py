"""What a person sees while a sweep runs: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from eprli_lab.escaping import shown
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.spec import PlannedRun


def clock(seconds: float) -> str:
    """`1:23` or `1:02:03`"""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


class Progress:
    """One line a finished run; in a terminal also a bar for the sweep and one for each run that is under way."""

    def __init__(self, plan: Plan, total: int, done: int, live: bool | None = None) -> None:
        self.total = total
        self.done = done
        self.at_start = done
        self.began = time.monotonic()
        self.share = 1 / plan.strategy.runs_a_trial  # of a trial that one run is
        self.width = max((len(r.arm) for r in plan.runs), default=5)
        self.bars: Any = None
        self.tasks: dict[tuple[str, int], Any] = {}
        self.fractions: dict[tuple[str, int], float] = {}  # of the runs under way
        if sys.stdout.isatty() if live is None else live:
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            note = TextColumn("{task.fields[note]}")
            self.bars = Bars(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), note, transient=True)
            self.whole = self.bars.add_task(
                f"study {plan.study}", total=self.total, completed=done, note=f"{done} of {self.total}"
            )
            self.bars.start()

    def say(self, line: str) -> None:
        """A line of its own."""
        if self.bars is not None:
            self.bars.console.print(shown(line), highlight=False, markup=False)
        else:
            print(shown(line), flush=True)

    def update(self, run: PlannedRun, state: dict[str, Any]) -> None:
        """A run under way."""
        self.fractions[run.key] = state["fraction"] * self.share
        if self.bars is None:
            return
        if run.key not in self.tasks:
            self.tasks[run.key] = self.bars.add_task(f"  {run.arm} seed {run.seed}", total=1.0, note="")
        percent = f"{100 * state['fraction']:.0f}%"
        self.bars.update(self.tasks[run.key], completed=state["fraction"], note=percent)
        self._whole()

    def finished(self, done: int, run: PlannedRun, seconds: float, outcome: str, counted: bool = True) -> None:
        """A run that ended well. `done`: trials finished by now, by whomever; `counted`: this run ended its trial."""
        self.done = done
        self._forget(run)
        count = f"{done:>{len(str(self.total))}}/{self.total}"
        left = f"   about {clock(self._left())} left" if counted and done < self.total else ""
        self.say(
            f"[{count if counted else ' ' * len(count)}] {run.arm:<{self.width}} seed {run.seed:<3} "
            f"{outcome}  {seconds:5.1f} s{left}"
        )
        if self.bars is not None:
            self._whole()

    def trouble(self, run: PlannedRun, sentence: str) -> None:
        """A run that failed or was stopped."""
        self._forget(run)
        self.say(f"{run.arm} seed {run.seed}: {sentence}")

    def close(self) -> None:
        """Take the display down."""
        if self.bars is not None:
            self.bars.stop()

    def _left(self) -> float:
        """Seconds to the end, if the rest is as fast as what was done since the start."""
        worked = self.done - self.at_start + sum(self.fractions.values())
        return (time.monotonic() - self.began) / worked * (self.total - self.at_start - worked) if worked else 0.0

    def _whole(self) -> None:
        note = f"{self.done} of {self.total}, about {clock(self._left())} left"
        self.bars.update(self.whole, completed=self.done + sum(self.fractions.values()), note=note)

    def _forget(self, run: PlannedRun) -> None:
        self.fractions.pop(run.key, None)
        if self.bars is not None and run.key in self.tasks:
            self.bars.remove_task(self.tasks.pop(run.key))
