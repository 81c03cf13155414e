"""The compiled decode loop against the torch loop and plain forward passes, over shapes, filters and cuts of the work."""

from __future__ import annotations

import dataclasses
import math
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from engines import PROBLEMS, SPEC, backend, batch, same, settings, weights
from helpers import small_spec
from loops import TINY, Killed, Mortal, run, small_levels, tables
from scipy.stats import chisquare

from eprli_lab.backends.local.compiled import decoder
from eprli_lab.backends.local.compiled.decoder import CompiledDecoder, unfit
from eprli_lab.backends.local.compiled.library import NotCompiledError, load
from eprli_lab.backends.local.decoders import AnyDecoder, decoder_for
from eprli_lab.backends.local.engine import LocalBackend
from eprli_lab.backends.local.loops import DecodeLoop
from eprli_lab.backends.local.model import build_model
from eprli_lab.backends.local.sampler import decode
from eprli_lab.backends.local.uniform import streams, uniform
from eprli_lab.config.data import LoraSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import EngineError, UserError
from eprli_lab.records import Completion, Sampling

try:
    LIBRARY, _ = load()
except NotCompiledError as error:
    pytest.skip(f"no compiled loop here: {error}", allow_module_level=True)

PROMPTS = [[2, 4, 5, 6, 7, 8, 9], [2, 5], [2, 9, 9, 9], [3], list(range(2, 31))]
STOPS = (1, 7)


def model(**change: Any) -> Any:
    config: dict[str, Any] = {
        "model_type": "qwen3", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "intermediate_size": 48, "max_position_embeddings": 128, "initializer_range": 0.12,
    }  # fmt: skip
    policy = build_model({**config, **change}, 0).eval()
    with torch.no_grad():  # norms of a policy that was trained are not 1
        generator = torch.Generator().manual_seed(1)
        for name, p in policy.named_parameters():
            if "norm" in name:
                p.copy_(0.5 + torch.rand(p.shape, generator=generator))
    return policy


def fast(
    policy: Any, sampling: Sampling, seed: int = 0, prompts: Sequence[Sequence[int]] = PROMPTS, first_row: int = 0
) -> list[list[Completion]]:
    compiled = CompiledDecoder(policy, LIBRARY)
    return compiled.decode(prompts, sampling, stop_ids=STOPS, seed=seed, first_row=first_row)


def slow(policy: Any, sampling: Sampling, seed: int = 0) -> list[list[Completion]]:
    return decode(decoder_for(policy), PROMPTS, sampling, stop_ids=STOPS, seed=seed)


def compare(a: list[list[Completion]], b: list[list[Completion]], within: float = 1e-5) -> int:
    """Both drew the same, but for draws on the edge of two tokens; how many responses."""
    pairs = [(x, y) for g, h in zip(a, b, strict=True) for x, y in zip(g, h, strict=True)]
    equal = [(x, y) for x, y in pairs if x.tokens == y.tokens]
    assert len(equal) >= 0.98 * len(pairs)
    for x, y in equal:
        assert x.finish == y.finish
        assert torch.allclose(torch.tensor(x.logprobs), torch.tensor(y.logprobs), atol=within, rtol=0)
    return len(pairs)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("vocabulary", [32, 104, 1000])
@pytest.mark.parametrize(
    ("heads", "kv", "width"), [(4, 4, 16), (4, 2, 32), (8, 2, 16), (3, 1, 32), (6, 1, 10), (14, 2, 80)]
)
def test_log_probabilities_are_those_of_the_torch_loop(heads, kv, width, vocabulary, tied):
    """Sizes that fill no whole vector among them."""
    change = {"num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": width, "vocab_size": vocabulary}
    policy = model(**change, tie_word_embeddings=tied, hidden_size=36 if width == 10 else 32)
    sampling = Sampling(12, 20, 0.9)
    found = fast(policy, sampling)
    assert compare(found, slow(policy, sampling)) == 60
    assert len({len(c.tokens) for g in found for c in g}) > 5 or vocabulary > 32


@pytest.mark.parametrize(
    "words",
    [
        {"temperature": 0.0},
        {"top_k": 3},
        {"top_k": 10_000},
        {"top_p": 0.8},
        {"top_p": 1e-9},
        {"min_p": 0.2},
        {"temperature": 0.7, "top_p": 0.9, "top_k": 6, "min_p": 0.05},
    ],
    ids=str,
)
def test_filters_leave_what_the_torch_loop_leaves(words):
    policy = model()
    sampling = Sampling(24, 16, **words)
    compare(fast(policy, sampling, 3), slow(policy, sampling, 3))


