"""What a person sees while a sweep runs."""

from __future__ import annotations

from typing import Any

import pytest
from sweeping_work import arms, make_plan

from eprli_lab.sweeping import progress
from eprli_lab.sweeping.progress import Progress, clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test moves."""
    time = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time[0])
    return time


def test_clock() -> None:
    assert [clock(x) for x in (0, 9.6, 61, 3599.4, 3600, 86399)] == [
        "0:00",
        "0:10",
        "1:01",
        "59:59",
        "1:00:00",
        "23:59:59",
    ]


def test_a_line_a_run_with_the_time_that_is_left(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan({"arms": arms("a", "longer"), "seeds": [0, 11]})
    shown = Progress(plan, 4, done=1, live=False)
    now[0] += 60.0
    shown.finished(2, plan.runs[1], 59.5, "score 0.500")  # one of three in 60 s: two more take 120 s
    shown.update(plan.runs[2], {"fraction": 0.5})
    now[0] += 30.0
    shown.finished(3, plan.runs[3], 20.0, "score 0.123")  # 2.5 runs' work in 90 s, half a run is left: 18 s
    shown.trouble(plan.runs[2], "[/red] no luck")
    shown.close()
    assert capsys.readouterr().out.splitlines() == [
        "[2/4] longer seed 0   score 0.500   59.5 s   about 2:00 left",
        "[3/4] longer seed 11  score 0.123   20.0 s   about 0:18 left",
        "a seed 11: [/red] no luck",
    ]


def test_in_a_terminal_also_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "120"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    plan = make_plan({"arms": arms("a", "b"), "seeds": [0, 1]})
    shown = Progress(plan, 4, done=0, live=True)
    task: Any = {t.description: t for t in shown.bars.tasks}
    assert list(task) == ["study study"] and task["study study"].fields["note"] == "0 of 4"
    shown.update(plan.runs[0], {"fraction": 0.25})
    task = {t.description: t for t in shown.bars.tasks}
    assert task["  a seed 0"].completed == 0.25 and task["  a seed 0"].fields["note"] == "25%"
    assert task["study study"].completed == 0.25
    shown.finished(1, plan.runs[0], 1.0, "score 0.500")
    assert [t.description for t in shown.bars.tasks] == ["study study"]
    assert shown.bars.tasks[0].completed == 1.0 and shown.bars.tasks[0].fields["note"].startswith("1 of 4, about ")
    shown.trouble(plan.runs[1], "[/red] no luck")  # no markup
    shown.close()
    out = capsys.readouterr().out
    assert "[1/4] a seed 0   score 0.500" in out and "b seed 0: [/red] no luck" in out
