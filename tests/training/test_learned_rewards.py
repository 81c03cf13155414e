"""Process rewards that are learned, on the real engine: they act, learn, are saved, and are refused where they must."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import PROBLEMS, SPEC, backend
from helpers import small_spec
from loops import TINY, Killed, Mortal, small_levels, tables, trainer
from safetensors.torch import load_file

from eprli_lab.backends.build import build_backend, build_rewarder
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.implicit import FOLDER, ImplicitRewarder
from eprli_lab.config.implicit import ImplicitSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import NonFiniteError, UserError
from eprli_lab.records import Grade, Group, Sampling, Step
from eprli_lab.tracking import names
from eprli_lab.training.checkpoint import RunStore
from eprli_lab.training.preflight import check_logged
from eprli_lab.training.process import learn_rewards, step_auc
from eprli_lab.training.verify import verify

IMPLICIT = "algorithm.reward_density=implicit"


def rewarder(engine: Any = None, **change: Any) -> ImplicitRewarder:
    return ImplicitRewarder(engine or backend(), ImplicitSpec(**change), SPEC.optim)


def sampled(engine: Any, n: int = 8) -> list[Group]:
    """Four groups, graded by their text; of each at least one response is right and one is wrong."""
    out = []
    for problem, responses in zip(PROBLEMS, engine.sample(PROBLEMS, Sampling(n, 40), seed=1), strict=True):
        right = [r.text.endswith(f"{{{problem.answers[0]}}}") for r in responses]
        right[0], right[1] = True, False
        grades = tuple(Grade(c, "exact" if c else "wrong") for c in right)
        out.append(Group(problem, "l1", responses, grades, tuple(map(float, right)), 0, "admitted"))
    return out


def flat(groups: list[Group]) -> tuple[list[Any], list[bool]]:
    return [r for g in groups for r in g.responses], [x.correct for g in groups for x in g.grades]


@pytest.mark.slow
def test_it_starts_as_the_policy_and_learns_the_outcomes_of_a_batch() -> None:
    engine = backend()
    before = [p.detach().clone() for p in engine.policy.parameters()]
    responses, correct = flat(sampled(engine))
    model = rewarder(engine)
    assert model.rate == 2 * SPEC.optim.learning_rate
    assert all(x == 0.0 for one in model.score(responses) for x in one)
    terms = [model.observe(responses, correct) for _ in range(12)]
    assert terms[0].cross_entropy == pytest.approx(math.log(2)) and terms[0].accuracy == 0.5
    assert terms[-1].cross_entropy < 0.5 and terms[-1].accuracy > 0.8
    assert all(a.cross_entropy > b.cross_entropy for a, b in zip(terms[:6], terms[1:7], strict=True))
    scores = [sum(one) for one in model.score(responses)]
    outcome = [s > 0 for s in scores]
    assert sum(a == b for a, b in zip(outcome, correct, strict=True)) / len(correct) > 0.8
    assert all(torch.equal(a, b) for a, b in zip(engine.policy.parameters(), before, strict=True)), (
        "the policy is not it"
    )
    assert all(torch.equal(a, b) for a, b in zip(model.reference.parameters(), before, strict=True))


@pytest.mark.slow
def test_a_tokens_reward_is_beta_times_the_log_ratio_of_two_whole_forward_passes() -> None:
    engine = backend(microbatch_tokens=64)  # a part has two or three responses
    responses, correct = flat(sampled(engine, 4))
    model = rewarder(engine, beta=0.5, passes=2)
    model.observe(responses, correct)
    for response, rewards in list(zip(responses, model.score(responses), strict=True))[::5]:
        ids = torch.tensor([[*response.prompt_tokens, *response.tokens]])
        first = len(response.prompt_tokens) - 1
        with torch.no_grad():
            now, start = (
                m(ids).logits[0, first:-1].log_softmax(-1).gather(1, ids[0, first + 1 :, None])[:, 0]
                for m in (model.phi, model.reference)
            )
        assert rewards == pytest.approx((0.5 * (now - start)).tolist(), abs=2e-5)
        assert max(map(abs, rewards)) > 1e-3


@pytest.mark.slow
def test_parts_and_passes_of_the_update() -> None:
    """Microbatches change nothing but the last bits; n passes are n observations; a reference is shared with the KL."""
    engine = backend(kl=True)
    responses, correct = flat(sampled(engine, 4))
    whole, parts = rewarder(engine), rewarder(backend(microbatch_tokens=100))
    assert whole.reference is engine.reference and parts.reference is not parts.phi
    for model in (whole, parts):
        model.observe(responses, correct)
    for a, b in zip(whole.score(responses), parts.score(responses), strict=True):
        assert a == pytest.approx(b, abs=1e-4)
    twice, one_by_one = rewarder(passes=2), rewarder()
    terms = twice.observe(responses, correct)
    assert terms == one_by_one.observe(responses, correct)
    one_by_one.observe(responses, correct)
    assert twice.score(responses) == one_by_one.score(responses)


@pytest.mark.slow
def test_what_is_not_finite_ends_the_run_and_leaves_the_model() -> None:
    engine = backend()
    responses, correct = flat(sampled(engine, 4))
    model = rewarder(engine)
    head = model.phi.get_output_embeddings().weight
    with torch.no_grad():
        head[0, 0] = math.nan
    before = [p.detach().clone() for p in model.phi.parameters()]
    with pytest.raises(NonFiniteError, match="the process reward model's cross-entropy nan and gradient norm nan"):
        model.observe(responses, correct)
    pairs = zip(model.phi.parameters(), before, strict=True)
    assert all(torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_and_loaded_it_goes_on_as_it_would_have(tmp_path: Path, dtype: str) -> None:
    def engine() -> LocalBackend:
        model = SPEC.model.model_copy(update={"dtype": dtype})
        return LocalBackend(model, SPEC.optim, SPEC.backend, family="mod10", kl_reference=False, seed=0)

    first = engine()
    responses, correct = flat(sampled(first, 4))
    one, other = rewarder(first), rewarder(engine())
    one.observe(responses, correct)
    one.save(tmp_path)
    other.load(tmp_path)
    for _ in range(2):
        assert other.score(responses) == one.score(responses)
        assert other.observe(responses, correct) == one.observe(responses, correct)
    start, policy = dict(engine().policy.named_parameters()), dict(first.policy.named_parameters())
    assert all(torch.equal(policy[k], start[k]) for k in start), "the policy is another network"
    assert not all(torch.equal(p, start[k]) for k, p in one.phi.named_parameters())


class Scripted:
    """Rewards every token by its response's outcome, as it was observed last."""

    def observe(self, responses, correct):
        from eprli_lab.backends.rewarder import OutcomeTerms

        self.correct = correct
        return OutcomeTerms(0.25, 0.75)

    def score(self, responses):
        return [(1.0 if c else -1.0,) * len(r.tokens) for r, c in zip(responses, self.correct, strict=True)]


