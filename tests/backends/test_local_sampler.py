"""The decode loop and packing against plain forward passes, one sequence at a time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from eprli_lab.backends.local.decoders import AnyDecoder, Qwen3Decoder, decoder_for
from eprli_lab.backends.local.drawing import keep
from eprli_lab.backends.local.model import build_model
from eprli_lab.backends.local.packing import (
    Packed,
    pack,
    pack_shared,
    padded,
    response_rows,
    token_logits,
    token_states,
)
from eprli_lab.backends.local.sampler import decode
from eprli_lab.backends.local.stopping import StopStrings
from eprli_lab.backends.local.tokenizer import build_tokenizer
from eprli_lab.records import Completion, Response, Sampling

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "qwen3": {"model_type": "qwen3", "head_dim": 8, **TINY},
    "qwen2": {"model_type": "qwen2", **TINY},
    "llama": {"model_type": "llama", **TINY},
    "gpt2": {
        "model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.2,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
}  # fmt: skip
PROMPTS = [[2, 4, 5, 6, 7, 8, 9], [2, 5], [2, 9, 9, 9]]
EOS = 1


def model(name: str) -> Any:
    return build_model(CONFIGS[name], 0).eval()


def draw(decoder: Any, *, n: int = 6, temperature: float = 1.0, seed: int = 0, max_tokens: int = 20, stops=(EOS, 7)):
    groups = drawn(decoder, Sampling(n, max_tokens, temperature), seed, stops)
    rows = [c for group in groups for c in group]
    return [list(c.tokens) for c in rows], [list(c.logprobs) for c in rows]


def drawn(decoder: Any, sampling: Sampling, seed: int = 0, stops=(EOS, 7)) -> list[list[Completion]]:
    return decode(decoder, PROMPTS, sampling, stop_ids=stops, seed=seed)


@torch.no_grad()
def plain(policy: Any, prompt: list[int], tokens: list[int], temperature: float) -> torch.Tensor:
    """Log-probabilities [T] of the answer from one pass over the whole sequence."""
    logits = policy(input_ids=torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    return F.log_softmax(logits / temperature, -1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("qwen3", Qwen3Decoder),
        ("qwen3", AnyDecoder),
        ("qwen2", AnyDecoder),
        ("llama", AnyDecoder),
        ("gpt2", AnyDecoder),
    ],
)
def test_logprobs_are_those_of_a_plain_forward_pass(name, kind, temperature):
    policy = model(name)
    kept: list[int] = []
    decoder = kind(policy)
    keep = decoder.keep
    decoder.keep = lambda rows: (kept.append(len(rows)), keep(rows))  # watch the compaction, still do it
    ids, logprobs = draw(decoder, temperature=temperature, stops=tuple(range(1, 9)))
    assert len(ids) == 18 and len({len(r) for r in ids}) > 2
    assert kept and kept == sorted(kept, reverse=True)
    for row, (tokens, got) in enumerate(zip(ids, logprobs, strict=True)):
        expected = plain(policy, PROMPTS[row // 6], tokens, temperature)
        assert torch.allclose(torch.tensor(got), expected, atol=1e-5, rtol=0)


def test_the_two_decoders_compute_the_same_logits():
    policy = model("qwen3")
    assert isinstance(decoder_for(policy), Qwen3Decoder) and isinstance(decoder_for(model("llama")), AnyDecoder)
    fast, slow = Qwen3Decoder(policy), AnyDecoder(policy)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        a, b = fast.prefill(PROMPTS, 2, 12), slow.prefill(PROMPTS, 2, 12)
        for t in range(11):
            assert torch.allclose(a, b, atol=1e-5, rtol=0)
            if t == 4:
                rows = torch.tensor([0, 2, 5])
                fast.keep(rows), slow.keep(rows)
                a = a[rows]
            tokens = torch.randint(32, (len(a),), generator=generator)
            a, b = fast.step(tokens), slow.step(tokens)


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_rows_end_with_their_stop_token_or_at_the_limit(name):
    stops = (EOS, 7)
    ids, logprobs = draw(decoder_for(model(name)), n=16, max_tokens=12)
    ended = [r for r in ids if r[-1] in stops]
    assert ended and len(ended) < len(ids)
    for tokens, values in zip(ids, logprobs, strict=True):
        assert len(tokens) == len(values) <= 12
        assert not set(tokens[:-1]) & set(stops)
        assert tokens[-1] in stops or len(tokens) == 12
        assert max(values) <= 0.0
    one, _ = draw(decoder_for(model(name)), max_tokens=1)
    assert [len(r) for r in one] == [1] * 18


def test_the_seed_decides():
    policy = model("qwen3")
    assert draw(decoder_for(policy), seed=3) == draw(decoder_for(policy), seed=3)
    assert draw(decoder_for(policy), seed=3) != draw(decoder_for(policy), seed=4)


def test_a_decoder_may_be_used_again():
    decoder = decoder_for(model("qwen3"))
    assert draw(decoder, seed=3) == draw(decoder, seed=3)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_frequencies_are_the_softmax(temperature):
    policy = model("qwen3")
    n = 4000
    ids, _ = draw(decoder_for(policy), n=n, max_tokens=1, temperature=temperature, seed=5)
    for i, prompt in enumerate(PROMPTS):
        with torch.no_grad():
            logits = policy(input_ids=torch.tensor([prompt])).logits[0, -1].double()
        expected = n * (logits / temperature).softmax(-1)
        counts = Counter(r[0] for r in ids[i * n : (i + 1) * n])
        common = [t for t in range(32) if expected[t] >= 5]  # the rest in one cell, as the test's theory wants
        observed = [counts[t] for t in common]
        wanted = expected[common].tolist()
        rest = n - sum(wanted)
        if rest >= 5:
            observed, wanted = [*observed, n - sum(observed)], [*wanted, rest]
        scale = sum(observed) / sum(wanted)
        assert len(wanted) > 5
        assert chisquare(observed, [w * scale for w in wanted]).pvalue > 1e-3


def test_a_response_ends_with_the_token_that_completes_a_stop_string():
    tokenizer, policy = build_tokenizer(), model("qwen3")
    plain = drawn(decoder_for(policy), Sampling(16, 20), seed=2)
    pairs = Counter(p for g in plain for c in g for p in pairwise(c.tokens) if min(p) > 7 and max(p) < 29)
    stop = tuple(tokenizer.decode(list(pair)) for pair, _ in pairs.most_common(3))  # of two tokens each
    sampling = Sampling(16, 20, stop=stop)
    found = decode(
        decoder_for(policy), PROMPTS, sampling, stop_ids=(EOS, 7), seed=2,
        strings=StopStrings(tokenizer, stop),
    )  # fmt: skip
    ended = 0
    for group in found:
        for c in group:
            text = tokenizer.decode(list(c.tokens), skip_special_tokens=True)
            before = tokenizer.decode(list(c.tokens[:-1]), skip_special_tokens=True)
            assert not any(s in before for s in stop)
            if c.tokens[-1] not in (EOS, 7):
                assert (c.finish == "stop") is any(s in text for s in stop)
                ended += c.finish == "stop"
    assert ended > 2
    # what is drawn is what would be drawn without stop strings
    for x, y in zip(plain, found, strict=True):
        assert all(a.tokens[: len(b.tokens)] == b.tokens for a, b in zip(x, y, strict=True))


def test_stop_strings_are_seen_across_tokens_and_not_across_what_is_no_text():
    tokenizer = build_tokenizer()
    strings = StopStrings(tokenizer, ("12", "=3"))
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False)
    pad, bos = tokenizer.pad_token_id, tokenizer.bos_token_id
    rows = [ids("4+1"), ids("4+12"), [*ids("1"), pad, bos, *ids("2")], ids("9" * 90 + "=3"), ids("21=")]
    assert strings.ended(rows) == [False, True, True, True, False]


def test_greedy_takes_the_most_probable_token_of_a_plain_pass():
    policy = model("llama")
    groups = drawn(decoder_for(policy), Sampling(1, 12, temperature=0.0))
    for prompt, (c,) in zip(PROMPTS, groups, strict=True):
        with torch.no_grad():
            logits = policy(input_ids=torch.tensor([[*prompt, *c.tokens]])).logits[0, len(prompt) - 1 : -1]
        assert logits.argmax(-1).tolist() == list(c.tokens)
        assert torch.allclose(torch.tensor(c.logprobs), plain(policy, prompt, list(c.tokens), 1.0), atol=1e-5)


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_filtered_log_probabilities_are_of_the_distribution_drawn_from(name):
    policy = model(name)
    sampling = Sampling(8, 12, temperature=0.8, top_p=0.9, top_k=6, min_p=0.05)
    for prompt, group in zip(PROMPTS, drawn(decoder_for(policy), sampling), strict=True):
        for c in group:
            with torch.no_grad():
                logits = policy(input_ids=torch.tensor([[*prompt, *c.tokens]])).logits[0, len(prompt) - 1 : -1]
            expected = keep(logits / 0.8, sampling).log_softmax(-1)
            assert (expected.isfinite().sum(-1) <= 6).all()
            got = expected.gather(1, torch.tensor(c.tokens)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(c.logprobs), got, atol=1e-5, rtol=0)


# ---------------------------------------------------------------------- packing

lengths = st.lists(st.integers(1, 20), min_size=1, max_size=12)


@given(lengths, st.integers(1, 40))
def test_every_token_is_there_once_and_sees_only_its_past(sizes, row_tokens):
    sequences = [[(7 * i + j) % 31 + 1 for j in range(n)] for i, n in enumerate(sizes)]
    packed = pack(sequences, row_tokens)
    rows, length = packed.ids.shape
    assert length <= max(row_tokens, max(sizes))
    taken: set[int] = set()
    expected = torch.zeros(rows * length, rows * length, dtype=torch.bool)
    for offset, sequence in zip(packed.offsets, sequences, strict=True):
        places = list(range(offset, offset + len(sequence)))
        assert offset // length == places[-1] // length  # within one row
        assert not taken & set(places)
        taken |= set(places)
        assert packed.ids.flatten()[places].tolist() == sequence
        assert packed.positions.flatten()[places].tolist() == list(range(len(sequence)))
        expected[offset : offset + len(sequence), offset : offset + len(sequence)] = True
    expected = expected.tril()
    for row in range(rows):
        block = slice(row * length, (row + 1) * length)
        real = torch.tensor([row * length + j in taken for j in range(length)])
        assert torch.equal(packed.mask[row, 0][real], expected[block, block][real])
    assert int((packed.ids != 0).sum()) == sum(sizes)  # token 0 is the padding


@settings(max_examples=25, deadline=None)
@given(lengths, st.integers(1, 40), st.sampled_from(["qwen3", "llama"]))
def test_packed_logits_are_the_unpacked_ones(sizes, row_tokens, name):
    policy = model(name)
    generator = torch.Generator().manual_seed(sum(sizes))
    sequences = [torch.randint(1, 32, (n,), generator=generator).tolist() for n in sizes]
    with torch.no_grad():
        for rows in (pack(sequences, row_tokens), padded(sequences)):
            for offset, sequence in zip(rows.offsets, sequences, strict=True):
                got = token_logits(policy, rows, torch.arange(offset, offset + len(sequence)))
                alone = policy(input_ids=torch.tensor([sequence]), use_cache=False).logits[0]
                assert torch.allclose(got, alone, atol=1e-5, rtol=0)


# ---------------------------------------------------------------------- shared prompts

groups = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.integers(1, 12), min_size=1, max_size=6)), min_size=1, max_size=5
)


def of_groups(sizes: list[tuple[int, list[int]]]) -> tuple[list[list[int]], list[list[int]]]:
    """(prompts, responses), one a response, the groups' members apart from each other."""
    members = []
    for g, (length, answers) in enumerate(sizes):
        prompt = [(5 * g + j) % 31 + 1 for j in range(length)]
        members += [(i, prompt, [(3 * g + 7 * i + j) % 31 + 1 for j in range(n)]) for i, n in enumerate(answers)]
    members.sort(key=lambda m: m[0])
    return [p for _, p, _ in members], [r for _, _, r in members]