def test_the_uniform_numbers_are_the_same_on_both():
    edge = 2**64 - 1
    for seed in (0, 5, 2**63 + 7, edge):
        keys = streams(seed, 1000, 3)
        grid = uniform(keys, 4, 3)
        for row in range(3):
            for step in range(3):
                assert LIBRARY.uniform_of(seed, 1000 + row, 4 + step) == float(grid[row, step])
    assert float(uniform(streams(0, 0, 10_000), 0).mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("words", [{}, {"temperature": 0.6}, {"top_p": 0.9, "top_k": 12}], ids=str)
@pytest.mark.parametrize("vocabulary", [32, 1000])
def test_draws_follow_the_distribution(words, vocabulary):
    policy, n = model(vocab_size=vocabulary), 20_000
    sampling = Sampling(n, 1, **words)
    (group,) = fast(policy, sampling, 5, [PROMPTS[0]])
    shares = {c.tokens[0]: math.exp(c.logprobs[0]) for c in group}
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3 if vocabulary == 32 else 0.05)
    counts = Counter(c.tokens[0] for c in group)
    common = [t for t in shares if n * shares[t] >= 5]
    observed = [counts[t] for t in common]
    expected = [n * shares[t] for t in common]
    rest = n - sum(expected)
    if rest >= 5:  # the rare ones in one cell
        observed, expected = [*observed, n - sum(observed)], [*expected, rest]
    scale = sum(observed) / sum(expected)
    assert len(observed) > 5 and chisquare(observed, [e * scale for e in expected]).pvalue > 1e-3


def test_no_cut_of_the_work_changes_a_response(monkeypatch):
    """Bit for bit: by prompts, by lanes, by threads, and whatever stands beside a response."""
    policy, sampling = model(), Sampling(10, 24)
    whole = fast(policy, sampling, 9)
    assert [g for i, p in enumerate(PROMPTS) for g in fast(policy, sampling, 9, [p], i * 10)] == whole
    for lanes in (1, 3, 8, 1000):
        monkeypatch.setattr(decoder, "LANES", lanes)
        assert fast(policy, sampling, 9) == whole
    for threads in (2, 3, 16):
        loop = DecodeLoop(policy, "compiled", threads)
        assert loop.decode(PROMPTS, sampling, stop_ids=STOPS, seed=9) == whole
    long = [list(range(2, 32)) * 3] * 30  # more prompt tokens than are read at once
    assert fast(policy, sampling, 9, [*PROMPTS, *long])[:5] == whole


def test_threads_of_one_process_do_not_disturb_each_other():
    policy = model()
    from concurrent.futures import ThreadPoolExecutor

    compiled = CompiledDecoder(policy, LIBRARY)
    ask = lambda seed: compiled.decode(PROMPTS, Sampling(8, 24), stop_ids=STOPS, seed=seed)
    alone = [ask(seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(12))) == alone


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_ends_a_call_that_would_take_minutes(threads):
    loop = DecodeLoop(model(), "compiled", threads)
    loop.decode(PROMPTS[:1], Sampling(1, 1), stop_ids=(), seed=0)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            loop.decode(PROMPTS, Sampling(2000, 5000), stop_ids=(), seed=0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_limits_and_stops():
    policy = model()
    found = [c for g in fast(policy, Sampling(40, 9)) for c in g]
    assert {c.finish for c in found} == {"stop", "length"}
    for c in found:
        assert not set(c.tokens[:-1]) & set(STOPS) and len(c.tokens) == len(c.logprobs) <= 9
        assert (c.tokens[-1] in STOPS) is (c.finish == "stop")
        assert c.finish == "stop" or len(c.tokens) == 9
    assert all(len(c.tokens) == 1 for g in fast(policy, Sampling(3, 1)) for c in g)


@pytest.mark.parametrize("prompt", [[], [2, 32], [2, -1]], ids=str)
def test_what_is_no_prompt_is_refused_before_memory_is_read(prompt):
    with pytest.raises(ValueError, match="refused its arguments"):
        fast(model(), Sampling(1, 4), prompts=[[2], prompt])


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["embed_tokens", "down_proj", "q_norm"])
def test_a_broken_policy_is_caught_as_on_the_torch_loop(where, value):
    for loop in ("compiled", "torch"):
        engine = backend(decode=loop)
        with torch.no_grad():
            next(p for n, p in engine.policy.named_parameters() if where in n).fill_(value)
        with pytest.raises(EngineError, match="log_probabilities: .* not finite"):
            engine.sample(PROBLEMS, Sampling(2, 8), seed=0)


