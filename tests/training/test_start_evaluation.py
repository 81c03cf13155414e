"""The start evaluation of a policy, known from before: what is recalled is what would be sampled, or nothing is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import ScriptedBackend, small_spec
from loops import TINY, tables

from eprli_lab.config.spec import RunSpec
from eprli_lab.training import execute, loop
from eprli_lab.training.evaluate import Outcome
from eprli_lab.training.start_evaluation import Known, known_start

pytestmark = pytest.mark.slow  # a policy is really sampled

SPEC = small_spec(*TINY, "curriculum=l1", "budget.amount=200")


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPRLI_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EPRLI_LAB_EVALUATIONS", "1")


def trained(spec: RunSpec, where: Path) -> tuple[list[dict[str, Any]], list[int], dict[str, int]]:
    """(logged metrics, problems of each evaluation that was sampled, the grader's counters) of one run."""
    logged: list[dict[str, Any]] = []
    trainer, closing, _ = execute.assemble(spec, where, lambda: False, lambda _: None)
    trainer.log = lambda values, step: logged.append({**values, "step": step})
    asked: list[int] = []
    evaluate = loop.evaluate

    def counted(*args: Any, **more: Any) -> list[Outcome]:
        asked.append(sum(map(len, args[2].values())))
        return evaluate(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate", counted)
        trainer.run()
    counters = dict(trainer.grader.counters)
    for close in closing:
        close()
    return logged, asked, counters


def without_times(logged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("time/", "perf/", "progress/seconds")
    return [{k: v for k, v in values.items() if not k.startswith(timed)} for values in logged]


def test_a_second_run_samples_one_evaluation_less_and_is_the_same_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = trained(SPEC, tmp_path / "a"), trained(SPEC, tmp_path / "b")
    assert len(second[1]) == len(first[1]) - 1
    assert without_times(second[0]) == without_times(first[0]) and second[2] == first[2]
    assert tables(tmp_path / "b") == tables(tmp_path / "a")
    monkeypatch.setenv("EPRLI_LAB_EVALUATIONS", "0")
    off = trained(SPEC, tmp_path / "c")
    assert off[1] == first[1] and without_times(off[0]) == without_times(first[0])


def test_arms_and_seeds_share_it_and_another_exam_does_not(tmp_path: Path) -> None:
    def asked(*change: str) -> Path:
        spec = small_spec(*TINY, "curriculum=l1", *change)
        trainer, closing, _ = execute.assemble(spec, tmp_path / "run", lambda: False, lambda _: None)
        known = trainer.known()
        for close in closing:
            close()
        assert known is not None
        return known.file

    same = asked()
    for change in ("seed=5", "curriculum=l3", "optim.learning_rate=0.01", "budget.amount=300", "algorithm.kl_coef=0.1"):
        assert asked(change) == same, change
    others = [
        asked(c)
        for c in (
            "model=mod10_xs",
            "evaluation.temperature=0.5",
            "evaluation.seed=1",
            "evaluation.samples=3",
            "prompts.suffix=?",
            "verify.symbolic=true",
            "backend.sample_batch=64",
            "evaluation.suites.heldout_easy.generated.problems=9",
        )
    ]
    assert len({same, *others}) == 1 + len(others)


def test_a_step_of_training_makes_another_policy(tmp_path: Path) -> None:
    trainer, closing, _ = execute.assemble(SPEC, tmp_path, lambda: False, lambda _: None)
    before = known_start(SPEC, trainer.backend, trainer.suites)
    trainer.run()
    after = known_start(SPEC, trainer.backend, trainer.suites)
    for close in closing:
        close()
    assert before is not None and after is not None and before.file != after.file
    assert known_start(SPEC, ScriptedBackend(), trainer.suites) is None, "of another engine nothing is known"


class Counting:
    """A grader as far as `recall` needs one."""

    def __init__(self) -> None:
        self.counters: Counter[Any] = Counter()


OUTCOMES = [
    Outcome("easy", "p", 0.125, 4, 3, True, 7.25, 1, 0),
    Outcome("easy", "q", None, 4, 0, False, 1 / 3, 0),
]


def test_what_is_kept_is_recalled_exactly_and_counted(tmp_path: Path) -> None:
    known, grader = Known(tmp_path / "deep" / "key.json"), Counting()
    assert known.recall(grader) is None  # type: ignore[arg-type]
    known.keep(OUTCOMES, Counter(exact=3, wrong=5))
    assert known.recall(grader) == OUTCOMES  # type: ignore[arg-type]
    assert grader.counters == Counter(exact=3, wrong=5)


@pytest.mark.parametrize("status", ["timeout", "error"])
def test_what_may_be_graded_otherwise_another_time_is_not_kept(tmp_path: Path, status: str) -> None:
    known = Known(tmp_path / "key.json")
    known.keep(OUTCOMES, Counter({"exact": 3, status: 1}))
    assert not known.file.exists()


def test_a_damaged_file_is_no_answer(tmp_path: Path) -> None:
    known, grader = Known(tmp_path / "key.json"), Counting()
    known.keep(OUTCOMES, Counter(exact=3))
    whole = known.file.read_text()
    other = json.loads(whole)
    other["outcomes"][0]["correct"] = 4
    for damage in (whole[:-9], "", "[]", "null", whole.replace("0.125", "0.126"), json.dumps(other), "\x00" * 40):
        known.file.write_text(damage)
        assert known.recall(grader) is None, damage  # type: ignore[arg-type]
    assert not grader.counters
    known.file.write_text(whole)
    assert known.recall(grader) == OUTCOMES  # type: ignore[arg-type]


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = Known(tmp_path / "file" / "key.json")
    known.keep(OUTCOMES, Counter())
    assert known.recall(Counting()) is None  # type: ignore[arg-type]


def test_the_oldest_are_removed(tmp_path: Path) -> None:
    for i in range(70):
        Known(tmp_path / f"{i:03}.json").keep(OUTCOMES, Counter())
    assert len(list(tmp_path.glob("*.json"))) == 64