def as_sampled(prompts: list[list[int]], responses: list[list[int]]) -> list[Response]:
    pairs = zip(prompts, responses, strict=True)
    return [Response("", tuple(p), tuple(r), (-1.0,) * len(r), False) for p, r in pairs]


@given(groups, st.integers(1, 60))
def test_a_shared_prompt_is_there_once_a_row_and_seen_by_its_own(sizes, row_tokens):
    prompts, responses = of_groups(sizes)
    packed, index = pack_shared(prompts, responses, row_tokens)
    length = packed.ids.shape[1]
    assert length <= max(row_tokens, max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True)))
    flat, positions, at, covered = packed.ids.flatten(), packed.positions.flatten(), 0, set()
    for prompt, response in zip(prompts, responses, strict=True):
        first, *others = index[at : at + len(response)].tolist()
        at += len(response)
        row = first // length
        asked = list(range(first - len(prompt) + 1, first + 1))
        own = [*others, (others[-1] if others else -1) + 1] if others else []
        seen = packed.mask[row, 0, (others[-1] if others else first) % length].nonzero()[:, 0] + row * length
        assert flat[asked].tolist() == prompt and positions[asked].tolist() == list(range(len(prompt)))
        assert seen.tolist() == asked + others, "its prompt, and what it has said so far"
        assert flat[own].tolist()[: len(others)] == response[: len(others)]
        assert positions[others].tolist() == list(range(len(prompt), len(prompt) + len(others)))
        covered |= {*asked, *others}
    assert at == len(index) and len(set((flat != 0).nonzero()[:, 0].tolist()) - covered) == len(responses), (
        "last tokens"
    )
    prompts_there = int((flat != 0).sum()) - sum(map(len, responses))
    assert prompts_there <= sum(map(len, prompts))


