"""Objectives, the entropy bonus and the correction in the local engine: seen to act, and not to where they must not."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from engines import backend, batch, same, settings, weights

from eprli_lab.algorithm.loss import entropy
from eprli_lab.backends.batching import minibatches
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.heads import Head, entropy_slope, token_scores
from eprli_lab.records import Batch, CorrectionSettings, CovarianceSettings, LossTerms, UpdateSettings

pytestmark = pytest.mark.slow  # one of many

TIS, ICEPOP = CorrectionSettings("tis"), CorrectionSettings("icepop")


def updated(work: Batch, **change: object) -> tuple[LossTerms, list[torch.Tensor]]:
    """One update of a fresh engine; its terms, and the weights behind it."""
    engine = backend()
    terms = engine.update(work, settings(**change))
    return terms, weights(engine)


def with_logprobs(work: Batch, values: list[torch.Tensor]) -> Batch:
    """The batch as if the sampler had said these log-probabilities."""
    made = [dataclasses.replace(r, logprobs=tuple(v.tolist())) for r, v in zip(work.responses, values, strict=True)]
    return dataclasses.replace(work, responses=tuple(made))


def of_the_trainer(engine: LocalBackend, work: Batch, s: UpdateSettings) -> list[torch.Tensor]:
    import random

    found = engine._before(work, minibatches(work, s.minibatches, random.Random(s.seed)), s)
    return [found[i] for i in range(len(work.responses))]


# ------------------------------------------------------------------------------------------------ objectives


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("gspo", {"clip_low": 3e-3, "clip_high": 4e-3}),
        ("cispo", {}),
        ("dppo_tv", {}),
        ("clip_cov", {"covariance": CovarianceSettings(clip_share=0.05, clip_low=0.5)}),
        ("kl_cov", {"covariance": CovarianceSettings(kl_share=0.05)}),
    ],
)
def test_every_objective_acts_after_the_first_step(name: str, more: dict[str, object]):
    work = batch(backend(), advantage=lambda i: 0.3 + (-1.0) ** i)
    common = {"inner_iterations": 3, "aggregation": "sequence_mean"}
    base, plain = updated(work, **common, **more)
    terms, changed = updated(work, **common, **more, objective=name)
    assert not same(plain, changed)
    again, repeated = updated(work, **common, **more, objective=name)
    assert again == terms and same(changed, repeated)
    if name in ("gspo", "dppo_tv"):
        assert terms.clip_fraction_low + terms.clip_fraction_high > 0
    if name == "kl_cov":
        assert terms.clip_fraction_low == terms.clip_fraction_high == 0 < base.clip_fraction_high


def test_sequences_are_whole_in_every_microbatch():
    """gspo in small microbatches is gspo in one."""
    work = batch(backend(), advantage=lambda i: 0.3 + (-1.0) ** i)
    how = settings(objective="gspo", aggregation="sequence_mean", inner_iterations=2, clip_low=1e-3, clip_high=1e-3)
    one, many = backend().update(work, how), backend(microbatch_tokens=150).update(work, how)
    assert one.loss == pytest.approx(many.loss, abs=1e-6) and one.clip_fraction_high == many.clip_fraction_high > 0


# ------------------------------------------------------------------------------------------------ entropy


def test_the_slope_of_the_entropy_by_finite_differences():
    logits = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits[0, 2] = -2000.0  # a probability of 0
    scores = logits.log_softmax(-1)
    found = entropy_slope(scores.exp(), scores)
    assert torch.isfinite(found).all() and found[0, 2] == 0.0
    for t in range(3):
        for v in range(7):
            up, down = logits.clone(), logits.clone()
            up[t, v] += 1e-6
            down[t, v] -= 1e-6
            value = [entropy((x[t : t + 1]).log_softmax(-1).clamp(min=-700)).item() for x in (up, down)]
            assert found[t, v].item() == pytest.approx((value[0] - value[1]) / 2e-6, abs=1e-8)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("cap", "elements"), [(None, 2**25), (None, 8), (5.0, 8)])
def test_the_gradient_through_the_entropies_is_autograds(
    temperature: float, cap: float | None, elements: int, monkeypatch: pytest.MonkeyPatch
):
    """In one chunk and in many, with and without a soft cap; beside the gradient of the log-probabilities."""
    monkeypatch.setattr("eprli_lab.backends.local.heads.ELEMENTS", elements)
    torch.manual_seed(1)
    hidden = torch.randn(6, 5, requires_grad=True)
    weight, bias = torch.randn(9, 5, requires_grad=True), torch.randn(9, requires_grad=True)
    targets, mix = torch.randint(9, (6,)), torch.randn(2, 6)
    logp, found = token_scores(Head(None, weight, bias, cap), hidden, targets, temperature, True)
    ((logp * mix[0]).sum() + (found * mix[1]).sum()).backward()
    ours = [t.grad.clone() for t in (hidden, weight, bias)]
    for t in (hidden, weight, bias):
        t.grad = None
    logits = hidden @ weight.T + bias
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    scores = (logits / temperature).log_softmax(-1)
    ((scores.gather(1, targets[:, None])[:, 0] * mix[0]).sum() + (entropy(scores) * mix[1]).sum()).backward()
    for mine, t in zip(ours, (hidden, weight, bias), strict=True):
        assert torch.allclose(mine, t.grad, atol=1e-5)


def test_a_coefficient_of_zero_changes_no_bit_and_a_positive_one_raises_entropy():
    work = batch(backend())
    base, plain = updated(work, inner_iterations=2)
    zero, same_weights = updated(work, inner_iterations=2, entropy_coef=0.0)
    assert zero == base and same(plain, same_weights)
    bonus, changed = updated(work, entropy_coef=0.01)
    one, plain = updated(work)
    assert not same(plain, changed) and bonus.entropy == one.entropy
    assert bonus.loss == pytest.approx(one.loss - 0.01 * one.entropy, abs=1e-6)
    engine, still = backend(), batch(backend(), advantage=lambda i: 0.0)
    measured = [engine.update(still, settings(entropy_coef=1.0)).entropy for _ in range(4)]
    assert measured == sorted(measured) and measured[3] > measured[0] + 0.01


# ------------------------------------------------------------------------------------------------ correction


@pytest.mark.parametrize("correction", [TIS, ICEPOP])
@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_equal_weights_change_no_bit(correction: CorrectionSettings, steps: tuple[int, int]):
    inner, parts = steps
    engine = backend()
    how = settings(inner_iterations=inner, minibatches=parts)
    sampled = batch(engine, advantage=lambda i: 0.3 + (-1.0) ** i)
    work = with_logprobs(sampled, of_the_trainer(engine, sampled, how))
    base, plain = updated(work, inner_iterations=inner, minibatches=parts)
    terms, corrected = updated(work, inner_iterations=inner, minibatches=parts, correction=correction)
    assert same(plain, corrected)
    assert (terms.is_weight_mean, terms.is_weight_cut, terms.is_weight_max) == (1.0, 0.0, 1.0)
    assert dataclasses.replace(terms, is_weight_mean=None, is_weight_cut=None, is_weight_max=None) == base
    assert base.is_weight_mean is None


def shifted(shifts: list[float]) -> tuple[Batch, float]:
    """A batch whose sampler says, token after token, log-probabilities lower by these; mean advantage over tokens."""
    engine = backend()
    sampled = batch(engine)
    values, n = [], 0
    for v in of_the_trainer(engine, sampled, settings()):
        values.append(v - torch.tensor([shifts[(n + t) % len(shifts)] for t in range(len(v))]))
        n += len(v)
    return with_logprobs(sampled, values), n


def test_what_a_perturbed_sampler_does_by_hand():
    """Weights 1, 4 and 1/4 in turn; at one step the ratio to the trainer is exactly 1."""
    work, n = shifted([0.0, math.log(4), -math.log(4)])
    flat = [a for one in work.advantages for a in one]
    for correction, factors, cut in (
        (TIS, (1.0, 2.0, 0.25), [False, True, False]),
        (CorrectionSettings("tis", cap=5.0), (1.0, 4.0, 0.25), [False] * 3),
        (ICEPOP, (1.0, 4.0, 0.0), [False, False, True]),
        (CorrectionSettings("icepop", low=0.1, high=3.0), (1.0, 0.0, 0.25), [False, True, False]),
    ):
        terms, changed = updated(work, correction=correction)
        expected = -sum(factors[i % 3] * a for i, a in enumerate(flat)) / n
        assert terms.loss == pytest.approx(expected, abs=1e-5)
        assert terms.is_weight_cut == pytest.approx(sum(cut[i % 3] for i in range(n)) / n)
        assert terms.is_weight_max == pytest.approx(4.0, rel=1e-5)
        assert terms.is_weight_mean == pytest.approx(sum((1.0, 4.0, 0.25)[i % 3] for i in range(n)) / n, rel=1e-5)
        assert terms.clip_fraction_low == terms.clip_fraction_high == 0.0, "the ratio is to the trainer"
        assert not same(changed, updated(work)[1])


def test_the_weight_is_of_the_weights_before_the_update():
    """In later passes the ratio moves and the weight does not."""
    work, n = shifted([math.log(4), 0.0])
    terms, _ = updated(work, inner_iterations=4, clip_low=0.01, clip_high=0.01, correction=TIS)
    assert terms.is_weight_max == pytest.approx(4.0, rel=1e-5) and terms.clip_fraction_high > 0.1
    assert terms.is_weight_cut == pytest.approx(math.ceil(n / 2) / n)


def test_the_correction_goes_through_an_objective_of_ours():
    work, _ = shifted([0.0, math.log(4)])
    a, b = updated(work, objective="cispo")[1], updated(work, objective="cispo", correction=TIS)[1]
    assert not same(a, b)
