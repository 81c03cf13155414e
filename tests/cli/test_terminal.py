"""What a person sees in a real terminal, at 80 and 120 columns: bars in place, no wrapped row, a clean end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from conftest import REPO, rest_exhaustive
from sweeping_work import arms, behave, make_plan, one_run_done
from terminals import cursor_is_shown, in_terminal, resize, rows

from eprli_lab.cli.status import command as status
from eprli_lab.sweeping.status import Look

pytestmark = pytest.mark.slow  # real processes

LONG = "learning_rate-1e-4__curriculum-l1__high-0p2"


def sweep(columns: int, cwd: Path, *, seconds: float = 0.3, **more) -> tuple[int, str]:
    node = json.dumps({"arms": arms("a", LONG), "seeds": [0, 1], "workers": 1})
    behave(**{"a_0": {"seconds": seconds}, f"{LONG}_1": {"seconds": seconds}})
    return in_terminal([sys.executable, "-m", "sweeping_work", node], columns, cwd, **more)


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")


@pytest.mark.parametrize("columns", rest_exhaustive([80, 120]))
def test_a_sweep_has_a_bar_a_run_and_no_row_is_wrapped(tmp_path: Path, columns: int):
    code, written = sweep(columns, tmp_path)
    seen = rows(written)
    assert code == 0 and cursor_is_shown(written)
    assert max(map(len, seen)) <= columns
    assert any(" a seed 0 " in row and "━" in row and "accuracy 0.000" in row for row in seen)
    assert any("study study" in row and " left" in row for row in seen)
    assert any("…" in row and "seed 1" in row for row in seen) == (columns == 80)
    assert any(row.startswith("[4/4] ") for row in seen)


@pytest.mark.exhaustive
def test_ctrl_c_and_a_terminal_that_becomes_narrower(tmp_path: Path):
    done: list[str] = []

    def meanwhile(written: str, pid: int, terminal: int) -> None:
        if "accuracy" in written and "narrow" not in done:
            done.append("narrow")
            resize(terminal, 60)
        elif "[1/4]" in written and "stop" not in done:
            done.append("stop")
            os.write(terminal, b"\x03")

    code, written = sweep(100, tmp_path, seconds=0.5, meanwhile=meanwhile)
    assert code == 130 and done == ["narrow", "stop"]
    assert cursor_is_shown(written)
    after = rows(written.partition("^C")[2])
    assert max(map(len, after)) <= 60
    assert any(row.startswith("stopping: the runs under way save") for row in after)
    assert "━" not in after[-1]


@pytest.mark.exhaustive
def test_a_dumb_terminal_has_plain_lines_and_no_colour_is_obeyed(tmp_path: Path):
    code, written = sweep(80, tmp_path, environment={"TERM": "dumb"})
    assert code == 0 and "\x1b" not in written and "about " in written
    node = json.dumps({"name": "other", "arms": arms("a"), "seeds": [0], "workers": 1})
    command = [sys.executable, "-m", "sweeping_work", node]
    code, written = in_terminal(command, 80, tmp_path, {"NO_COLOR": "1"})
    assert code == 0 and "━" in written and "\x1b[3" not in written


def test_a_ctrl_c_that_a_library_swallows_ends_the_watch_too(monkeypatch: pytest.MonkeyPatch):
    looks: list[int] = []

    def look(name: str, storage: str | None) -> Look:
        looks.append(1)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return Look("study", "study", False)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("eprli_lab.cli.status._look", look)
    assert status.run(["study", "--watch", "every=0.5"]) == 0
    assert len(looks) == 1 and signal.getsignal(signal.SIGINT) is before


def test_watching_a_study_in_place_ends_with_ctrl_c_and_code_0(tmp_path: Path):
    one_run_done(make_plan({"arms": arms("a", "b"), "seeds": [0, 1]}))
    sent: list[int] = []

    def meanwhile(written: str, pid: int, terminal: int) -> None:
        if written.count("Ctrl-C ends this look") > 1 and not sent:
            sent.append(pid)
            os.write(terminal, b"\x03")

    command = [sys.executable, "-m", "eprli_lab", "status", "study", "--watch", "every=0.5"]
    code, written = in_terminal(command, 80, tmp_path, meanwhile=meanwhile)
    seen = rows(written)
    assert code == 0 and sent and cursor_is_shown(written), written
    assert seen[0].startswith("study study: 1 of 4 runs complete") and max(map(len, seen)) <= 80
    assert "\x1b[1A" in written or "\x1b[2K" in written, "in place"
