"""One policy a level: who answers what, and that the policy in training is untouched by an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import small_spec

from eprli_lab.records import Problem, Response, Sampling
from eprli_lab.training.policies import Policies


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


def answers(policies: Policies, level: str | None) -> list[str]:
    out = policies.answering(level).sample(PROBLEMS, Sampling(2, 8), seed=3)
    assert [r[0].text.split(":")[1] for r in out] == [p.id for p in PROBLEMS] and all(len(r) == 2 for r in out)
    return [r[0].text.split(":")[0] for r in out]


def test_a_problem_is_answered_by_its_levels_policy(tmp_path: Path) -> None:
    engine, spec = Signed(), small_spec("curriculum=l3", "curriculum.weights=per_level")  # Q: .25, .5, 1
    policies = Policies(spec, engine, tmp_path / "policies")
    assert answers(policies, None) == ["0"] * 7, "before anything was trained"
    engine.policy = 1
    assert answers(policies, "l1") == ["1"] * 7
    policies.leave("l1")
    engine.policy = 2
    assert answers(policies, "l2") == ["1", "1", "2", "2", "2", "2", "2"]
    policies.leave("l2")
    engine.policy = 3
    assert answers(policies, "l3") == ["1", "1", "2", "2", "3", "3", "3"]
    assert engine.policy == 3 and not (tmp_path / "policies" / "current").exists()
    assert answers(policies, "l1") == ["3"] * 7, "what a run left behind that was resumed before it counts for nothing"


def test_one_shared_policy_is_asked_directly(tmp_path: Path) -> None:
    engine = Signed()
    policies = Policies(small_spec("curriculum=l2"), engine, tmp_path / "policies")
    policies.leave("l1")
    assert policies.answering("l2") is engine and not (tmp_path / "policies").exists()


def test_hard_first_keeps_the_hard_levels_policy(tmp_path: Path) -> None:
    engine = Signed()
    spec = small_spec("curriculum=l2", "curriculum.weights=per_level", "curriculum.order=descending")
    policies = Policies(spec, engine, tmp_path / "policies")
    engine.policy = 1
    policies.leave("l2")
    engine.policy = 2
    assert answers(policies, "l1") == ["2", "2", "2", "2", "1", "1", "1"]


@pytest.mark.slow
def test_an_evaluation_leaves_the_real_policy_and_its_optimizer_bit_for_bit(tmp_path: Path) -> None:
    import torch
    from engines import backend as engine
    from engines import batch, settings

    backend = engine()
    spec = small_spec("curriculum=l2", "curriculum.weights=per_level")
    policies = Policies(spec, backend, tmp_path / "policies")
    policies.leave("l1")
    backend.update(batch(backend), settings())
    before = {k: v.clone() for k, v in backend.policy.state_dict().items()}
    moments = [s["exp_avg"].clone() for s in backend.optimizer.inner.state.values()]
    from eprli_lab.config.data import GeneratedSpec
    from eprli_lab.data.families import generate

    problems = generate(GeneratedSpec(family="mod10", problems=16), "heldout")
    mixed = policies.answering("l2").sample(problems, Sampling(2, 40), seed=1)
    after = backend.policy.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(
        torch.equal(a, s["exp_avg"]) for a, s in zip(moments, backend.optimizer.inner.state.values(), strict=True)
    )
    easy = [p for p in problems if (p.difficulty or 0) <= 0.5]
    backend.load(tmp_path / "policies" / "l1")
    own = backend.sample(easy, Sampling(2, 40), seed=1)
    assert [m for m, p in zip(mixed, problems, strict=True) if p in easy] == own
