"""The local engine on the shipped policy: exact loss, resume, failure, checkpoints that open anywhere."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from engines import SPEC, backend, batch, same, settings, weights
from safetensors.torch import load_file, save_file

from eprli_lab.backends.local import engine as local_engine
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.model import recipe_fingerprint
from eprli_lab.backends.local.packing import pack
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import GeneratedSpec, LoraSpec, ModelSpec
from eprli_lab.config.paths import ASSETS_DIR
from eprli_lab.errors import NonFiniteError, UserError
from eprli_lab.records import Batch, UpdateSettings

pytestmark = pytest.mark.slow  # one of many


def by_hand(engine: LocalBackend, work: Batch, s: UpdateSettings) -> float:
    """The loss one response at a time, without packing, from the equations."""
    rows = []
    for r, advantages in zip(work.responses, work.advantages, strict=True):
        ids = torch.tensor([[*r.prompt_tokens, *r.tokens]])
        logits = engine.policy(input_ids=ids, use_cache=False).logits[0, len(r.prompt_tokens) - 1 : -1]
        new = F.log_softmax(logits / s.temperature, -1).gather(1, torch.tensor(r.tokens)[:, None])[:, 0]
        ratio = (new - torch.tensor(r.logprobs)).exp()
        a = torch.tensor(advantages)
        rows.append(-torch.minimum(ratio * a, ratio.clamp(1 - s.clip_low, 1 + s.clip_high) * a))
    if s.aggregation == "token_mean":
        return torch.cat(rows).mean().item()
    if s.aggregation == "sequence_mean":
        return torch.stack([r.mean() for r in rows]).mean().item()
    return (torch.cat(rows).sum() / (len(rows) * s.constant_tokens)).item()


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
@pytest.mark.parametrize("microbatch", [16384, 200])
def test_packed_and_microbatched_loss_is_the_loss(aggregation, microbatch):
    engine = backend(microbatch_tokens=microbatch)
    work = batch(engine, advantage=lambda i: 0.3 + (-1.0) ** i)
    s = settings(aggregation=aggregation)
    expected = by_hand(engine, work, s)
    assert engine.update(work, s).loss == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("kind", ["plain", "kl", "lora"])
def test_shared_prompts_change_an_update_by_rounding_alone(kind, monkeypatch):
    def own_prompts(model, responses, row_tokens):
        rows = pack([[*r.prompt_tokens, *r.tokens] for r in responses], row_tokens)
        starts = [o + len(r.prompt_tokens) for o, r in zip(rows.offsets, responses, strict=True)]
        index = [torch.arange(s - 1, s + len(r.tokens) - 1) for s, r in zip(starts, responses, strict=True)]
        return rows, torch.cat(index), torch.tensor([t for r in responses for t in r.tokens])

    def moved() -> LocalBackend:
        spec = SPEC.model.model_copy(update={"lora": LoraSpec(rank=4, alpha=8) if kind == "lora" else None})
        return LocalBackend(spec, SPEC.optim, SPEC.backend, family="mod10", kl_reference=kind != "plain", seed=0)

    work = batch(backend(), 1)
    s = settings(kl_coef=0.1 if kind != "plain" else 0.0, inner_iterations=2, learning_rate=1e-3)
    shared = moved().update(work, s)
    monkeypatch.setattr(local_engine, "response_rows", own_prompts)
    alone = moved().update(work, s)
    for name in ("loss", "entropy", "grad_norm", "approx_kl", "mismatch_max", "kl_ref"):
        a, b = getattr(shared, name), getattr(alone, name)
        assert a == b is None or a == pytest.approx(b, rel=1e-3, abs=2e-6), name
    assert shared.kl_ref is None or shared.kl_ref > 1e-6


def test_microbatches_give_the_gradient_of_the_whole():
    one, many = backend(), backend(microbatch_tokens=150)
    work = batch(one)
    a, b = one.update(work, settings()), many.update(work, settings())
    assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)


def test_sampler_and_trainer_agree_on_the_shipped_policy():
    engine = backend()
    terms = engine.update(batch(engine), settings())
    assert terms.mismatch_max < 1e-5
    assert abs(terms.mismatch_kl) < 1e-9
    assert terms.approx_kl == pytest.approx(0.0, abs=1e-9)
    assert terms.clip_fraction_low == terms.clip_fraction_high == 0.0


def test_zero_advantages_move_nothing():
    engine = backend()
    before = weights(engine)
    engine.update(batch(engine, advantage=lambda i: 0.0), settings())
    assert same(before, weights(engine))


def test_clip_bounds_bind_after_the_first_pass_and_change_the_weights():
    tight, loose = backend(), backend()
    work = batch(tight)
    a = tight.update(work, settings(inner_iterations=4, clip_low=0.01, clip_high=0.01))
    b = loose.update(work, settings(inner_iterations=4, clip_low=0.9, clip_high=9.0))
    assert a.optimizer_steps == b.optimizer_steps == 4
    assert a.clip_fraction_high > 0.1 and a.clip_fraction_low > 0.1
    assert b.clip_fraction_high < 0.02 and b.clip_fraction_low < 0.02
    assert not same(weights(tight), weights(loose))


def test_optimizer_steps_are_passes_times_minibatches():
    engine = backend()
    assert engine.update(batch(engine), settings(inner_iterations=2, minibatches=4)).optimizer_steps == 8


def test_reference_kl_starts_at_zero_and_grows():
    engine = backend(kl=True)
    assert engine.update(batch(engine), settings(kl_coef=0.1)).kl_ref == pytest.approx(0.0, abs=1e-9)
    assert engine.update(batch(engine, 2), settings(kl_coef=0.1)).kl_ref > 1e-5
    assert backend().update(batch(backend()), settings()).kl_ref is None


def test_same_seed_same_everything():
    a, b = backend(), backend()
    assert batch(a, 9) == batch(b, 9)
    assert a.update(batch(a, 9), settings(minibatches=2)) == b.update(batch(b, 9), settings(minibatches=2))
    assert same(weights(a), weights(b))
    assert batch(a, 9) != batch(a, 10)


def test_saved_and_loaded_goes_on_bit_for_bit(tmp_path):
    engine = backend(kl=True)
    s = settings(kl_coef=0.1, inner_iterations=2, minibatches=2)
    engine.update(batch(engine, 1), s)
    engine.save(tmp_path)
    expected = engine.update(batch(engine, 2), s)
    other = backend(kl=True)
    other.load(tmp_path)
    assert other.update(batch(other, 2), s) == expected
    assert same(weights(engine), weights(other))
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pt"))


def test_nan_leaves_weights_and_optimizer_as_they_were(tmp_path):
    engine = backend()
    engine.update(batch(engine), settings())
    before, moments = weights(engine), engine.optimizer.inner.state_dict()["state"][0]["exp_avg"].clone()
    with pytest.raises(NonFiniteError, match="not both finite"):
        engine.update(batch(engine, 2, advantage=lambda i: float("nan")), settings())
    assert same(before, weights(engine))
    assert torch.equal(moments, engine.optimizer.inner.state_dict()["state"][0]["exp_avg"])
    assert {float(state["step"]) for state in engine.optimizer.inner.state_dict()["state"].values()} == {1.0}


def test_a_checkpoint_of_another_shape_is_refused_by_name(tmp_path):
    engine = backend()
    engine.update(batch(engine), settings())
    engine.save(tmp_path)
    file = tmp_path / "policy" / "model.safetensors"
    tensors = load_file(file)
    name = next(k for k in tensors if "q_proj" in k)
    save_file({**tensors, name: tensors[name][:8].contiguous()}, file)
    before = weights(engine)
    with pytest.raises(UserError) as error:
        engine.load(tmp_path)
    assert name in str(error.value) and "(8, 64)" in str(error.value) and "(64, 64)" in str(error.value)
    assert same(before, weights(engine))


def test_the_checkpoint_opens_anywhere(tmp_path):
    engine = backend()
    engine.save(tmp_path)
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T;"
        "d = sys.argv[1]; m, t = M.from_pretrained(d), T.from_pretrained(d);"
        "ids = torch.tensor([[t.bos_token_id, *t.encode('3a+4?')]]);"
        "print('eprli_lab' in sys.modules, t.decode(ids[0, 1:]), t.decode(m.generate(ids, max_new_tokens=20, do_sample=False)[0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "policy")], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.startswith("False 3a+4? "), done.stderr
    assert "\\boxed{" in done.stdout
    again = ModelSpec(name="again", path=str(tmp_path / "policy"))
    loaded = LocalBackend(again, SPEC.optim, SPEC.backend, family=None, kl_reference=False, seed=0)
    assert batch(loaded, 5) == batch(engine, 5)


@pytest.mark.parametrize("path", ["/nonexistent/model", "."])
def test_a_path_without_a_checkpoint_is_refused(path):
    with pytest.raises(UserError, match=r"model.path: .* holds no checkpoint"):
        LocalBackend(ModelSpec(name="x", path=path), SPEC.optim, SPEC.backend, family=None, kl_reference=False, seed=0)


@pytest.mark.parametrize("family", ["mod10", "int"])
def test_shipped_weights_are_what_their_provenance_says(family):
    model = compose_spec([f"model={family}", f"data={family}"]).model
    provenance = json.loads((ASSETS_DIR / family / "provenance.json").read_text())
    digest = hashlib.sha256((ASSETS_DIR / family / "model.safetensors").read_bytes()).hexdigest()
    assert provenance["sha256"] == digest
    assert provenance["fingerprint"] == recipe_fingerprint(model, family)
    for suite, (low, high) in {"easy": (0.4, 0.65), "medium": (0.2, 0.4), "hard": (0.1, 0.2)}.items():
        assert low <= provenance["start_accuracy"][suite] <= high
    assert sum(p.stat().st_size for p in ASSETS_DIR.rglob("*")) < 6_000_000


def test_start_accuracy_measured_again():
    from eprli_lab.backends.local.warmstart import start_accuracy

    provenance = json.loads((ASSETS_DIR / "mod10" / "provenance.json").read_text())
    again = start_accuracy(SPEC.model, "mod10", ASSETS_DIR / "mod10")
    assert again == pytest.approx(provenance["start_accuracy"], abs=0.05)  # other processors sample other tokens


def test_the_recipe_is_reproducible():
    from eprli_lab.backends.local.warmstart import train_warmstart

    assert SPEC.model.warmstart is not None
    short = SPEC.model.model_copy(
        update={"warmstart": SPEC.model.warmstart.model_copy(update={"steps": 6, "noisy_steps": 2})}
    )
    a, b = (list(train_warmstart(short, "mod10", progress=False).parameters()) for _ in range(2))
    assert same(a, b)


def test_another_config_is_warm_started_once_and_cached(tmp_path, monkeypatch, capsys):
    from eprli_lab.backends.local.policy import load_policy

    monkeypatch.setenv("EPRLI_LAB_CACHE", str(tmp_path))
    assert SPEC.model.warmstart is not None
    short = SPEC.model.warmstart.model_copy(update={"steps": 3, "noisy_steps": 1, "batch": 8})
    model = SPEC.model.model_copy(update={"name": "short", "warmstart": short})
    first, _ = load_policy(model, "mod10")
    assert "making it once" in capsys.readouterr().out
    second, _ = load_policy(model, "mod10")
    assert "making it" not in capsys.readouterr().out
    assert same(first.parameters(), second.parameters())
    assert [p.name for p in Path(tmp_path, "warmstart").iterdir() if p.is_dir()] == [recipe_fingerprint(model, "mod10")]


def test_packing_never_mixes_sequences():
    engine = backend()
    long = GeneratedSpec(family="mod10", operations=(1, 8), problems=40)
    from eprli_lab.data.families import generate

    rows = [engine.adapter.prompt(p) for p in generate(long, "heldout")]
    packed = pack(rows, 50)
    logits = engine.policy(
        input_ids=packed.ids, position_ids=packed.positions, attention_mask=packed.mask, use_cache=False
    ).logits.reshape(-1, 32)
    for offset, row in zip(packed.offsets, rows, strict=True):
        assert packed.ids.flatten()[offset : offset + len(row)].tolist() == row
        alone = engine.policy(input_ids=torch.tensor([row]), use_cache=False).logits[0]
        assert torch.allclose(logits[offset : offset + len(row)], alone, atol=1e-4)
