"""A rehearsed run in this process: the knobs arrive, the reference stays; real data flows through."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")
from rehearsed import SMALL, command, environment, gone, processes

from eprli_lab.config.compose import compose_spec
from eprli_lab.records import LossTerms
from eprli_lab.tracking.store import prepare

pytestmark = pytest.mark.slow


KNOBS: dict[str, dict[str, Any]] = {
    "l1": {"clip.low": 0.11, "clip.high": 0.33, "group_size": 4, "buffer_groups": 3, "inner_iterations": 2,
           "max_response_tokens": 30, "admission.accuracy_min": 0.25, "admission.accuracy_max": 0.75},
    "l2": {"clip.low": 0.05, "clip.high": 0.5, "group_size": 6, "buffer_groups": 2, "minibatches": 2,
           "max_response_tokens": 60, "length_term": "group_relative", "length_coef": 0.3},
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What was seen around one update of a run."""

    groups: int
    in_force: dict[str, Any]  # in the running actor
    terms: LossTerms
    once: LossTerms | None  # of the first two: in one pass over one minibatch, in its place
    again: LossTerms | None  # of the second: of the same update, when what was saved before it had been loaded
    reference: list[list[float]]  # log-probabilities (nats) of the first update's responses
    trainer: list[list[float]]  # the same under the policy before this update
    digests: tuple[dict[str, str], list[dict[str, str]]] | None


@dataclass(frozen=True)
class Observed:
    directory: Path
    updates: list[Seen]
    metrics: dict[str, float]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """A run of two levels on two ranks of ZeRO 3 and two engines, with a reference policy and knobs of each level."""
    import ray

    from eprli_lab.backends.openrlhf.checks import weight_digests
    from eprli_lab.backends.openrlhf.engine import OpenRLHFBackend
    from eprli_lab.backends.openrlhf.rows import rows_of
    from eprli_lab.training.execute import execute

    where, kept = tmp_path_factory.mktemp("observed"), tmp_path_factory.mktemp("kept")
    before = processes()
    overrides = [f"curriculum.levels.{lv}.{k}={v}" for lv, own in KNOBS.items() for k, v in own.items()]
    overrides += ["algorithm.kl_coef=0.1", "backend.zero_stage=3", "backend.gpus_per_node=2", "budget.amount=5000"]
    spec = compose_spec([*SMALL, *overrides])
    seen: list[Seen] = []
    rows: list[Any] = []
    update = OpenRLHFBackend.update

    def read(self: OpenRLHFBackend, group: Any) -> list[list[float]]:
        values = self._read("looked at", group, rows)
        del self.phases["looked at"]
        return [line.tolist() for line in values]

    def spy(self: OpenRLHFBackend, batch: Any, how: Any) -> Any:
        assert self.engines is not None
        rows.extend(rows_of(batch) if not rows else [])
        logprobs = read(self, self.engines.reference), read(self, self.engines.policy)
        digests = None if seen else weight_digests(self)
        once = again = None
        if len(seen) < 2:
            self.save(kept)
            once = update(self, batch, replace(how, inner_iterations=1, minibatches=1))
            self.load(kept)
        terms = update(self, batch, how)
        if len(seen) == 1:  # the optimizer has moments
            self.load(kept)
            again = update(self, batch, how)
        in_force = ray.get(self.engines.ranks[0].settings_in_force.remote())
        seen.append(Seen(len(set(batch.groups)), in_force, terms, once, again, *logprobs, digests))
        return terms

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr(OpenRLHFBackend, "update", spy)
        prepare(spec.tracking)
        result = execute(spec.model_dump_json(), str(where / "run"), None)
    assert gone(before)
    return Observed(where / "run", seen, result["metrics"])


def test_the_reference_stays_at_the_base_model(observed: Observed) -> None:
    first, *others = observed.updates
    assert len(others) >= 2
    for a, b in zip(first.reference, first.trainer, strict=True):
        assert a == pytest.approx(b, abs=1e-4), "the policy begins as the reference"
    assert all(later.reference == first.reference for later in others)
    assert all(later.trainer != first.trainer for later in others)
    start, second = first.once, others[0].once
    assert start is not None and second is not None
    assert start.kl_ref == pytest.approx(0.0, abs=1e-3)
    assert second.kl_ref is not None and second.kl_ref > 5 * abs(start.kl_ref or 0.0) > -1
    assert {name for name, _ in start.phases} == {"rollout", "train", "broadcast", "reference"}


def test_ranks_and_engines_hold_the_same_weights(observed: Observed) -> None:
    assert observed.updates[0].digests is not None
    trainer, engines = observed.updates[0].digests
    assert len(engines) == 2 and engines[0] == engines[1] == trainer and len(trainer) == 24


def test_an_update_from_a_loaded_state_is_the_same_update(observed: Observed) -> None:
    """Of two ranks of ZeRO 3: weights, moments and the engines' weights."""
    second = observed.updates[1]
    assert second.again is not None
    assert replace(second.again, phases=()) == replace(second.terms, phases=())


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


def test_every_knob_of_a_level_is_seen_to_arrive(observed: Observed) -> None:
    """Clip, mu, minibatches read back from the running actor; band, Len, G, N, K from what was sampled and trained on."""
    seen = observed.updates
    by_level = {lv: [s for s in seen if s.in_force["clip_low"] == own["clip.low"]] for lv, own in KNOBS.items()}
    assert len(by_level["l1"]) >= 1 and len(by_level["l2"]) >= 1 and sum(map(len, by_level.values())) == len(seen)
    for level, own in KNOBS.items():
        for update in by_level[level]:
            assert update.groups == own["buffer_groups"] and update.in_force["clip_high"] == own["clip.high"]
            assert update.in_force["optimizer_steps"] == 2
    rows = [json.loads(line) for line in (observed.directory / "ledger.jsonl").read_text().splitlines()]
    for row in rows:
        own = KNOBS[row["level"]]
        assert len(row["rewards"]) == own["group_size"] and max(row["response_tokens"]) <= own["max_response_tokens"]
        if row["level"] == "l1":
            assert set(row["rewards"]) <= {0.0, 1.0}
            assert (row["verdict"] == "too_easy") == (row["accuracy"] > 0.75)
            assert (row["verdict"] == "too_hard") == (row["accuracy"] < 0.25)
    shaped = [r for row in rows if row["level"] == "l2" for r in row["rewards"]]
    assert any(r not in (0.0, 1.0) for r in shaped) and -0.15 - 1e-9 <= min(shaped) and max(shaped) <= 1.15 + 1e-9
    names = set(observed.metrics)
    assert {"policy/l2/mismatch_kl", "buffer/l1/admission_rate", "time/engine/broadcast", "score"} <= names
    from eprli_lab.training.metrics import in_catalogue

    assert all(in_catalogue(n) for n in names)
