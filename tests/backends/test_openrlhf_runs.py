"""Rehearsed runs in this process: the knobs arrive, the reference stays, real data flows through."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")
from rehearsed import SMALL, command, environment, gone, processes
from sessions import Session, settings

from eprli_lab.config.compose import compose_spec
from eprli_lab.tracking.store import prepare

pytestmark = pytest.mark.slow


def test_the_reference_stays_at_the_base_model(tmp_path: Path) -> None:
    before = processes()
    made = Session(tmp_path, "algorithm.kl_coef=0.1", "backend.zero_stage=3", "backend.gpus_per_node=2")
    try:
        trainer, engines = made.digests()
        assert len(engines) == 2 and engines[0] == engines[1] == trainer and len(trainer) == 24
        first = made.backend.update(made.batch(1, count=3), settings(made.spec))
        assert first.kl_ref == pytest.approx(0.0, abs=1e-3)
        second = made.backend.update(made.batch(2, count=3), settings(made.spec))
        assert second.kl_ref is not None and second.kl_ref > 5 * abs(first.kl_ref or 0.0) > -1
        assert {name for name, _ in second.phases} == {"rollout", "train", "broadcast", "reference"}
        made.backend.save(tmp_path)
        work = made.batch(3, count=3)
        after = made.backend.update(work, settings(made.spec))
        made.backend.load(tmp_path)
        assert replace(made.backend.update(work, settings(made.spec)), phases=()) == replace(after, phases=())
    finally:
        made.backend.close()
    assert gone(before)


def test_too_few_gpus_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    before = processes()
    bad = [*command(), "backend.rehearsal=false", "backend.attention=flash_attention_2", "backend.sleep=false"]
    done = subprocess.run(bad, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("eprli_lab: backend: vllm not installed")
    assert gone(before)


def test_a_real_rl_training_set_flows_through(shared_data: Path) -> None:
    """Chat prompts, LaTeX and number labels of two real samples: gold answers are graded right."""
    from eprli_lab.config.spec import VerifySpec
    from eprli_lab.data.load import read_training
    from eprli_lab.grading.grader import Grader

    for file in sorted(shared_data.glob("*.parquet")):
        suites = [f"evaluation.suites.{s}.source.path={file}" for s in ("aime24", "amc23", "math500")]
        source = ["data=rl_parquet", f"data.source.path={file}", "data.difficulty_file=none.jsonl"]
        source.append("data.max_bad_rows=4")  # of the short ones two have two answers each
        model = ["model=path", "model.path=/nowhere", "evaluation=benchmarks"]
        spec = compose_spec(["backend=openrlhf_cpu", *source, *model, *suites])
        problems = read_training(spec.data)[:60]
        with Grader(VerifySpec()) as grader:
            grades = grader.grade([(f"so it is \\boxed{{{p.answers[0]}}}", p.answers) for p in problems])
        wrong = [p.answers for p, g in zip(problems, grades, strict=True) if not g.correct]
        assert len(problems) == 60 and len(wrong) <= 1, wrong


def test_every_knob_of_a_level_is_seen_to_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clip, mu, minibatches read back from the running actor; band, Len, G, N, K from what was sampled and trained on."""
    import ray

    from eprli_lab.backends.openrlhf.engine import OpenRLHFBackend
    from eprli_lab.training.execute import execute

    monkeypatch.chdir(tmp_path)
    knobs = {
        "l1": {"clip.low": 0.11, "clip.high": 0.33, "group_size": 4, "buffer_groups": 3, "inner_iterations": 2,
               "max_response_tokens": 30, "admission.accuracy_min": 0.25, "admission.accuracy_max": 0.75},
        "l2": {"clip.low": 0.05, "clip.high": 0.5, "group_size": 6, "buffer_groups": 2, "minibatches": 2,
               "max_response_tokens": 60, "length_term": "group_relative", "length_coef": 0.3},
    }  # fmt: skip
    overrides = [f"curriculum.levels.{lv}.{k}={v}" for lv, own in knobs.items() for k, v in own.items()]
    spec = compose_spec([*SMALL, "budget.amount=5000", *overrides])
    seen: list[tuple[int, Any, dict[str, Any]]] = []
    update = OpenRLHFBackend.update

    def spy(self: OpenRLHFBackend, batch: Any, how: Any) -> Any:
        terms = update(self, batch, how)
        assert self.engines is not None
        seen.append((len(set(batch.groups)), how, ray.get(self.engines.ranks[0].settings_in_force.remote())))
        return terms

    monkeypatch.setattr(OpenRLHFBackend, "update", spy)
    prepare(spec.tracking)
    result = execute(spec.model_dump_json(), str(tmp_path / "run"), None)
    by_level = {lv: [s for s in seen if s[2]["clip_low"] == own["clip.low"]] for lv, own in knobs.items()}
    assert len(by_level["l1"]) >= 1 and len(by_level["l2"]) >= 1 and sum(map(len, by_level.values())) == len(seen)
    for level, own in knobs.items():
        for groups, _, found in by_level[level]:
            assert groups == own["buffer_groups"] and found["clip_high"] == own["clip.high"]
            assert found["optimizer_steps"] == 2
    rows = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    for row in rows:
        own = knobs[row["level"]]
        assert len(row["rewards"]) == own["group_size"] and max(row["response_tokens"]) <= own["max_response_tokens"]
        if row["level"] == "l1":
            assert set(row["rewards"]) <= {0.0, 1.0}
            assert (row["verdict"] == "too_easy") == (row["accuracy"] > 0.75)
            assert (row["verdict"] == "too_hard") == (row["accuracy"] < 0.25)
    shaped = [r for row in rows if row["level"] == "l2" for r in row["rewards"]]
    assert any(r not in (0.0, 1.0) for r in shaped) and -0.15 - 1e-9 <= min(shaped) and max(shaped) <= 1.15 + 1e-9
    names = set(result["metrics"])
    assert {"policy/l2/mismatch_kl", "buffer/l1/admission_rate", "time/engine/broadcast", "score"} <= names
    from eprli_lab.training.metrics import in_catalogue

    assert all(in_catalogue(n) for n in names)
