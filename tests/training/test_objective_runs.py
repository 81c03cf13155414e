"""Whole small runs: what an objective, advantage, bonus or correction changes, and from when on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import small_spec
from loops import TINY, run, small_levels

from eprli_lab.backends.build import build_backend

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

STEPS = ["curriculum.levels.l1.inner_iterations=2", "curriculum.levels.l1.minibatches=2"]
COMMON = ("model=ladder", "budget.amount=2500", *small_levels(1), "evaluation.curve_points=0")


def ran(where: Path, *overrides: str) -> tuple[list[dict[str, object]], dict[tuple[int, str], float]]:
    """(ledger, what was logged)."""
    spec = small_spec(*TINY, *COMMON, *overrides)
    log = run(spec, where, build_backend(spec, where))
    return [json.loads(line) for line in (where / "ledger.jsonl").read_text().splitlines()], log


def of_policy(log: dict[tuple[int, str], float], quantity: str) -> list[float]:
    return [value for (_, name), value in sorted(log.items()) if name == f"policy/l1/{quantity}"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory):
    return ran(tmp_path_factory.mktemp("base"), *STEPS)


ARMS = [
    ["algorithm.objective=gspo", "algorithm.aggregation=sequence_mean", "curriculum.levels.l1.clip={low:0.05,high:0.05}"],
    ["algorithm.objective=cispo"],
    ["algorithm.objective=dppo_tv", "curriculum.levels.l1.clip={low:0.05,high:0.05}"],
    ["algorithm.objective=clip_cov", "algorithm.covariance.clip_share=0.02"],
    ["algorithm.objective=kl_cov"],
    ["algorithm.advantage=max_rl"],
    ["algorithm.advantage=batch_norm"],
    ["algorithm.advantage=pass_at_k"],
    ["algorithm.entropy_coef=0.01"],
    ["algorithm.entropy_target=5.0", "algorithm.entropy_step=0.01"],
]  # fmt: skip


@pytest.mark.parametrize("overrides", ARMS, ids=[a[0].partition(".")[2] for a in ARMS])
def test_the_groups_differ_after_the_first_update_and_not_before(base, overrides: list[str], tmp_path: Path):
    ledger, log = ran(tmp_path, *STEPS, *overrides)
    first = [row for row in base[0] if row["step"] == 1]
    assert ledger[: len(first)] == first and ledger != base[0]
    assert not of_policy(log, "is_weight/max")


def test_settings_at_their_neutral_values_change_nothing(base, tmp_path: Path):
    neutral = ["algorithm.entropy_coef=0.0", "algorithm.is_correction=none", "algorithm.objective=ppo_clip"]
    ledger, log = ran(tmp_path, *STEPS, *neutral)
    assert ledger == base[0] and of_policy(log, "loss") == of_policy(base[1], "loss")


def test_carried_groups_are_what_a_correction_acts_on(tmp_path: Path):
    """A surplus that is carried was sampled by older weights; fresh groups have weights of 1."""
    few = ["curriculum.levels.l1.buffer_groups=1", "curriculum.levels.l1.problems_per_round=8"]
    _, carried = ran(tmp_path / "carried", *few, "algorithm.is_correction=tis")
    _, fresh = ran(
        tmp_path / "fresh", *few, "algorithm.is_correction=tis", "curriculum.levels.l1.admission.surplus=drop"
    )
    assert max(of_policy(carried, "is_weight/max")) > 1.01
    assert max(of_policy(fresh, "is_weight/max")) < 1.001 and max(of_policy(fresh, "is_weight/cut")) == 0.0


def test_a_correction_changes_what_follows_an_update_on_carried_groups(tmp_path: Path):
    few = ["curriculum.levels.l1.buffer_groups=1", "curriculum.levels.l1.problems_per_round=8"]
    plain, _ = ran(tmp_path / "none", *few)
    first = [row for row in plain if row["step"] == 1]
    for kind in (["tis", "is_cap=1.0"], ["icepop", "is_low=0.99", "is_high=1.01"]):
        words = [f"algorithm.is_correction={kind[0]}", *(f"algorithm.{k}" for k in kind[1:])]
        ledger, log = ran(tmp_path / kind[0], *few, *words)
        assert ledger[: len(first)] == first and ledger != plain, kind
        assert max(of_policy(log, "is_weight/cut")) > 0.0, kind
