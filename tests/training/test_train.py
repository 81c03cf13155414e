"""The loop on a scripted engine: budgets, books, starvation, failure, resume, and one number's walk."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path

import pytest
from helpers import ScriptedBackend, small_spec

from eprli_lab.config.spec import RunSpec
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.data.strata import stratify
from eprli_lab.errors import Interrupted, NonFiniteError, UserError
from eprli_lab.grading.grader import Grader
from eprli_lab.records import VERDICTS
from eprli_lab.training.checkpoint import TABLES, RunStore
from eprli_lab.training.loop import Trainer
from eprli_lab.training.metrics import in_catalogue


class Log:
    """(step, name) -> value, refusing a second value."""

    def __init__(self) -> None:
        self.points: dict[tuple[int, str], float] = {}

    def __call__(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            assert in_catalogue(name), name
            self.points[step, name] = value

    def series(self, name: str) -> list[float]:
        return [v for (_, n), v in sorted(self.points.items()) if n == name]

    def numbers(self) -> dict[tuple[int, str], float]:
        """Everything but clocks."""
        return {k: v for k, v in self.points.items() if not k[1].startswith(("time/", "perf/"))}


def trainer(spec: RunSpec, where: Path, backend=None, log=None, **kw) -> Trainer:
    return Trainer(
        spec=spec,
        backend=backend or ScriptedBackend(),
        grader=Grader(spec.verify),
        strata=stratify(load_training(spec.data), spec.curriculum),
        suites={n: load_suite(n, s) for n, s in spec.evaluation.suites.items()},
        store=RunStore(where, spec.fingerprint()),
        log=log or Log(),
        **kw,
    )


def test_books_add_up_at_every_step(tmp_path):
    log = Log()
    skill = lambda p, u: {1: 0.97, 2: 0.9, 3: 0.5, 4: 0.4}.get(int(p.difficulty * 8), 0.02)
    trainer(small_spec("budget.amount=8000"), tmp_path, ScriptedBackend(skill), log).run()
    groups = defaultdict(dict)
    for (step, name), value in log.points.items():
        head, _, kind = name.rpartition("/groups/")
        if head:
            groups[step, head][kind] = value
    assert len(groups) > 5
    for counts in groups.values():
        assert counts["generated"] == sum(counts[v] for v in VERDICTS)
    seen = {v for c in groups.values() for v in VERDICTS if c[v]}
    assert {"admitted", "too_hard", "too_easy"} <= seen
    ledger = RunStore(tmp_path, "").rows("ledger")
    assert len(ledger) == sum(c["generated"] for c in groups.values()) == log.series("progress/problems")[-1]
    assert sum(sum(r["response_tokens"]) for r in ledger) == log.series("progress/tokens")[-1]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_token_budget_is_kept_level_by_level(tmp_path, n):
    spec = small_spec(f"curriculum=l{n}", "budget.amount=12000")
    trainer(spec, tmp_path).run()
    used = defaultdict(int)
    for row in RunStore(tmp_path, "").rows("ledger"):
        used[row["level"]] += sum(row["response_tokens"])
    assert set(used) == set(spec.curriculum.levels)
    assert sum(used.values()) == pytest.approx(12000, abs=90)  # a group has 16 responses of 3 to 7 tokens
    for tokens in used.values():
        assert tokens == pytest.approx(12000 / n, abs=180)


def test_updates_budget_is_exact(tmp_path):
    backend, log = ScriptedBackend(), Log()
    trainer(small_spec("budget.unit=updates", "budget.amount=7"), tmp_path, backend, log).run()
    assert backend.updates == 7 == log.series("progress/updates")[-1]


def test_a_level_sees_its_own_stratum_length_and_clip(tmp_path):
    backend = ScriptedBackend()
    spec = small_spec(
        "budget.amount=8000", "curriculum.levels.l2.clip.high=0.2718", "curriculum.levels.l2.group_size=4"
    )
    trainer(spec, tmp_path, backend).run()
    for row in RunStore(tmp_path, "").rows("ledger"):
        assert (row["difficulty"] <= 0.5) == (row["level"] == "l1")
        assert len(row["rewards"]) == (16 if row["level"] == "l1" else 4)
    assert {s.clip_high for _, s in backend.batches} == {0.28, 0.2718}
    # the first batch is wholly of the current weights; carried groups of later ones are not
    assert all(backend.batches[0][0].current)
    assert not all(backend.batches[-1][0].current) or spec.curriculum.levels["l2"].admission.surplus != "carry"


def test_starved_level_ends_with_the_threshold_to_change(tmp_path):
    run = trainer(small_spec("budget.amount=200000"), tmp_path, ScriptedBackend(lambda p, u: 0.0))
    run.run()
    assert [s.split(" ")[1] for s in run.starved] == ["l1", "l2"]
    assert "lower curriculum.levels.l1.admission.accuracy_min" in run.starved[0]
    assert run.state.progress.updates == 0
    # 3 skipped updates of 8 rounds of 8 problems, a level
    assert run.state.progress.problems == 2 * 3 * 8 * 8


def test_no_answer_counts_as_wrong_and_nothing_spins(tmp_path):
    class Silent(ScriptedBackend):
        def sample(self, problems, sampling, *, seed):
            return [
                tuple(r.__class__("", r.prompt_tokens, r.tokens, r.logprobs, True) for r in g)
                for g in super().sample(problems, sampling, seed=seed)
            ]

    run = trainer(small_spec("budget.amount=3000"), tmp_path, Silent())
    assert run.run()["score"] == 0.0
    assert run.grader.counters["no_answer"] > 0


def test_evaluations_use_the_same_problems_and_come_at_their_places(tmp_path):
    trainer(small_spec("budget.amount=8000", "curriculum=l3"), tmp_path).run()
    rows = RunStore(tmp_path, "").rows("outcomes")
    stages = list(dict.fromkeys(r["stage"] for r in rows))
    assert stages[0] == "start" and stages[-1] == "final"
    assert {"end_l1", "end_l2"} <= set(stages)
    by_stage = {s: [(r["suite"], r["problem"]) for r in rows if r["stage"] == s] for s in stages}
    assert by_stage["start"] == by_stage["final"] and len(by_stage["final"]) == 24
    assert set(by_stage["end_l1"]) < set(by_stage["final"]) and len(by_stage["end_l1"]) == 12


def test_nan_stops_the_run_with_step_and_checkpoint_named(tmp_path):
    run = trainer(small_spec("checkpoint.every_updates=2"), tmp_path, ScriptedBackend(fail_at=5))
    with pytest.raises(
        NonFiniteError, match=r"at step \d+ of level l1; the last good checkpoint is .*checkpoint-0000000[24]"
    ):
        run.run()


class Mumbling(ScriptedBackend):
    """The first response to every problem has no answer."""

    def sample(self, problems, sampling, *, seed):
        groups = super().sample(problems, sampling, seed=seed)
        return [(dataclasses.replace(g[0], text="well"), *g[1:]) for g in groups]


SURPLUS = [[f"curriculum.levels.l{i}.admission.surplus={how}" for i in (1, 2)] for how in ("carry", "drop", "train")]


@pytest.mark.parametrize(
    "choices",
    [
        *([f"curriculum.schedule={s}", *how] for s in ("sequential", "mixed", "adaptive") for how in SURPLUS),
        ["curriculum.selection=target"],
        ["curriculum.selection=blocks"],
        ["curriculum.weights=snapshot", "curriculum.order=descending"],
        ["curriculum.weights=separate", "algorithm.difficulty_weights=daro", "optim.schedule=linear"],
        ["curriculum.strata=all", "data.label_noise=0.5"],
        ["algorithm.difficulty_weights=daro", "algorithm.reward_density=both"],
    ],
    ids=lambda c: ",".join(x.rpartition(".")[2] for x in c),
)
def test_stopped_anywhere_and_resumed_equals_uninterrupted(tmp_path, choices):
    spec = small_spec("budget.amount=6000", "checkpoint.every_updates=3", *choices)
    skill = lambda p, u: min(0.9, 0.3 + 0.02 * u)
    whole = Log()
    uninterrupted = trainer(spec, tmp_path / "whole", Mumbling(skill), whole)
    uninterrupted.run()
    parts = Log()
    for stop_after in (2, 3, 7, None):
        calls = iter(range(1000))
        stop = (lambda n, c: lambda: next(c) >= n)(stop_after, calls) if stop_after else (lambda: False)
        try:
            resumed = trainer(spec, tmp_path / "parts", Mumbling(skill), parts, stop=stop)
            resumed.run()
        except Interrupted:
            assert stop_after is not None
    assert parts.numbers() == whole.numbers()
    assert resumed.grader.counters == uninterrupted.grader.counters and resumed.grader.counters["no_answer"] > 0
    for table in TABLES:
        assert RunStore(tmp_path / "parts", "").rows(table) == RunStore(tmp_path / "whole", "").rows(table)


def test_the_time_that_grading_lost_is_counted_over_a_resume(tmp_path):
    calls = iter(range(1000))
    stopped = trainer(small_spec("budget.amount=2000"), tmp_path, stop=lambda: next(calls) >= 1)
    stopped.grader.lost_before = 2.5  # as if an answer had timed out
    with pytest.raises(Interrupted):
        stopped.run()
    resumed = trainer(small_spec("budget.amount=2000"), tmp_path)
    resumed.run()
    assert resumed.grader.seconds_lost == 2.5


def test_rows_after_the_checkpoint_are_forgotten_and_a_torn_line_too(tmp_path):
    store = RunStore(tmp_path, "f")
    store.append("ledger", [{"step": 1}])
    store.save(ScriptedBackend(), {"x": 1}, 1)
    store.append("ledger", [{"step": 1, "after": "the checkpoint of the same step"}])
    with open(tmp_path / "ledger.jsonl", "a") as f:
        f.write('{"step": 3, "ver')
    (tmp_path / "saving-123").mkdir()
    assert store.restore(ScriptedBackend()) == {"x": 1}
    assert store.rows("ledger") == [{"step": 1}]
    assert not (tmp_path / "saving-123").exists()


def test_the_checkpoint_of_another_config_is_refused(tmp_path):
    RunStore(tmp_path, "one").save(ScriptedBackend(), {}, 1)
    with pytest.raises(UserError, match="belongs to another configuration"):
        RunStore(tmp_path, "two").restore(ScriptedBackend())
