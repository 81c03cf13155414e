"""Damaged study files: what is read is what was written, or one sentence says what is wrong and what to do."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from damage import REFUSED, UNDISTURBED, classify, damage, seeds
from sweeping_work import arms, make_plan

from eprli_lab.sweeping.fingerprints import code_digests
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.study import Study

STORAGES = {"journal": None, "sqlite": "sqlite:///studies/all.db"}


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    digests = code_digests()
    monkeypatch.setattr("eprli_lab.sweeping.opened.code_digests", lambda: digests)  # once a campaign is enough


def contents(plan: Plan) -> tuple[Any, ...]:
    """All that a study holds, and what it would do next; it leaves a trace of who looked, and nothing else."""
    study = Study(plan)
    trials = [
        (t.number, t.state.name, t.values, {k: v for k, v in t.user_attrs.items() if k not in ("owner", "epoch")})
        for t in study.points()
    ]
    attributes = {k: v for k, v in study.study.user_attrs.items() if not k.startswith(("process:", "epoch"))}
    left = study.left()
    task = study.claim()
    study.close()
    return trials, attributes, left, task and (task.number, task.run.key)


def make(plan: Plan) -> None:
    """A study with two of four runs done, one failed and one begun; `earlier` holds its files as they were before."""
    study = Study(plan)
    for i in range(2):
        task = study.claim()
        assert task is not None
        study.succeed(task, {"score": 0.1 + i / 7, "progress/updates": 5.0}, 2.5)
        study.heartbeat({task.number: 0.5})
        if i == 0:
            study.close()
            shutil.copytree("studies", "earlier")
            study = Study(plan)
    task = study.claim()
    assert task is not None
    study.fail(task, "out of luck")
    study.close()


def campaign(kind: str, seeds: range) -> tuple[Counter[tuple[str, str, str]], list[str]]:
    """((file, damage, outcome) -> count, what was neither read as it was nor refused)."""
    plan = make_plan({"arms": arms("a", "b"), "seeds": [0, 1], "storage": STORAGES[kind]})
    make(plan)
    shutil.copytree("studies", "kept")
    expected = contents(plan)
    counts: Counter[tuple[str, str, str]] = Counter()
    wrong = []
    for seed in seeds:
        shutil.rmtree("studies")
        shutil.copytree("kept", "studies")
        path, how = damage(Path("studies"), random.Random(seed), earlier=Path("earlier"))
        outcome, text = classify(lambda: contents(plan), accept=lambda found: found == expected)
        counts[str(path), how, outcome] += 1
        if outcome not in (UNDISTURBED, REFUSED):
            wrong.append(f"{seed}: {path}, {how}: {outcome} {text[-600:]}")
    return counts, wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_damages_of_a_study_are_refused_or_change_nothing(kind: str) -> None:
    counts, wrong = campaign(kind, seeds(60))
    assert not wrong, "\n".join(wrong)
    assert {outcome for *_, outcome in counts} == {UNDISTURBED, REFUSED}
