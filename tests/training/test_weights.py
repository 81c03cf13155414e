"""shared, separate, snapshot: what a run trains under each, on the real engine, and that a kill anywhere changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from engines import SPEC
from helpers import ScriptedBackend, small_spec
from loops import TINY, Killed, Mortal, run, small_levels, tables

from eprli_lab.algorithm.progress import LevelProgress, Progress
from eprli_lab.algorithm.schedule import level_fraction, make_schedule
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.config.spec import RunSpec
from eprli_lab.tracking import names
from eprli_lab.training.checkpoint import RunStore

pytestmark = pytest.mark.slow  # one of many


class Watched(LocalBackend):
    """Remembers weights and the optimizer's state before every update."""

    def update(self, batch, settings):
        weights = [p.detach().clone() for p in self.policy.parameters()]
        self.seen = [*getattr(self, "seen", []), (weights, self.optimizer.state())]
        return super().update(batch, settings)


def real(spec: RunSpec) -> Watched:
    return Watched(spec.model, spec.optim, spec.backend, family="mod10", kl_reference=False, seed=0)


def test_separate_differs_from_shared_from_the_second_level_on_and_snapshot_never(tmp_path: Path) -> None:
    import torch

    specs = {
        w: small_spec(*TINY, *small_levels(2), f"curriculum.weights={w}") for w in ("shared", "separate", "snapshot")
    }
    engines = {w: real(spec) for w, spec in specs.items()}
    logs = {w: run(spec, tmp_path / w, engines[w]) for w, spec in specs.items()}
    rows = {w: RunStore(tmp_path / w, "").rows("ledger") for w in specs}
    first = {w: [r for r in rows[w] if r["level"] == "l1"] for w in specs}
    second = {w: [r for r in rows[w] if r["level"] == "l2"] for w in specs}
    assert first["separate"] == first["shared"] and len(first["shared"]) > 20
    assert len(second["separate"]) > 10 and second["separate"] != second["shared"]
    assert second["separate"][0]["problem"] == second["shared"][0]["problem"], "the data is the same"
    assert tables(tmp_path / "snapshot")["ledger"] == tables(tmp_path / "shared")["ledger"]

    outcomes = {w: RunStore(tmp_path / w, "").rows("outcomes") for w in specs}
    easy = {
        stage: [{**o, "stage": "", "step": 0} for o in outcomes["snapshot"] if o["stage"] == stage and o["difficulty"] <= 0.5]
        for stage in ("end_l1", "final")
    }  # fmt: skip
    assert easy["final"] == easy["end_l1"], "the kept state answers as it did"
    assert outcomes["snapshot"] != outcomes["shared"]

    seen, updates = engines["separate"].seen, [v for (_, n), v in logs["separate"].items() if n == "policy/l1/loss"]
    initial = list(real(specs["shared"]).policy.parameters())
    for start in (0, len(updates)):  # the first update of either level
        weights, (tensors, steps) = seen[start]
        assert all(torch.equal(a, b) for a, b in zip(weights, initial, strict=True)) and tensors == {} and steps == {}
    weights, (tensors, _) = engines["shared"].seen[len(updates)]
    assert tensors and not all(torch.equal(a, b) for a, b in zip(weights, initial, strict=True))
    size = sum(p.numel() for p in initial)
    assert [logs[w][0, names.PARAMETERS] for w in specs] == [size, 2 * size, size]


def test_one_level_of_its_own_is_the_shared_one(tmp_path: Path) -> None:
    for weights in ("shared", "separate"):
        spec = small_spec(*TINY, *small_levels(1), f"curriculum.weights={weights}", "optim.schedule=linear")
        run(spec, tmp_path / weights, real(spec))
    assert tables(tmp_path / "separate") == tables(tmp_path / "shared")


def around_the_boundary(calls: list[tuple[str, str]]) -> range:
    """Numbers (from 1) of the calls from the one before the first level is kept to the one after the next checkpoint."""
    kept = calls.index(("save", "level-l1.saving"))
    saved = next(i for i, (name, file) in enumerate(calls) if i > kept and file.startswith("saving-"))
    return range(kept, saved + 3)


def numbers(log: dict[tuple[int, str], float]) -> dict[tuple[int, str], float]:
    return {k: v for k, v in log.items() if not k[1].startswith(("time/", "perf/"))}