def test_only_what_it_computes_fits():
    policy = model()
    assert unfit(policy) == ""
    assert "bfloat16" in unfit(model().to(torch.bfloat16))
    llama = {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    assert "llama" in unfit(build_model(llama, 0)) and isinstance(decoder_for(build_model(llama, 0)), AnyDecoder)
    assert "bias" not in unfit(policy) and unfit(model(attention_bias=True))
    with pytest.raises(UserError, match=r"backend.decode: the compiled loop cannot be used: .*\(llama\) is none: use"):
        DecodeLoop(build_model(llama, 0), "compiled")


# ---------------------------------------------------------------------- the engine on both loops


@pytest.fixture(params=["compiled", "torch"])
def loop(request) -> str:
    return request.param


@pytest.mark.slow
def test_the_engine_says_which_loop_samples(loop):
    assert backend(decode=loop).decode_loop.startswith(loop)
    assert backend().decode_loop.startswith("compiled (")


@pytest.mark.slow
def test_sampler_and_trainer_agree_on_either_loop(loop):
    engine = backend(decode=loop)
    terms = engine.update(batch(engine), settings())
    assert terms.mismatch_max < 1e-5 and abs(terms.mismatch_kl) < 1e-9


@pytest.mark.slow
def test_the_loops_draw_the_same_from_the_shipped_policy_and_see_its_updates():
    engines = [backend(decode=name) for name in ("compiled", "torch")]
    first = [batch(engine, 1) for engine in engines]
    for engine in engines:
        engine.update(first[0], settings(learning_rate=1e-2))
    assert same(*map(weights, engines))
    second = [batch(engine, 1) for engine in engines]
    assert second[0].responses != first[0].responses
    for pair in (first, second):
        tokens = [[r.tokens for r in b.responses] for b in pair]
        assert sum(x == y for x, y in zip(*tokens, strict=True)) >= 31


@pytest.mark.slow
def test_saved_and_loaded_goes_on_bit_for_bit_on_either_loop(tmp_path, loop):
    engine = backend(decode=loop)
    engine.update(batch(engine, 1), settings())
    engine.save(tmp_path)
    expected = engine.update(batch(engine, 2), settings())
    other = backend(decode=loop)
    batch(other, 5)  # weights are held when others are loaded
    other.load(tmp_path)
    assert other.update(batch(other, 2), settings()) == expected and same(weights(engine), weights(other))


@pytest.mark.slow
def test_the_batch_changes_nothing(loop):
    whole, cut = backend(decode=loop, threads=1), backend(decode=loop, sample_batch=10)
    a, b = (engine.sample(PROBLEMS, Sampling(8, 40), seed=4) for engine in (whole, cut))
    pairs = [(x, y) for g, h in zip(a, b, strict=True) for x, y in zip(g, h, strict=True)]
    assert all(x.tokens == y.tokens for x, y in pairs)
    if loop == "compiled":  # torch's products round by the number of rows
        assert a == b


@pytest.mark.slow
def test_a_begun_response_goes_on(loop):
    engine = backend(decode=loop)
    ((short,),) = engine.sample(PROBLEMS[:1], Sampling(1, 5), seed=1)
    begun = dataclasses.replace(PROBLEMS[0], begun=short.tokens)
    ((whole,),) = engine.sample([begun], Sampling(1, 40), seed=2)
    assert whole.text.startswith(short.text) and whole.prompt_tokens[-5:] == short.tokens


@pytest.mark.slow
def test_adapters_are_merged_into_what_the_compiled_loop_holds():
    def trained(decode: str) -> LocalBackend:
        spec = SPEC.model.model_copy(update={"lora": LoraSpec(rank=4, alpha=8)})
        chosen = SPEC.backend.model_copy(update={"decode": decode})
        engine = LocalBackend(spec, SPEC.optim, chosen, family="mod10", kl_reference=False, seed=0)
        engine.update(work, settings(learning_rate=1e-2))
        return engine

    work = batch(backend())
    a, b = (batch(trained(decode), 3) for decode in ("compiled", "torch"))
    assert sum(x.tokens == y.tokens for x, y in zip(a.responses, b.responses, strict=True)) >= 31
    assert [r.tokens for r in a.responses] != [r.tokens for r in batch(backend(), 3).responses]


@pytest.mark.slow
def test_stop_strings_are_the_torch_loops(caplog):
    engine = backend()
    with caplog.at_level("WARNING"):
        for seed in (1, 2):
            groups = engine.sample(PROBLEMS, Sampling(4, 40, stop=("a", "b")), seed=seed)
    assert not any("a" in r.text or "b" in r.text for g in groups for r in g)
    sentences = [r.message for r in caplog.records if "stop strings" in r.message]
    assert sentences in ([], ["sampling with the torch loop where stop strings are set: the compiled one knows none"])


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_numbers_on_either_loop(tmp_path, loop):
    spec = small_spec(*TINY, *small_levels(1), "budget.amount=2500", f"backend.decode={loop}")

    def engine() -> LocalBackend:
        return LocalBackend(spec.model, spec.optim, spec.backend, family="mod10", kl_reference=False, seed=0)

    whole = Mortal(engine())
    run(spec, tmp_path / "whole", whole)
    second = [i for i, (name, _) in enumerate(whole.calls, 1) if name == "update"][1]
    with pytest.raises(Killed):
        run(spec, tmp_path / "killed", Mortal(engine(), second, after=True))
    run(spec, tmp_path / "killed", engine())
    assert tables(tmp_path / "killed") == tables(tmp_path / "whole")


def test_the_loop_is_in_no_fingerprint():
    def of(decode: str) -> RunSpec:
        return SPEC.model_copy(update={"backend": SPEC.backend.model_copy(update={"decode": decode})})

    assert len({of(decode).fingerprint() for decode in ("auto", "compiled", "torch")}) == 1
    assert "decode" not in SPEC.model_dump(mode="json")["backend"]