def test_what_is_logged_of_groups() -> None:
    from helpers import group

    steps = ((Step(1, True), Step(3, False)), (Step(2, False),))
    one = dataclasses.replace(group([True, False]), steps=steps)
    groups, values = learn_rewards(Scripted(), "l1", [one, group([False, True], tokens=3)])  # type: ignore[arg-type]
    assert [g.process for g in groups] == [((1.0,) * 5, (-1.0,) * 5), ((-1.0,) * 3, (1.0,) * 3)]
    # scores 2 (right), 2 and -3 (wrong): one tie and one pair in order
    assert values == {"process/l1/cross_entropy": 0.25, "process/l1/accuracy": 0.75, "process/l1/step_auc": 0.75}
    assert step_auc([group([True, False])]) is None


# --------------------------------------------------------------------------- runs


def made(spec: RunSpec, where: Path, wrap: Any = lambda engine: engine) -> tuple[Any, dict[tuple[int, str], float]]:
    engine = build_backend(spec, where)
    run, log = trainer(spec, where, wrap(engine)), {}
    run.rewarder = build_rewarder(spec, engine)
    run.log = lambda values, step: log.update({(step, k): v for k, v in values.items() if not names.is_of_the_clock(k)})
    return run, log


def small(*more: str, amount: int = 3000) -> RunSpec:
    return small_spec(*TINY, *small_levels(1), f"budget.amount={amount}", *more)


@pytest.mark.slow
def test_it_acts_from_the_first_update_on_and_not_at_all_with_a_beta_of_zero(tmp_path: Path) -> None:
    logs = {}
    arms = {"outcome": (), "zero": (IMPLICIT, "algorithm.implicit.beta=0"), "implicit": (IMPLICIT,)}
    for arm, more in arms.items():
        run, logs[arm] = made(small(*more), tmp_path / arm)
        run.run()
    learned = {k for k in logs["zero"] if k[1].startswith("process/")}
    assert {n for _, n in learned} >= {"process/l1/cross_entropy", "process/l1/accuracy"}
    assert {k: v for k, v in logs["zero"].items() if k not in learned} == logs["outcome"]
    assert tables(tmp_path / "zero") == tables(tmp_path / "outcome")
    zero, one = (
        {p.name: load_file(p) for p in (tmp_path / a).glob("checkpoint-*/policy/*.safetensors")}
        for a in arms
        if a != "implicit"
    )
    assert all(torch.equal(zero[f][k], one[f][k]) for f in zero for k in zero[f])
    entropies = [v for (_, n), v in logs["zero"].items() if n == "process/l1/cross_entropy"]
    assert entropies == [pytest.approx(math.log(2))] * len(entropies)

    first = min(step for step, n in logs["implicit"] if n == "policy/l1/loss")
    same = {k: v for k, v in logs["implicit"].items() if k[0] <= first and k[1].startswith(("train/", "buffer/"))}
    assert same == {k: logs["outcome"][k] for k in same}, "the first sampling is the same"
    assert logs["implicit"][first, "policy/l1/loss"] != logs["outcome"][first, "policy/l1/loss"]
    ledgers = [RunStore(tmp_path / a, "").rows("ledger") for a in ("implicit", "outcome")]
    assert ledgers[0] != ledgers[1]
    assert [r for r in ledgers[0] if r["step"] <= first] == [r for r in ledgers[1] if r["step"] <= first]
    aucs = [v for (_, n), v in logs["implicit"].items() if n == "process/l1/step_auc"]
    assert aucs and all(0.0 <= v <= 1.0 for v in aucs)


