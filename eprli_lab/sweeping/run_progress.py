"""What a person sees while one run is under way: a bar in a terminal, a line a tenth of the budget elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from eprli_lab.sweeping.progress import bars, clock, is_live, run_note


class RunProgress:
    """Hears what `execute` says of a run. Within `with`; afterwards the terminal is as it was."""

    def __init__(self, name: str, objective: str, live: bool | None = None) -> None:
        self.objective = objective
        self.score: float | None = None  # the objective, as last evaluated
        self.tenth = -1  # last one that was said
        self.first: tuple[float, float] | None = None  # (fraction, s) of the first step seen
        self.bars: Any = bars(len(name)) if (is_live() if live is None else live) else None
        if self.bars is not None:
            self.row = self.bars.add_task(name, total=1.0, note="starting", tail="")

    def __enter__(self) -> RunProgress:
        if self.bars is not None:
            self.bars.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if self.bars is not None:
            self.bars.stop()

    def show(self, state: dict[str, float]) -> None:
        """A step ({"fraction", "accuracy"}) or an evaluation ({"point", "value"})."""
        if "fraction" not in state:
            self.score = state["value"]
            return
        fraction, accuracy = state["fraction"], state["accuracy"]
        if self.bars is not None:
            left = self._left(fraction)
            note = run_note(fraction, accuracy, self.score, self.objective)
            more = f"  about {clock(left)} left" if left else ""
            self.bars.update(self.row, completed=fraction, note=note + more)
            return
        tenth = int(fraction * 10)
        if tenth > self.tenth:
            self.tenth = tenth
            print(f"  {100 * fraction:3.0f}% of the budget, training accuracy {accuracy:.3f}", flush=True)

    def _left(self, fraction: float) -> float:
        """Seconds to the end of the budget, if the rest is as fast as what was seen."""
        if self.first is None:
            self.first = (fraction, time.monotonic())
        done = fraction - self.first[0]
        return (time.monotonic() - self.first[1]) / done * (1.0 - fraction) if done > 0 else 0.0
