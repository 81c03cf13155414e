"""Lines that name a command work as they are printed, through a real shell: store, storage and names included."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.tracking.uri import store_words

WORDS = [
    "-m", "curriculum=l1,l2", "seed=0", "preset=smoke", "budget.amount=1000", "study.workers=1", "study.name=Odd-name_1",
    "study.storage='sqlite:///a kept.db'", "tracking.uri='sqlite:///my runs.db'", "tracking.experiment='Ann\\'s $test'",
]  # fmt: skip


def test_words_lead_to_the_store(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    assert store_words(TrackingSpec()) == []
    there = TrackingSpec(uri="sqlite:///a b.db", experiment="Ann's")
    assert store_words(there) == ["tracking.uri=sqlite:///a b.db", "tracking.experiment=Ann's"]
    secret = TrackingSpec(uri="postgresql://ann:secret@host/db")
    assert store_words(secret) == ["tracking.uri=env:EPRLI_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a b.db")  # the command is for a terminal that has it not, too
    assert store_words(there) == ["tracking.uri=sqlite:///a b.db", "tracking.experiment=Ann's"]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_what_a_sweep_prints_is_run_by_a_shell(tmp_path: Path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("eprli-lab", "-m eprli_lab"), (Path(sys.executable).name, "")):  # of this environment
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        (programs / name).chmod(0o755)
    work = tmp_path / "a place of mine"
    work.mkdir()
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    environment |= {"BROWSER": "true %s"}

    def shell(line: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line], cwd=work, env=environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    command = [sys.executable, "-m", "eprli_lab.run", *WORDS]
    with subprocess.Popen(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as sweep:
        assert sweep.stdout is not None
        for line in sweep.stdout:
            if line.startswith("study Odd-name_1"):
                break
        while "[1/2]" not in (line := sweep.stdout.readline()):
            assert line, "the sweep ended before its first run did"
        sweep.send_signal(signal.SIGINT)
        _, error = sweep.communicate(timeout=300)
    assert sweep.returncode == 130 and "the same command resumes" in error
    (resume,) = re.findall(r"^resume: (.*)$", error, flags=re.M)
    out = shell(resume)
    assert "1 of them done before" in out or "2 of them done before" in out
    assert "Odd-name_1" in shell("eprli-lab status Odd-name_1 'study.storage=sqlite:///a kept.db'")
    (again,) = re.findall(r"^again: (.*)$", out, flags=re.M)
    (opened,) = re.findall(r"open it: (.*)$", out, flags=re.M)
    table = out[out.index("Odd-name_1: Which curriculum (l1, l2)?") : out.index("\nreport: ")]
    assert table in shell(again)
    assert f"report: {work}/reports/Odd-name_1/report.html" in shell(opened)
    page = (work / "reports" / "Odd-name_1" / "report.md").read_text()
    assert "tracking.uri=sqlite:///my runs.db" in page