@pytest.mark.slow
def test_killed_at_any_call_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    spec = small(IMPLICIT, amount=2500)
    whole, log = made(spec, tmp_path / "whole")
    whole.run()
    last = whole.store.checkpoints()[-1]
    counted = Mortal(build_backend(spec, tmp_path))
    run, _ = made(spec, tmp_path / "counted", lambda engine: counted)
    run.run()
    saves = [i for i, (name, _) in enumerate(counted.calls, 1) if name == "save"]
    for after, at in ((False, saves[1]), (True, saves[2]), (False, saves[2] + 2)):
        where = tmp_path / f"killed-{at}-{after}"
        run, before = made(spec, where, lambda engine, at=at, after=after: Mortal(engine, at, after))
        with pytest.raises(Killed):
            run.run()
        resumed, parts = made(spec, where)
        resumed.run()
        assert before | parts == log, at
        assert tables(where) == tables(tmp_path / "whole")
        for file in sorted((last / FOLDER).glob("*.safetensors")):
            mine, theirs = load_file(file), load_file(where / last.name / FOLDER / file.name)
            assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine), file.name


@pytest.mark.slow
def test_a_checkpoint_covers_the_model_and_a_damaged_one_is_not_taken(tmp_path: Path) -> None:
    run, _ = made(small(IMPLICIT, amount=2500), tmp_path)
    run.run()
    newest = run.store.checkpoints()[-1]
    files = set(json.loads((newest / "manifest.json").read_text())["files"])
    expected = {f"{FOLDER}/{name}" for name in ("model.safetensors", "optimizer.safetensors", "optimizer.json")}
    assert expected <= files and "optimizer.safetensors" in files
    assert all(not v.fault for v in verify(tmp_path))
    weights = newest / FOLDER / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert any("model.safetensors is not what was written" in v.fault for v in verify(tmp_path))
    again, _ = made(small(IMPLICIT, amount=2500), tmp_path)
    again.run()
    assert all(not v.fault for v in verify(tmp_path)), "it went on from the older one"
    (newest / FOLDER / "optimizer.json").unlink()
    with pytest.raises(UserError, match=r"process/optimizer\.json cannot be read"):
        again.rewarder.load(newest)


def test_refused_by_name() -> None:
    for more, words in (
        (["+model.lora={rank: 4}"], "a second policy with all of its weights, and model.lora"),
        (["curriculum.weights=separate"], "curriculum.weights=separate starts another at each level"),
    ):
        with pytest.raises(UserError, match="algorithm.reward_density=implicit") as caught:
            small_spec(IMPLICIT, *more)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    assert small_spec(IMPLICIT, "curriculum.weights=snapshot").checks_steps
    assert small_spec("algorithm.implicit.beta=1").fingerprint() != small_spec().fingerprint()
    assert small_spec("algorithm.implicit.beta=0.05").fingerprint() == small_spec().fingerprint()


def test_it_needs_no_steps_and_logs_an_auc_only_of_families_that_have_some() -> None:
    program = small_spec(IMPLICIT, "data=program", "model=program")
    assert not program.checks_steps
    check_logged("objective", "process/l1/cross_entropy", program)
    check_logged("objective", "process/l1/step_auc", small_spec(IMPLICIT))
    for spec, name in (
        (program, "process/l1/step_auc"),
        (small_spec(), "process/l1/accuracy"),
        (small_spec(), "time/process"),
    ):
        with pytest.raises(UserError, match="no run logs"):
            check_logged("objective", name, spec)


@pytest.mark.slow
def test_with_hints_rewards_are_learned_and_no_step_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint gives the first steps, so the response has not all of them; nothing of them is needed here."""
    groups: list[Group] = []
    monkeypatch.setattr("eprli_lab.training.process.step_auc", groups.extend)
    run, log = made(small(IMPLICIT, "curriculum.levels.l1.hint.fraction=0.5", amount=1500), tmp_path)
    run.run()
    assert "process/l1/cross_entropy" in {n for _, n in log}
    assert {bool(g.steps) for g in groups if g.hinted == 0} <= {True}
    assert {bool(g.steps) for g in groups if g.hinted > 0} == {False}
