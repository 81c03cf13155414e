"""Schedules and samplers with memory, and re-measured difficulty, in whole runs: they act, and resume bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import rest_exhaustive
from helpers import ScriptedBackend, small_spec
from loops import TINY, Killed, Mortal, run, small_levels, tables, trainer

from eprli_lab.config.spec import RunSpec
from eprli_lab.data.remeasured import Remeasured, in_turn, training_problems
from eprli_lab.errors import UserError
from eprli_lab.records import Problem
from eprli_lab.training.metrics import in_catalogue

BANDIT = ["curriculum.schedule=bandit", "curriculum.bandit.temperature=0.2"]
FEW = "data.generated.problems=12"  # so that problems come again, and memories act
MEASURED = ["curriculum.remeasure.every=2", "curriculum.remeasure.problems=6", "curriculum.remeasure.samples=3"]
ARMS = {
    "bandit": BANDIT,
    "thompson": ["curriculum.schedule=thompson"],
    "pools": ["curriculum.selection=pools"],
    "greso": ["curriculum.selection=greso", "curriculum.greso.easy_start=0.1"],
    "vcrl": ["curriculum.selection=vcrl"],
    "snr": ["curriculum.selection=snr"],
    "remeasure": MEASURED,
    "remeasure_pools": [*MEASURED, "curriculum.selection=pools"],
    "remeasure_target": [*MEASURED, "curriculum.selection=target"],
    "remeasure_bandit": [*MEASURED, *BANDIT, "curriculum.strata=cumulative"],
}
ALL_RIGHT_WHEN_EASY = ["curriculum.levels.l1.admission.accuracy_max=1", "curriculum.levels.l2.admission.accuracy_max=1"]


def skill(problem: Problem, updates: int) -> float:
    """Some problems are always right, the others are learnt."""
    if int(problem.id[-1], 16) % 3 == 0:
        return 1.0
    return min(0.9, 0.25 + 0.05 * updates)


def spec_of(*overrides: str) -> RunSpec:
    return small_spec(*TINY, *small_levels(2), FEW, *ALL_RIGHT_WHEN_EASY, "budget.amount=3000", *overrides)


def whole(spec: RunSpec, where: Path) -> tuple[dict[tuple[int, str], float], dict[str, bytes]]:
    log = run(spec, where, ScriptedBackend(skill))
    return {k: v for k, v in log.items() if not k[1].startswith(("time/", "perf/"))}, tables(where)


@pytest.mark.slow
@pytest.mark.parametrize("arm", rest_exhaustive(list(ARMS), 4))
def test_a_killed_run_ends_as_the_uninterrupted_one(arm: str, tmp_path: Path) -> None:
    spec = spec_of(*ARMS[arm])
    expected, rows = whole(spec, tmp_path / "whole")
    calls = Mortal(ScriptedBackend(skill))
    run(spec, tmp_path / "counted", calls)
    log: dict[tuple[int, str], float] = {}
    for at in (len(calls.calls) // 3, len(calls.calls) // 4, len(calls.calls) // 4):
        made = trainer(spec, tmp_path / "killed", Mortal(ScriptedBackend(skill), at))
        made.log = lambda values, step: log.update({(step, k): v for k, v in values.items()})
        with pytest.raises(Killed):
            made.run()
    log |= run(spec, tmp_path / "killed", ScriptedBackend(skill))
    assert {k: v for k, v in log.items() if not k[1].startswith(("time/", "perf/"))} == expected
    assert tables(tmp_path / "killed") == rows


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return whole(spec_of(), tmp_path_factory.mktemp("plain"))[1]["ledger"]


@pytest.mark.parametrize("arm", ARMS)
def test_each_is_seen_to_act_and_all_it_logs_is_in_the_catalogue(arm: str, tmp_path: Path, plain: bytes) -> None:
    log, rows = whole(spec_of(*ARMS[arm]), tmp_path)
    assert rows["ledger"] != plain
    assert [name for _, name in log if not in_catalogue(name)] == []
    acted = {"pools": "sampler/l1/pool/retired", "greso": "sampler/l1/skipped", "vcrl": "sampler/l1/replayed"}
    acted |= {"remeasure": "curriculum/moved", "remeasure_pools": "curriculum/moved"}
    if arm in acted:
        assert max(v for (_, name), v in log.items() if name == acted[arm]) > 0


def test_settings_of_what_is_not_chosen_change_nothing(tmp_path: Path, plain: bytes) -> None:
    idle = ["curriculum.bandit.rate=0.1", "curriculum.thompson.decay=0.5", "curriculum.pools.retire_at=0.5"]
    idle += ["curriculum.greso.step=0.5", "curriculum.vcrl.kappa=0.9", "curriculum.snr.share=0.1"]
    idle += ["curriculum.remeasure.problems=3", "curriculum.remeasure.samples=1"]
    assert whole(spec_of(*idle), tmp_path)[1]["ledger"] == plain
    assert spec_of().fingerprint() == spec_of("curriculum.bandit.rate=0.5").fingerprint()


# --- difficulty measured anew


def test_what_is_measured_is_in_the_budget_and_the_strata_follow(tmp_path: Path) -> None:
    spec = spec_of(*MEASURED)
    made = trainer(spec, tmp_path, ScriptedBackend(skill))
    logged: dict[int, dict[str, float]] = {}
    made.log = lambda values, step: logged.setdefault(step, {}).update(values)
    made.run()
    known = made.state.remeasured
    assert known is not None
    measured = [step for step, values in logged.items() if "curriculum/measured" in values]
    assert known.count == len(measured) > 1
    assert set(known.difficulties.values()) <= {0.0, 1 / 3, 2 / 3, 1.0}, "of three responses"
    rows = [json.loads(line) for line in tables(tmp_path)["ledger"].splitlines()]
    trained = sum(sum(row["response_tokens"]) for row in rows)
    spent = sum(logged[step]["curriculum/tokens"] for step in measured)
    assert made.state.progress.tokens == trained + spent and spent > 0
    assert sum(level.tokens for level in made.state.progress.levels.values()) == trained
    assert made.state.progress.tokens <= spec.budget.amount + 8 * 76
    for name, problems in known.strata(made.strata.levels).items():
        assert [p.id for p in made.state.samplers[name].problems] == sorted(p.id for p in problems)
        low, high = {"l1": (-1.0, 0.5), "l2": (0.5, 1.0)}[name]
        step = measured[-1]
        assert logged[step][f"curriculum/{name}/kept"] or all(low < p.difficulty <= high for p in problems)
        assert logged[step][f"curriculum/{name}/problems"] == len(problems)
    later = [row for row in rows if row["step"] > measured[0] and row["problem"] in known.difficulties]
    assert any(row["difficulty"] in (0.0, 1 / 3, 2 / 3) for row in later), "the ledger has them"


def test_a_level_with_nothing_in_its_band_keeps_its_stratum(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = ["curriculum.remeasure.every=1", "curriculum.remeasure.problems=null"]
    levels = [f"curriculum.levels.l{i}.admission.accuracy_min=0" for i in (1, 2)]
    spec = spec_of(*settings, *levels, "curriculum.schedule=mixed", "budget.unit=updates", "budget.amount=4")
    made = trainer(spec, tmp_path, ScriptedBackend(lambda p, u: 1.0 if u else 0.5))
    logged: dict[str, float] = {}
    made.log = lambda values, step: logged.update(values)
    hard = [p.id for p in made.strata.levels["l2"]]
    made.run()
    assert made.state.remeasured is not None and made.state.remeasured.levels["l2"] == hard
    assert len(made.state.remeasured.levels["l1"]) == 12, "all are easy now"
    assert logged["curriculum/l2/kept"] == 1 and logged["curriculum/pass_rate"] == 1.0
    assert "level l2 any more: it keeps its" in caplog.text and "quality_threshold" in caplog.text


def test_near_the_end_of_the_budget_fewer_are_measured(tmp_path: Path) -> None:
    spec = spec_of("curriculum.remeasure.every=1", "curriculum.remeasure.problems=null", "budget.amount=1500")
    made = trainer(spec, tmp_path, ScriptedBackend(skill))
    counts: list[float] = []
    made.log = lambda values, step: counts.extend(v for k, v in values.items() if k == "curriculum/measured")
    made.run()
    assert counts[0] == 12 and counts[-1] < 12
    assert made.state.progress.tokens < 1500 + 8 * 76


def stratum_of(*levels: str) -> dict[str, list[Problem]]:
    return {f"l{i}": [Problem(c, "q", ("1",), i / 2) for c in text] for i, text in enumerate(levels, 1)}


def test_the_problems_come_in_turn() -> None:
    loaded = training_problems(stratum_of("abcd", "efg"))
    rounds = [[p.id for p in in_turn(loaded, 3, count, 5)] for count in range(7)]
    assert all(len(set(r)) == 3 for r in rounds)
    assert sorted(i for r in rounds for i in r) == sorted("abcdefg" * 3), "in seven rounds of three, three times each"
    assert in_turn(loaded, None, 2, 5) == in_turn(loaded, 7, 2, 5) == loaded
    assert rounds != [[p.id for p in in_turn(loaded, 3, count, 6)] for count in range(7)]


def test_strata_by_hand() -> None:
    curriculum = spec_of().curriculum
    loaded = stratum_of("ab", "cd")
    first = Remeasured().redrawn({"a": 0.75, "c": 0.25}, curriculum, loaded)
    assert first.levels == {"l1": ["b", "c"], "l2": ["a", "d"]} and first.count == 1
    second = first.redrawn({"b": 1.0, "c": 1.0}, curriculum, loaded)
    assert second.levels == {"l1": ["b", "c"], "l2": ["a", "b", "c", "d"]}, "l1 keeps what it had"
    assert {p.id: p.difficulty for p in second.strata(loaded)["l2"]} == {"a": 0.75, "b": 1.0, "c": 1.0, "d": 1.0}
    saved: Any = json.loads(json.dumps({"count": 2, "difficulties": second.difficulties, "levels": second.levels}))
    assert Remeasured.from_json(saved, ["l1", "l2"]) == second
    with pytest.raises(ValueError, match="other levels"):
        Remeasured.from_json(saved, ["l1"])


# --- what is refused


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["curriculum.weights=separate", "curriculum.schedule=bandit"], "needs levels one after another"),
        (["curriculum.weights=snapshot", "curriculum.schedule=thompson"], "needs levels one after another"),
        (["curriculum.weights=separate", "curriculum.remeasure.every=2"], "the one policy of the run"),
        (["curriculum.strata=all", "curriculum.remeasure.every=2"], "would change nothing"),
        (["curriculum=l1", "curriculum.remeasure.every=2", "curriculum.selection=vcrl"], "reads no difficulty"),
        (["curriculum.pools.hard_below=0.8"], "hard_below 0.8 is above easy_above 0.75"),
        (["curriculum.pools.unseen_weight=0"], "greater than 0"),
        (["curriculum.bandit.temperature=0"], "greater than 0"),
        (["curriculum.snr.share=0"], "greater than 0"),
        (["curriculum.remeasure.every=0"], "greater than or equal to 1"),
    ],
)
def test_what_could_not_act_is_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        small_spec(*overrides)


def test_what_can_act_is_not_refused() -> None:
    for overrides in (
        ["curriculum=l1", "curriculum.selection=target"],
        ["curriculum=l1", "curriculum.levels.l1.quality_threshold=0.9"],
        ["curriculum=l2", "curriculum.strata=cumulative"],
    ):
        assert small_spec("curriculum.remeasure.every=3", *overrides).curriculum.remeasure.every == 3
