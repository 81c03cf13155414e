"""What a person sees while a sweep runs."""

from __future__ import annotations

import re
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


def test_a_long_text_loses_its_middle():
    assert progress.cut("curriculum-l1", 13) == "curriculum-l1" and progress.cut("curriculum-l1", 9) == "curr…m-l1"
    assert [len(progress.cut("x" * 40, n)) for n in (8, 9, 30)] == [8, 9, 30]


def test_a_note_has_the_score_or_until_then_the_accuracy():
    assert progress.run_note(0.25, 0.5, None) == " 25%  accuracy 0.500"
    assert progress.run_note(1.0, 0.5, 0.41249) == "100%  score 0.412"
    assert progress.run_note(0.0, None, None) == "  0%"


@pytest.mark.parametrize("columns", [80, 120])
def test_in_a_terminal_also_bars(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", str(columns)), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    long = "learning_rate-1e-4__curriculum-l1__high-0p2"
    plan = make_plan({"arms": arms("a", long), "seeds": [0, 1]})
    shown = Progress(plan, 4, done=0, live=True)
    task: Any = {t.description: t for t in shown.bars.tasks}
    assert list(task) == ["study study"] and task["study study"].fields["note"] == "0/4"
    shown.begin(plan.runs[0])
    row: Any = next(t for t in shown.bars.tasks if t.description == "  a")
    assert row.fields["note"] == "starting"
    shown.update(plan.runs[0], {"fraction": 0.25, "accuracy": 0.5})
    assert row.completed == 0.25 and row.fields["note"] == " 25%  accuracy 0.500"
    shown.evaluated(plan.runs[0], 0.125)
    shown.update(plan.runs[0], {"fraction": 0.5, "accuracy": 0.5})
    assert row.fields["note"] == " 50%  score 0.125"
    shown.update(plan.runs[1], {"fraction": 0.5, "accuracy": 0.5})
    shown.finished(1, plan.runs[0], 1.0, "score 0.500")
    shown.finished(2, plan.runs[1], 100.0, "score 0.500")
    assert [t.description for t in shown.bars.tasks] == ["study study"]
    assert shown.bars.tasks[0].completed == 2.0 and shown.bars.tasks[0].fields["note"].startswith("2/4  about ")
    shown.trouble(plan.runs[3], "[/red] no luck")  # no markup
    shown.close()
    out = capsys.readouterr().out
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out)
    assert ("…" in plain) == (columns == 80) and "[1/4] a " in plain and "[/red] no luck" in plain.replace("\n", " ")
    assert max(len(line) for line in re.split(r"[\n\r]+", plain)) <= columns


def test_what_counts_as_a_live_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys, "stdout", type("Terminal", (), {"isatty": lambda self: True})())
    for term, live in (("xterm", True), ("dumb", False), ("", False)):
        monkeypatch.setenv("TERM", term)
        assert progress.is_live() is live
    monkeypatch.setattr(progress.sys, "stdout", type("Pipe", (), {"isatty": lambda self: False})())
    assert not progress.is_live()
