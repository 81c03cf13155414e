"""A study whose storage is lost: its finished runs are taken from their directories, none is trained twice."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from test_end_to_end import CHEAP, ONE_SKILL, Store, lab


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_lost_study_takes_its_finished_runs_from_outputs(tmp_path: Path) -> None:
    budget = ["preset=smoke", "budget.amount=4000", "study.name=small", "study.only=[l2]", "study.seeds=[0]"]
    sweep = ["-m", "sweep=levels", *ONE_SKILL, *budget, *CHEAP]
    first = lab(*sweep, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    ledgers = sorted(tmp_path.glob("outputs/small/*/*/ledger.jsonl"))
    assert len(ledgers) == 2
    before = [hashlib.sha256(p.read_bytes()).hexdigest() for p in ledgers]
    numbers = {t["arm"]: Store(tmp_path).numbers(r) for r, t in Store(tmp_path).runs().items()}
    shutil.rmtree(tmp_path / "studies")
    again = lab(*sweep, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    sentence = "outputs/small holds 2 runs that this study does not know: what is finished is taken as it is"
    assert sentence in again.stdout and sentence not in first.stdout
    assert [hashlib.sha256(p.read_bytes()).hexdigest() for p in ledgers] == before, "nothing was trained"
    assert {t["arm"]: Store(tmp_path).numbers(r) for r, t in Store(tmp_path).runs().items()} == numbers
    assert len(Store(tmp_path).runs()) == 2
    head = next(line for line in first.stdout.splitlines() if line.startswith("l2 "))
    assert head in again.stdout
