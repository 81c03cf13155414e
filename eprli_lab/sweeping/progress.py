"""What a person sees while a sweep or a run is under way: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any

from eprli_lab.escaping import shown
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.spec import PlannedRun

BAR = 20  # columns of a bar
SHORT_BAR = 12  # in a terminal that has fewer than WIDE columns
WIDE = 100
NAME = 48  # most columns of an arm's name
NOTE = 24  # columns of what stands behind a bar, and of the time before it: 7
OF_A_LINE = 42  # columns of what stands beside the arm in the line of a finished run
A_SECOND = 4  # refreshes
LEAST_WORK = 0.5  # runs after whose work the bar says how much time is left: before, it is mostly imports


def clock(seconds: float) -> str:
    """`1:23` or `1:02:03`"""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def is_live() -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def cut(text: str, width: int) -> str:
    """The text in at most so many columns: of a longer one the middle goes."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def bars(names: int) -> Any:
    """rich's display of a few rows: time, name (`names` columns, or what the terminal leaves), bar, note.

    A task's description is the name, which is cut, and its field `tail` what stands behind it. No row is wrapped.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    bar = BAR if shutil.get_terminal_size().columns >= WIDE else SHORT_BAR

    class Name(ProgressColumn):
        def render(self, task: Any) -> Text:
            width = max(12, min(names, display.console.width - 10 - bar - NOTE))
            return Text((cut(task.description, width - len(task.fields["tail"])) + task.fields["tail"]).ljust(width))

    one_line = Column(no_wrap=True)
    note = TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    display = Progress(
        TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
        Name(table_column=one_line),
        BarColumn(bar_width=bar, table_column=Column(no_wrap=True, min_width=8)),
        note,
        console=Console(),  # rich's common one keeps the width of its first use
        transient=True,
        refresh_per_second=A_SECOND,
    )
    return display


def run_note(fraction: float, accuracy: float | None, score: float | None, objective: str = "score") -> str:
    """`37%  score 0.412`; the accuracy in training, where nothing was evaluated yet."""
    value = f"accuracy {accuracy:.3f}" if accuracy is not None else ""
    if score is not None:
        value = f"{cut(objective, 14)} {score:.3f}"
    return f"{100 * fraction:3.0f}%  {value}".rstrip()


class Progress:
    """One line a finished run; in a terminal also a bar for the sweep and one for each run that is under way."""

    def __init__(self, plan: Plan, total: int, done: int, live: bool | None = None) -> None:
        self.total = total
        self.done = done
        self.at_start = done
        self.began = time.monotonic()
        self.share = 1 / plan.strategy.runs_a_trial  # of a trial that one run is
        self.width = max((len(r.arm) for r in plan.runs), default=5)
        self.objective = plan.objectives[0].metric
        self.bars: Any = None
        self.tasks: dict[tuple[str, int], Any] = {}
        self.fractions: dict[tuple[str, int], float] = {}  # of the runs under way
        self.scores: dict[tuple[str, int], float] = {}  # theirs, as last evaluated
        if is_live() if live is None else live:
            self.width = min(self.width, NAME)
            self.bars = bars(max(2 + self.width + 7 + len(str(max(plan.spec.seeds))), 16))
            note = f"{done}/{total}"
            self.whole = self.bars.add_task(f"study {plan.study}", total=total, completed=done, note=note, tail="")
            self.bars.start()

    def say(self, line: str) -> None:
        """A line of its own."""
        if self.bars is not None:
            self.bars.console.print(shown(line), highlight=False, markup=False)
        else:
            print(shown(line), flush=True)

    def begin(self, run: PlannedRun) -> None:
        """A run that a worker was given."""
        if self.bars is not None and run.key not in self.tasks:
            tail = f" seed {run.seed}"
            self.tasks[run.key] = self.bars.add_task(f"  {run.arm}", total=1.0, note="starting", tail=tail)

    def update(self, run: PlannedRun, state: dict[str, Any]) -> None:
        """A run under way."""
        self.fractions[run.key] = state["fraction"] * self.share
        if self.bars is None:
            return
        self.begin(run)
        note = run_note(state["fraction"], state.get("accuracy"), self.scores.get(run.key), self.objective)
        self.bars.update(self.tasks[run.key], completed=state["fraction"], note=note)
        self._whole()

    def evaluated(self, run: PlannedRun, value: float) -> None:
        """The objective of a run under way: its row shows it from the next step on."""
        self.scores[run.key] = value

    def finished(self, done: int, run: PlannedRun, seconds: float, outcome: str, counted: bool = True) -> None:
        """A run that ended well. `done`: trials finished by now, by whomever; `counted`: this run ended its trial."""
        self.done = done
        self._forget(run)
        count = f"{done:>{len(str(self.total))}}/{self.total}"
        left = f"   about {clock(self._left())} left" if counted and done < self.total and self.bars is None else ""
        width = self.width
        if self.bars is not None:
            width = min(width, max(8, self.bars.console.width - OF_A_LINE))
        arm = run.arm if self.bars is None else cut(run.arm, width)
        self.say(
            f"[{count if counted else ' ' * len(count)}] {arm:<{width}} seed {run.seed:<3} "
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
        worked = self.done - self.at_start + sum(self.fractions.values())
        left = self._left() if worked >= LEAST_WORK else 0.0
        note = f"{self.done}/{self.total}" + (f"  about {clock(left)} left" if left else "")
        self.bars.update(self.whole, completed=self.done + sum(self.fractions.values()), note=note)

    def _forget(self, run: PlannedRun) -> None:
        self.fractions.pop(run.key, None)
        self.scores.pop(run.key, None)
        if self.bars is not None and run.key in self.tasks:
            self.bars.remove_task(self.tasks.pop(run.key))
