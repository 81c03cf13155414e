"""Real Ray, real OpenRLHF, real DeepSpeed, on CPU: where OpenRLHF is installed (docs/cluster.md, "Rehearse the job on CPU")."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sessions import Session, settings

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")

from test_openrlhf_faults import FAULTS, mend, plant

from eprli_lab.backends.build import build_backend
from eprli_lab.config.compose import compose_spec
from eprli_lab.errors import UserError
from eprli_lab.records import Sampling
from eprli_lab.training.doctor_engine import MISMATCH, _Engine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    made = Session(tmp_path_factory.mktemp("session"))
    yield made
    made.backend.close()


def test_engines_hold_the_actors_weights_after_every_broadcast(session: Session) -> None:
    seen = []
    for update in range(3):
        actor, (engine,) = session.digests()
        assert actor == engine and len(actor) == 24, "the engine fuses q, k, v and gate, up, and pads the vocabulary"
        seen.append(actor)
        session.backend.update(session.batch(update), settings(session.spec))
    assert seen[0] != seen[1] != seen[2], "the weights moved"


def test_a_network_of_a_level_begins_as_the_initial_policy_with_a_fresh_optimizer(session: Session) -> None:
    """What `curriculum.weights: separate` does on entering a level: the state from before the first update."""
    session.backend.load(session.start)
    initial, _ = session.digests()
    work = session.batch(21)
    first = session.backend.update(work, settings(session.spec))
    moved, _ = session.digests()
    session.backend.update(session.batch(22), settings(session.spec))
    session.backend.load(session.start)
    trainer, (engine,) = session.digests()
    assert trainer == engine == initial != moved
    again = session.backend.update(work, settings(session.spec))
    assert replace(again, phases=()) == replace(first, phases=()), "moments or steps of the other network were left"
    assert session.digests()[0] == moved


def test_a_hint_is_a_part_of_the_prompt_here_too(session: Session) -> None:
    hinted = [replace(p, hint="a7b4") for p in session.problems[:2]]
    plain = session.backend.sample(session.problems[:2], Sampling(4, 20), seed=3)
    for group, bare in zip(session.backend.sample(hinted, Sampling(4, 20), seed=3), plain, strict=True):
        ids = session.backend.tokenizer.encode("a7b4", add_special_tokens=False)
        for response in group:
            assert list(response.prompt_tokens) == [*bare[0].prompt_tokens, *ids]
            assert not response.text.startswith("a7b4") and len(response.logprobs) == len(response.tokens) <= 20


def test_the_same_seed_gives_the_same_samples_in_any_company(session: Session) -> None:
    def adapter(count: int, seed: int) -> list[list[tuple[int, ...]]]:
        got = session.backend.sample(session.problems[:count], Sampling(4, 20), seed=seed)
        return [[r.tokens for r in g] for g in got]

    assert adapter(6, 5) == adapter(6, 5)
    assert adapter(6, 5) != adapter(6, 6)
    assert all(len(t) <= 20 for g in adapter(6, 5) for t in g)


def test_sampler_and_trainer_agree_as_far_as_bfloat16_goes(session: Session) -> None:
    terms = session.backend.update(session.batch(11), settings(session.spec))
    assert terms.mismatch_kl is not None  # 1.3e-4 was seen once; docs/cluster.md has 2.6e-5 to 4.5e-4
    assert 0.0 < terms.mismatch_kl < MISMATCH["bfloat16"]
    assert terms.clip_fraction_low == terms.clip_fraction_high == 0.0, "one step on fresh samples: nothing to clip"
    assert terms.optimizer_steps == 1 and 0.0 < terms.grad_norm < 10.0 and 0.0 < terms.entropy < 3.0
    assert {name for name, _ in terms.phases} == {"rollout", "train", "broadcast"}


def test_a_save_is_restored_bit_for_bit_and_training_goes_on_as_if_it_had_not_been(
    session: Session, tmp_path: Path
) -> None:
    session.backend.save(tmp_path)
    saved = session.digests()
    work, how = session.batch(3), settings(session.spec, inner_iterations=2)
    first = session.backend.update(work, how)
    after = session.digests()
    session.backend.load(tmp_path)
    assert session.digests() == saved
    again = session.backend.update(work, how)
    assert session.digests() == after and replace(again, phases=()) == replace(first, phases=())
    assert {p.name for p in tmp_path.iterdir()} == {
        "policy",
        "optimizer-0.json",
        "optimizer-0.safetensors",
    }
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.bin")), "no pickle"


def test_a_checkpoint_of_another_layout_is_refused_in_one_sentence(session: Session, tmp_path: Path) -> None:
    session.backend.save(tmp_path)
    content = json.loads((tmp_path / "optimizer-0.json").read_text())
    content["layout"]["ranks"] = 8
    (tmp_path / "optimizer-0.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="was saved as .*'ranks': 8") as caught:
        session.backend.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clip_low": 0.11, "clip_high": 0.37}, {"clip_low": 0.11, "clip_high": 0.37}),
        ({"inner_iterations": 3}, {"optimizer_steps": 3}),
        ({"minibatches": 2, "inner_iterations": 2}, {"optimizer_steps": 4}),
        ({"aggregation": "sequence_mean"}, {"token_level": False}),
        ({"aggregation": "constant"}, {"token_level": True}),
        ({"learning_rate": 3e-4}, {"learning_rate": 3e-4}),
    ],
    ids=str,
)
def test_every_setting_of_an_update_arrives_in_the_running_actor(session: Session, changes: Any, expected: Any) -> None:
    session.backend.update(session.batch(7), settings(session.spec, **changes))
    found = session.in_force()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value), key


def test_tight_bounds_clip_in_the_second_pass_and_wide_ones_do_not(session: Session, tmp_path: Path) -> None:
    session.backend.save(tmp_path)
    clipped = {}
    for name, bound in (("tight", 0.001), ("wide", 0.9)):
        session.backend.load(tmp_path)
        how = settings(session.spec, clip_low=bound, clip_high=bound, inner_iterations=2)
        terms = session.backend.update(session.batch(8), how)
        clipped[name] = terms.clip_fraction_low + terms.clip_fraction_high
    assert clipped["tight"] > 0.2 and clipped["wide"] < 0.02


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_one_update_is_the_local_engines_update(session: Session, tmp_path: Path, aggregation: str) -> None:
    """The same batch from the same weights: loss, gradient and entropy agree to bfloat16."""
    session.backend.load(session.start)
    policy = f"model.path={session.start / 'policy'}"
    local: Any = build_backend(compose_spec(["model=path", policy, "optim.learning_rate=1e-3"]), tmp_path)
    work, how = session.batch(9), settings(session.spec, aggregation=aggregation)
    mine, theirs = local.update(work, how), session.backend.update(work, how)
    assert theirs.loss == pytest.approx(mine.loss, abs=2e-3)
    assert theirs.grad_norm == pytest.approx(mine.grad_norm, rel=0.05)
    assert theirs.entropy == pytest.approx(mine.entropy, rel=0.02)


def test_a_prompt_that_is_too_long_is_refused(session: Session) -> None:
    long = replace(session.problems[0], prompt="1+" * 100 + "1?")
    with pytest.raises(UserError, match=r"backend.prompt_tokens: the prompt of problem .* more than 64"):
        list(session.backend.sample([long], Sampling(2, 4), seed=0))


# -------------------------------------------------------------------------------- what the doctor says of this engine


def red(session: Session, directory: Path) -> list[str]:
    """Names of the checks of the running engine that found a fault."""
    found = list(_Engine(session.spec, session.backend, session.problems[:8], directory).checks())
    assert all(f.advice for f in found if f.verdict == "FAULT")
    return [f.check for f in found if f.verdict == "FAULT"]


def test_a_sound_engine_has_no_red_row(session: Session, tmp_path: Path) -> None:
    assert red(session, tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "row"),
    [("one of n samples", "whole groups"), ("another temperature", "mismatch")],
    ids=["samples", "colder"],
)
def test_a_fault_of_the_engine_is_a_red_row(session: Session, tmp_path: Path, fault: str, row: str) -> None:
    (engine,) = session.backend.engines.rollout
    plant(engine, FAULTS[fault][0])
    try:
        assert red(session, tmp_path)[0] == row
    finally:
        plant(engine, mend)


def test_a_broadcast_that_does_nothing_is_a_red_row(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(session.backend, "broadcast", lambda: None)
        assert "weights arrive" in red(session, tmp_path)
    session.backend.broadcast()