@pytest.mark.parametrize("name", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("row_tokens", [8, 30, 200])
def test_gradients_with_shared_prompts_are_those_without(name, row_tokens):
    """Within 1e-6 of the largest, in float64 but for the norms, which transformers computes in float32."""
    policy = model(name).double()
    prompts, responses = of_groups([(7, [3, 9, 9, 1, 12]), (2, [4, 4]), (9, [1]), (7, [5, 6])])
    targets = torch.tensor([t for r in responses for t in r])

    def gradients(rows: Packed, index: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        policy.zero_grad()
        states = policy.lm_head(token_states(policy.model, rows, index)).log_softmax(-1)
        scores = states.gather(1, targets[:, None])[:, 0]
        (scores * torch.arange(len(scores))).sum().backward()
        return scores.detach(), [p.grad.clone() for p in policy.parameters()]

    rows = padded([[*p, *r] for p, r in zip(prompts, responses, strict=True)])
    starts = [o + len(p) for o, p in zip(rows.offsets, prompts, strict=True)]
    alone = torch.cat([torch.arange(s - 1, s + len(r) - 1) for s, r in zip(starts, responses, strict=True)])
    shared, index = response_rows(policy, as_sampled(prompts, responses), row_tokens)[:2]
    assert shared.ids.numel() < rows.ids.numel()
    (a, first), (b, second) = gradients(rows, alone), gradients(shared, index)
    assert torch.allclose(a, b, atol=1e-6, rtol=0)
    for x, y in zip(first, second, strict=True):
        assert float((x - y).abs().max()) <= 1e-6 * float(x.abs().max())


def test_a_model_that_takes_no_mask_of_ours_has_a_prompt_for_every_response():
    prompts, responses = of_groups([(3, [2, 2, 4])])
    for policy in (model("gpt2"), build_model({"model_type": "mistral", "sliding_window": 8, **TINY}, 0).eval()):
        rows, index = response_rows(policy, as_sampled(prompts, responses), 104)[:2]
        assert rows.mask is None and rows.ids.shape == (3, 7)
        got = token_logits(policy, rows, index).detach()
        for i, (p, r) in enumerate(zip(prompts, responses, strict=True)):
            alone = policy(input_ids=torch.tensor([[*p, *r]]), use_cache=False).logits[0, len(p) - 1 : -1]
            at = sum(map(len, responses[:i]))
            assert torch.allclose(got[at : at + len(r)], alone, atol=1e-5)
