"""bfloat16 on the local engine: the policy computes in it, the optimizer keeps float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engines import PROBLEMS, SPEC, batch, same, settings, weights
from safetensors.torch import load_file, save_file

from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.errors import UserError
from eprli_lab.records import Sampling


def engine(dtype: str = "bfloat16", kl: bool = False) -> LocalBackend:
    model = SPEC.model.model_copy(update={"dtype": dtype})
    return LocalBackend(model, SPEC.optim, SPEC.backend, family="mod10", kl_reference=kl, seed=0)


def moved(before: list[torch.Tensor], after: list[torch.Tensor]) -> float:
    """Share of the numbers that changed."""
    changed = sum(int((a != b).sum()) for a, b in zip(before, after, strict=True))
    return changed / sum(a.numel() for a in before)


def masters(backend: LocalBackend) -> list[torch.Tensor]:
    return [m.detach().clone() for m in backend.optimizer.masters]


def test_small_steps_arrive_in_the_masters_where_bfloat16_alone_would_lose_them():
    backend = engine()
    assert {p.dtype for p in backend.policy.parameters()} == {torch.bfloat16}
    start = masters(backend)
    assert {m.dtype for m in start} == {torch.float32} and same(start, [w.float() for w in weights(backend)])
    plain = [w.clone().requires_grad_() for w in weights(backend)]  # stepped in bfloat16, as without masters
    before = [w.detach().clone() for w in plain]
    optimizer = torch.optim.AdamW(plain, lr=1e-6, betas=SPEC.optim.betas, weight_decay=0.0)
    step = backend.optimizer.step

    def both(rate: float) -> None:
        for p, m in zip(plain, backend.optimizer.masters, strict=True):
            assert m.grad is not None and m.grad.dtype == torch.float32
            p.grad = m.grad.to(torch.bfloat16)
        optimizer.step()
        step(rate)

    backend.optimizer.step = both  # type: ignore[method-assign]
    for update in range(5):
        backend.update(batch(backend, update), settings(learning_rate=1e-6))
    assert moved(start, masters(backend)) > 0.95
    assert moved(before, [p.detach() for p in plain]) < 0.05
    assert same(weights(backend), [m.to(torch.bfloat16) for m in masters(backend)])


def test_in_float32_the_weights_are_their_own_masters():
    backend = engine("float32")
    assert all(m is p for m, p in zip(backend.optimizer.masters, backend.policy.parameters(), strict=True))


def test_saved_and_loaded_goes_on_bit_for_bit(tmp_path: Path):
    backend, s = engine(kl=True), settings(kl_coef=0.1, inner_iterations=2, minibatches=2, learning_rate=1e-6)
    backend.update(batch(backend, 1), s)
    backend.save(tmp_path)
    assert any(k.endswith(".master") for k in load_file(tmp_path / "optimizer.safetensors"))
    at_save = masters(backend)
    assert not same(at_save, [w.float() for w in weights(backend)])  # what the policy's file alone would lose
    expected = backend.update(batch(backend, 2), s)
    other = engine(kl=True)
    other.load(tmp_path)
    assert same(masters(other), at_save)
    assert other.update(batch(other, 2), s) == expected
    assert same(masters(backend), masters(other)) and same(weights(backend), weights(other))


def test_a_checkpoint_of_the_other_precision_is_refused(tmp_path: Path):
    engine("float32").save(tmp_path)
    with pytest.raises(UserError, match=r"another model\.dtype"):
        engine().load(tmp_path)


def test_a_checkpoint_of_another_model_is_refused_by_its_masters(tmp_path: Path):
    backend = engine()
    backend.save(tmp_path)
    file = tmp_path / "optimizer.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "0.master": tensors["0.master"][:3].contiguous()}, file)
    with pytest.raises(UserError, match="that of another model"):
        backend.load(tmp_path)


def test_microbatches_sum_their_gradients_in_float32():
    one, many = engine(), engine()
    many.spec = many.spec.model_copy(update={"microbatch_tokens": 1})  # one response at a time
    work = batch(one)
    a, b = one.update(work, settings()), many.update(work, settings())
    assert a.grad_norm == pytest.approx(b.grad_norm, rel=0.02)


def test_sampler_and_trainer_agree_as_far_as_bfloat16_goes():
    backend = engine()
    terms = backend.update(batch(backend), settings())
    assert terms.mismatch_kl is not None and 0 <= terms.mismatch_kl < 1e-3
    assert terms.mismatch_max is not None and terms.mismatch_max < 0.3
    texts = [r.text for g in backend.sample(PROBLEMS, Sampling(8, 60), seed=0) for r in g]
    assert sum("\\boxed{" in t for t in texts) > 20  # still the warm-started policy
