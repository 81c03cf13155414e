"""A study that is looked at while it runs: blocks of seeds, an early stop, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from sweeping_work import arms, behave, make_plan, run

from eprli_lab.errors import UserError
from eprli_lab.sweeping.plan import Plan
from eprli_lab.sweeping.status import status
from eprli_lab.sweeping.study import Study
from eprli_lab.sweeping.trials import Task

NODE: dict[str, Any] = {"arms": arms("a", "b"), "seeds": list(range(9)), "looks": 3, "spending": "pocock"}
SCORES = {"a": 0.2, "b": 0.7}  # what an arm scores, beside a little luck


@pytest.fixture(autouse=True)
def _in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{REPO / 'tests'}")


def plan(**changed: Any) -> Plan:
    return make_plan({**NODE, **changed})


def finish(study: Study, task: Task, gap: float = 1.0) -> None:
    """The run with its score; `gap` 0: both arms score by luck alone."""
    luck = 0.01 * ((7 * task.run.seed + (3 if task.name == "b" else 0)) % 5)
    study.succeed(task, {"score": gap * SCORES[task.name] + luck}, 1.0)


def work_off(study: Study, gap: float = 1.0) -> list[tuple[str, int]]:
    """Everything that can be claimed, one after another."""
    done = []
    while (task := study.claim()) is not None:
        done.append(task.run.key)
        finish(study, task, gap)
    return done


def test_a_large_effect_stops_at_the_first_look() -> None:
    study = Study(plan())
    said: list[str] = []
    study.say = said.append
    assert work_off(study) == [(arm, seed) for seed in range(3) for arm in ("a", "b")]
    assert study.left() == 0 and study.failed() == {} and len(study.complete()) == 6
    assert said == ["look 1 of 3 after 3 of 9 seeds: 1 of 1 comparisons decided (b - a); the study stops here"]
    assert '"stopped": true' in study.looks()
    study.close()
    assert "looks after 3, 6, 9 seeds (pocock): stopped at look 1 of 3; 6 seeds are not run" in status("study", None)
    again = Study(plan())  # who comes later comes to the same
    assert again.claim() is None and again.left() == 0
    again.close()


@pytest.mark.slow
def test_no_effect_runs_to_the_last_look() -> None:
    study = Study(plan())
    said: list[str] = []
    study.say = said.append
    assert len(work_off(study, gap=0.0)) == 18
    assert study.left() == 0
    assert [sentence.partition(" after")[0] for sentence in said] == [
        "look 1 of 3", "look 2 of 3", "look 3 of 3, the last,",
    ]  # fmt: skip
    assert '"stopped": false' in study.looks()
    study.close()


def test_no_seed_begins_before_the_look_at_those_before_it() -> None:
    one, other = Study(plan(), process_id="x:1:1"), Study(plan(), process_id="x:2:1")
    tasks = [study.claim() for study in (one, other) for _ in range(3)]
    assert all(tasks) and one.claim() is None and other.claim() is None  # the block is under way
    assert one.left() == 18
    for study, task in zip([one] * 3 + [other] * 3, tasks, strict=True):
        assert task is not None
        finish(study, task, 0.0)
    task = other.claim()
    assert task is not None and task.run.seed == 3
    assert one.looks() == other.looks() != ""
    for study in (one, other):
        study.close()


@pytest.mark.slow
def test_a_run_that_failed_for_good_does_not_hold_the_look_up() -> None:
    study = Study(plan(retries=0))
    while (task := study.claim()) is not None:
        if task.run.key == ("b", 1):
            study.fail(task, "it broke")
        else:
            finish(study, task)
    assert '"missing": [["b", 1]]' in study.looks()
    assert len(study.complete()) == 11  # two common seeds judge nothing: the second look stopped it, with five
    assert study.failed() == {("b", 1): "it broke"}
    study.close()


@pytest.mark.slow
def test_looks_are_fixed_before_the_first_run() -> None:
    study = Study(plan())
    work_off(study)
    study.close()
    for changed in (
        {"seeds": list(range(12))},
        {"looks": 2},
        {"spending": "obrien_fleming"},
        {"looks": 1, "spending": "obrien_fleming"},
    ):
        with pytest.raises(UserError, match="its looks were fixed before the first"):
            Study(plan(**changed))
    forced = Study(plan(seeds=list(range(12)), force=True))
    assert any(line.startswith("looks: seeds: ") for line in forced.forced_changes())
    assert forced.left() == 18  # it goes on, and the report judges nothing (tests/reporting/test_looks.py)
    forced.close()


@pytest.mark.slow
def test_a_study_that_has_runs_takes_no_looks_later() -> None:
    once = {"looks": 1, "spending": "obrien_fleming"}
    study = Study(plan(**once))
    task = study.claim()
    assert task is not None
    finish(study, task)
    assert study.looks() == "" and "looks_plan" not in study.study.user_attrs
    study.close()
    with pytest.raises(UserError, match="looks: 1 -> 3"):
        Study(plan())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seeds": [0, 1, 2, 3]}, "study.looks=3: 4 seeds give the first of 3 looks 2, and a verdict needs 3"),
        ({"looks": 1}, "study.spending=pocock: the study is looked at once, at its end"),
        ({"looks": 0}, "study.looks: "),
        ({"spending": "all"}, "study.spending: "),
        (
            {"search": {"space": {"optim.weight_decay": "interval(0.0, 0.1)"}}},
            "study.looks=3: a search chooses its winners",
        ),
    ],
)
def test_looks_that_cannot_be_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(**changed)
    assert words in str(caught.value)


def test_one_look_changes_no_description() -> None:
    once = make_plan({"arms": arms("a", "b"), "seeds": [0, 1, 2]})
    assert '"looks"' not in once.description.to_tag() and '"spending"' not in once.description.to_tag()
    assert plan().description.looks == 3


@pytest.mark.slow
def test_real_workers_stop_early(capfd: pytest.CaptureFixture[str]) -> None:
    scores = {f"{arm}_{seed}": {"objective": SCORES[arm] + 0.01 * (seed % 3)} for arm in SCORES for seed in range(9)}
    scores["b_1"]["objective"] += 0.004
    behave(**scores)
    result = run(plan(workers=2))
    assert len(result.complete) == 6 and not result.failed and not result.interrupted
    assert "look 1 of 3 after 3 of 9 seeds: 1 of 1 comparisons decided (b - a); the study stops here" in (
        capfd.readouterr().out
    )


@pytest.mark.slow
def test_two_processes_on_one_study_take_one_decision() -> None:
    """Each has a worker; what one does not run the other does, and no seed is begun after the stop."""
    scores = {f"{arm}_{seed}": {"objective": SCORES[arm] + 0.01 * (seed % 3)} for arm in SCORES for seed in range(9)}
    scores["b_1"]["objective"] += 0.004
    behave(**scores)
    node = json.dumps({**NODE, "workers": 1})
    processes = [
        subprocess.Popen([sys.executable, "-m", "sweeping_work", node], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(text.count("the study stops here") for text in said) == 1  # who comes to it first takes it
    starts = sorted(Path("outputs/study").glob("*/*/starts"))
    assert [len(path.read_text().splitlines()) for path in starts] == [1] * 6
    study = Study(plan())
    assert study.left() == 0 and len(study.complete()) == 6 and '"stopped": true' in study.looks()
    study.close()