@pytest.mark.parametrize("weights", ["separate", "snapshot"])
@pytest.mark.exhaustive
def test_a_kill_at_any_call_and_a_resume_equal_the_uninterrupted_run(tmp_path: Path, weights: str) -> None:
    change = ("curriculum=l3", "budget.amount=3000", "optim.schedule=linear", "optim.warmup_updates=2")
    spec = small_spec(*TINY, *change, f"curriculum.weights={weights}")
    skill = lambda p, u: 0.2 + 0.04 * (u % 13)
    whole = Mortal(ScriptedBackend(skill))
    run(spec, tmp_path / "whole", whole)
    assert {file for _, file in whole.calls} >= {"level-l1.saving", "level-l2.saving", "level-l1", "current"}
    assert (("load", "initial") in whole.calls) == (weights == "separate")
    for at in range(1, len(whole.calls) + 1):
        with pytest.raises(Killed):
            run(spec, tmp_path / str(at), Mortal(ScriptedBackend(skill), at, after=at % 2 == 0))
        run(spec, tmp_path / str(at), ScriptedBackend(skill))
        assert tables(tmp_path / str(at)) == tables(tmp_path / "whole"), (at, whole.calls[at - 1])


def test_so_on_the_real_engine_around_a_boundary(tmp_path: Path) -> None:
    spec = small_spec(*TINY, *small_levels(2), "curriculum.weights=separate")
    whole = Mortal(real(spec))
    log = run(spec, tmp_path / "whole", whole)
    places = around_the_boundary(whole.calls)
    names_of = [whole.calls[at - 1] for at in places]
    assert ("load", "initial") in names_of and ("load", "level-l1") in names_of and ("update", "") in whole.calls
    for at in list(places)[::3]:
        with pytest.raises(Killed):
            run(spec, tmp_path / str(at), Mortal(real(spec), at))
        again = run(spec, tmp_path / str(at), real(spec))
        assert tables(tmp_path / str(at)) == tables(tmp_path / "whole"), whole.calls[at - 1]
        assert numbers(again) == {k: v for k, v in numbers(log).items() if k in again}


def test_the_learning_rate_is_that_of_the_levels_own_network(tmp_path: Path) -> None:
    def rates(*change: str) -> list[float]:
        spec = small_spec("budget.unit=updates", "budget.amount=6", "optim.learning_rate=0.001", *change)
        log = run(spec, tmp_path / "-".join(change), ScriptedBackend())
        return [v for (_, name), v in sorted(log.items()) if name == "optim/lr"]

    own, linear = "curriculum.weights=separate", "optim.schedule=linear"
    assert rates(linear) == pytest.approx([1e-3 * (1 - 0.9 * i / 6) for i in range(6)])
    assert rates(own, linear) == pytest.approx([1e-3, 7e-4, 4e-4] * 2)
    assert rates("optim.warmup_updates=2") == pytest.approx([1e-3 / 3, 2e-3 / 3, *[1e-3] * 4])
    assert rates(own, "optim.warmup_updates=2") == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3] * 2)


def test_a_levels_share_of_the_budget_by_hand() -> None:
    def fraction(schedule: str, first: int, second: int, level: str) -> float:
        curriculum = small_spec(f"curriculum.schedule={schedule}").curriculum
        levels = {"l1": LevelProgress(tokens=first), "l2": LevelProgress(tokens=second)}
        progress = Progress(tokens=first + second, levels=levels)
        return level_fraction(make_schedule(curriculum, 1000, 0), progress, level, "tokens")

    assert [fraction("sequential", n, 0, "l1") for n in (0, 125, 500, 520)] == [0.0, 0.25, 1.0, 1.0]
    assert fraction("sequential", 520, 0, "l2") == 0.0 and fraction("sequential", 520, 240, "l2") == 0.5
    assert fraction("adaptive", 200, 400, "l2") == 0.5, "promoted early: the second level has 800"
    assert fraction("mixed", 100, 300, "l1") == 0.2 and fraction("mixed", 100, 300, "l2") == 0.6


@pytest.mark.parametrize("weights", ["separate", "snapshot"])
def test_levels_of_their_own_need_boundaries(weights: str) -> None:
    from eprli_lab.errors import UserError

    said = f"curriculum: weights '{weights}' needs levels one after another: use schedule sequential or adaptive"
    with pytest.raises(UserError, match=said):
        small_spec(f"curriculum.weights={weights}", "curriculum.schedule=mixed")
    assert small_spec(f"curriculum.weights={weights}", "curriculum.schedule=adaptive").curriculum.weights == weights


def test_the_default_is_what_it_was() -> None:
    assert SPEC.curriculum.weights == "shared" and SPEC.model_dump(mode="json")["curriculum"]["weights"] == "shared"
