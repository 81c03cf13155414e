"""Who answers what, which network a level trains, and that the one in training is untouched by an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import small_spec

from eprli_lab.records import Problem, Response, Sampling
from eprli_lab.training.policies import Policies, count_parameters

pytestmark = pytest.mark.slow  # one of many


class Signed:
    """An engine whose answers carry the number that its policy is."""

    def __init__(self) -> None:
        self.policy, self.seeds = 0, []

    def sample(self, problems, sampling, *, seed):
        self.seeds.append(seed)
        return [(Response(f"{self.policy}:{p.id}", (1,), (2,), (0.0,), False),) * sampling.n for p in problems]

    def save(self, path: Path) -> None:
        (path / "policy.json").write_text(json.dumps(self.policy))

    def load(self, path: Path) -> None:
        self.policy = json.loads((path / "policy.json").read_text())


PROBLEMS = [Problem(f"p{d}", "q", ("1",), d) for d in (0.1, 0.25, 0.3, 0.5, 0.9, 1.0)] + [
    Problem("unknown", "q", ("1",))
]


def state_at(level: str | None, left: dict | None = None) -> SimpleNamespace:
    return SimpleNamespace(level=level, left=left or {}, log_weights={})


def answers(policies: Policies, state: SimpleNamespace) -> list[str]:
    with policies.answering(state) as answering:
        out = answering.sample(PROBLEMS, Sampling(2, 8), seed=3)
        assert answering.sample(PROBLEMS, Sampling(2, 8), seed=3) == out, "the next suite finds another network held"
    assert [r[0].text.split(":")[1] for r in out] == [p.id for p in PROBLEMS] and all(len(r) == 2 for r in out)
    return [r[0].text.split(":")[0] for r in out]


def test_snapshot_a_problem_is_answered_by_its_levels_state(tmp_path: Path) -> None:
    engine, spec = Signed(), small_spec("curriculum=l3", "curriculum.weights=snapshot")  # Q: .25, .5, 1
    policies, state = Policies(spec, engine, tmp_path), state_at(None)
    policies.begin()
    assert answers(policies, state) == ["0"] * 7, "before anything was trained"
    engine.policy, state.level = 1, "l1"
    assert answers(policies, state) == ["1"] * 7
    policies.leave("l1", state)
    policies.enter("l2", state)
    assert engine.policy == 1, "one network: it goes on"
    engine.policy, state.level = 2, "l2"
    assert answers(policies, state) == ["1", "1", "2", "2", "2", "2", "2"]
    policies.leave("l2", state)
    engine.policy, state.level = 3, "l3"
    assert answers(policies, state) == ["1", "1", "2", "2", "3", "3", "3"]
    assert engine.policy == 3 and {p.name for p in tmp_path.iterdir()} == {"level-l1", "level-l2"}
    assert answers(policies, state_at("l1")) == ["3"] * 7, "what a resumed run had left behind counts for nothing"


def test_separate_every_level_starts_from_the_initial_policy(tmp_path: Path) -> None:
    engine, spec = Signed(), small_spec("curriculum=l3", "curriculum.weights=separate")  # Q: .25, .5, 1
    policies, state = Policies(spec, engine, tmp_path), state_at(None)
    policies.begin()
    engine.policy, state.level = 1, "l1"
    assert answers(policies, state) == ["1", "1", "0", "0", "0", "0", "0"], "untrained levels: the initial policy"
    state.log_weights = {"1/2": 0.5}
    policies.leave("l1", state)
    policies.enter("l2", state)
    assert engine.policy == 0 and state.log_weights == {}
    engine.policy, state.level = 2, "l2"
    assert answers(policies, state) == ["1", "1", "2", "2", "0", "0", "0"]
    policies.leave("l2", state)
    policies.enter("l1", state)
    assert engine.policy == 1 and state.log_weights == {"1/2": 0.5}, "a level that is come back to goes on with its own"
    engine.policy, state.level = 4, "l1"
    assert answers(policies, state) == ["4", "4", "2", "2", "0", "0", "0"] and engine.policy == 4


def test_one_shared_policy_is_asked_directly(tmp_path: Path) -> None:
    engine = Signed()
    policies, state = Policies(small_spec("curriculum=l2"), engine, tmp_path / "policies"), state_at("l2")
    policies.begin()
    policies.leave("l1", state)
    policies.enter("l2", state)
    with policies.answering(state) as answering:
        assert answering is engine and not (tmp_path / "policies").exists() and state.left == {}


def test_hard_first_keeps_the_hard_levels_policy(tmp_path: Path) -> None:
    engine = Signed()
    spec = small_spec("curriculum=l2", "curriculum.weights=snapshot", "curriculum.order=descending")
    policies, state = Policies(spec, engine, tmp_path / "policies"), state_at("l1")
    engine.policy = 1
    policies.leave("l2", state)
    engine.policy = 2
    assert answers(policies, state) == ["2", "2", "2", "2", "1", "1", "1"]


def test_parameters_are_counted_once_a_network(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    directory = tmp_path / "policy"
    directory.mkdir()
    assert count_parameters(small_spec().curriculum, tmp_path) is None, "an engine without such files"
    shards = {"a.safetensors": {"w": np.zeros((3, 4), np.float32)}, "b.safetensors": {"b": np.zeros(5, np.float16)}}
    shards["b.safetensors"]["lm_head.weight"] = np.zeros((2, 7), np.float16)
    for name, tensors in shards.items():
        save_file(tensors, directory / name, {"format": "pt"})
    counts = [small_spec(f"curriculum=l{n}", f"curriculum.weights={w}").curriculum for n, w in
              ((3, "shared"), (3, "snapshot"), (3, "separate"), (1, "separate"))]  # fmt: skip
    assert [count_parameters(c, tmp_path) for c in counts] == [31, 31, 93, 31]
    (directory / "config.json").write_text('{"tie_word_embeddings": true}')
    assert count_parameters(counts[0], tmp_path) == 17, "a tied head is the embedding"


def test_an_evaluation_leaves_the_real_policy_and_its_optimizer_bit_for_bit(tmp_path: Path) -> None:
    import torch
    from engines import backend as engine
    from engines import batch, settings

    backend = engine()
    spec = small_spec("curriculum=l2", "curriculum.weights=snapshot")
    policies = Policies(spec, backend, tmp_path / "policies")
    state = state_at("l2")
    policies.leave("l1", state)
    backend.update(batch(backend), settings())
    before = {k: v.clone() for k, v in backend.policy.state_dict().items()}
    moments = [s["exp_avg"].clone() for s in backend.optimizer.inner.state.values()]
    from eprli_lab.config.data import GeneratedSpec
    from eprli_lab.data.families import generate

    problems = generate(GeneratedSpec(family="mod10", problems=16), "heldout")
    with policies.answering(state) as answering:
        mixed = answering.sample(problems, Sampling(2, 40), seed=1)
    after = backend.policy.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(
        torch.equal(a, s["exp_avg"]) for a, s in zip(moments, backend.optimizer.inner.state.values(), strict=True)
    )
    easy = [p for p in problems if (p.difficulty or 0) <= 0.5]
    backend.load(tmp_path / "policies" / "level-l1")
    own = backend.sample(easy, Sampling(2, 40), seed=1)
    assert [m for m, p in zip(mixed, problems, strict=True) if p in easy] == own
