"""Stands in for vLLM where there is no GPU: the slice of its interface that OpenRLHF uses, over our own sampler.

Requests that wait at the same time are decoded together; each batch draws from the seed of its first request, so equal
requests in equal order give equal samples.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

__version__ = "0.29.0"  # the version whose interface this is
ROWS = 512  # responses decoded at once


@dataclass
class SamplingParams:
    """As vLLM's, where a rehearsal needs it; logprobs are those of the sampled tokens, at the temperature."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    max_tokens: int | None = 16
    min_tokens: int = 0
    seed: int | None = None
    logprobs: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    skip_special_tokens: bool = True
    detokenize: bool = True


class AsyncEngineArgs:
    """Keeps what it is given."""

    def __init__(self, *_: Any, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


class _Model:
    """What the worker extension sees of the model."""

    def __init__(self, model: Any) -> None:
        self.model, self.version = model, 0
        self.parameters = dict(model.named_parameters())

    def load_weights(self, weights: Any) -> None:
        import torch

        self.version += 1
        with torch.no_grad():
            for name, value in weights:
                self.parameters[name].copy_(value)

    def named_parameters(self) -> Any:
        return self.parameters.items()


@dataclass
class _Request:
    prompt: list[int]
    params: SamplingParams
    answer: asyncio.Future[Any]


class AsyncLLMEngine:
    """One model, one queue."""

    @classmethod
    def from_engine_args(cls, args: Any) -> AsyncLLMEngine:
        """As vLLM's."""
        return cls(args)

    def __init__(self, args: Any) -> None:
        import torch
        import transformers

        torch.set_num_threads(1)
        dtype = getattr(torch, args.dtype)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            args.model, dtype=dtype, trust_remote_code=args.trust_remote_code
        ).eval()
        module, _, name = args.worker_extension_cls.rpartition(".")
        extension = getattr(importlib.import_module(module), name)
        self.worker: Any = type("Worker", (extension,), {})()
        self.worker.device = torch.device("cpu")
        self.worker.model_config = SimpleNamespace(dtype=dtype)
        self.weights = _Model(self.model)
        self.worker.model_runner = SimpleNamespace(model=self.weights)
        if not torch.distributed.is_initialized():  # a worker of vLLM always has a world group
            store = f"file://{tempfile.mkdtemp()}/group"
            torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
        self.queue: list[_Request] = []
        self.running: asyncio.Task[None] | None = None
        self.decoder: Any = None
        self.decoder_version = -1
        self.output_processor = SimpleNamespace(get_num_unfinished_requests=lambda: len(self.queue))

    async def is_sleeping(self) -> bool:
        return False

    async def sleep(self, level: int = 1) -> None:
        """There is no GPU memory to give back."""

    async def wake_up(self, tags: Any = None) -> None:
        """Nor to take."""

    async def reset_prefix_cache(self) -> None:
        """There is none."""

    async def collective_rpc(self, method: str, timeout: Any = None, args: Any = (), kwargs: Any = None) -> list[Any]:
        """Call a method of the worker; one worker, one answer."""
        return [await asyncio.to_thread(getattr(self.worker, method), *args, **(kwargs or {}))]

    async def generate(self, prompt: Any, sampling_params: SamplingParams, request_id: str) -> AsyncIterator[Any]:
        """Yields once, the finished request."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.queue.append(_Request(prompt["prompt_token_ids"], sampling_params, answer))
        if self.running is None or self.running.done():
            self.running = asyncio.create_task(self._serve())
        yield await answer

    async def _serve(self) -> None:
        """Decode what waits, until nothing does."""
        for _ in range(2):
            await asyncio.sleep(0)  # let everybody who is about to ask do so
        while self.queue:
            first = self.queue[0].params
            alike = [r for r in self.queue if _kind(r.params) == _kind(first)][: max(1, ROWS // first.n)]
            self.queue = [r for r in self.queue if all(r is not a for a in alike)]
            try:
                outputs = await asyncio.to_thread(self._decode, alike)
            except Exception as error:  # a request that fails must not leave the others waiting
                for r in alike:
                    r.answer.set_exception(error)
                continue
            for r, output in zip(alike, outputs, strict=True):
                with contextlib.suppress(asyncio.InvalidStateError):
                    r.answer.set_result(output)

    def _decode(self, requests: list[_Request]) -> list[Any]:
        import torch

        from eprli_lab.backends.local.decoders import decoder_for
        from eprli_lab.backends.local.sampler import decode
        from eprli_lab.records import Sampling

        if self.decoder_version != self.weights.version:
            self.decoder, self.decoder_version = decoder_for(self.model), self.weights.version
        p = requests[0].params
        if p.top_p < 1.0 or p.top_k > 0 or p.min_tokens > 0:
            raise NotImplementedError("a rehearsal samples from the whole distribution")
        generator = torch.Generator().manual_seed(p.seed or 0)
        groups = decode(
            self.decoder,
            [r.prompt for r in requests],
            Sampling(p.n, p.max_tokens or 16, p.temperature),
            stop_ids=list(p.stop_token_ids),
            generator=generator,
        )
        rows = [
            SimpleNamespace(
                token_ids=list(one.tokens),
                logprobs=[{t: SimpleNamespace(logprob=lp)} for t, lp in zip(one.tokens, one.logprobs, strict=True)],
                finish_reason=one.finish,
            )
            for group in groups
            for one in group
        ]
        return [SimpleNamespace(outputs=rows[i * p.n : (i + 1) * p.n]) for i in range(len(requests))]


def _kind(p: SamplingParams) -> tuple[Any, ...]:
    """Requests that may be decoded together."""
    return p.n, p.temperature, p.max_tokens, tuple(p.stop_token_ids)
