"""Which decode loop samples: the compiled one (compiled/), or torch's (sampler.py), which is said once then."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal

from eprli_lab.backends.local.compiled.decoder import CompiledDecoder, unfit
from eprli_lab.backends.local.compiled.library import NotCompiledError, load
from eprli_lab.backends.local.decoders import Decoder, decoder_for
from eprli_lab.backends.local.sampler import decode
from eprli_lab.backends.local.stopping import StopStrings
from eprli_lab.errors import UserError
from eprli_lab.records import Completion, Sampling

log = logging.getLogger(__name__)


class DecodeLoop:
    """Samples from a policy whose weights it copies at the first call; `forget` makes it copy them anew."""

    def __init__(self, policy: Any, wished: Literal["auto", "compiled", "torch"] = "auto", threads: int = 1) -> None:
        """Raises UserError where `compiled` is wished and cannot be had."""
        self.policy, self.threads = policy, threads
        self.library: Any = None
        self.description = "torch"
        if wished != "torch":
            self._compiled(wished == "compiled")
        self._fast: CompiledDecoder | None = None
        self._plain: Decoder | None = None

    def _compiled(self, demanded: bool) -> None:
        reason = unfit(self.policy)
        remedy = "use backend.decode=auto or torch"
        if not reason:
            try:
                self.library, compiler = load()
                self.description = f"compiled ({compiler.version})"
                return
            except NotCompiledError as error:
                reason, remedy = str(error), "install g++ or clang++, or use backend.decode=auto or torch"
        if demanded:
            raise UserError(f"backend.decode: the compiled loop cannot be used: {reason}: {remedy}")
        _say(f"sampling with the torch loop, not the compiled one: {reason}")

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        stop_ids: Sequence[int],
        seed: int,
        first_row: int = 0,
        strings: StopStrings | None = None,
    ) -> list[list[Completion]]:
        """As sampler.decode, on whichever loop it is."""
        if self.library is not None and strings is None:
            return self._by_threads(prompts, sampling, stop_ids, seed, first_row)
        if self.library is not None:
            _say("sampling with the torch loop where stop strings are set: the compiled one knows none")
        self._plain = self._plain or decoder_for(self.policy)
        return decode(
            self._plain, prompts, sampling, stop_ids=stop_ids, seed=seed, first_row=first_row, strings=strings
        )

    def forget(self) -> None:
        """The policy has other weights now."""
        self._fast = self._plain = None

    def _by_threads(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, stop_ids: Sequence[int], seed: int, first_row: int
    ) -> list[list[Completion]]:
        """The prompts in one part a thread: a response is the same in whatever part it is drawn.

        This thread only waits, so that a signal that ends the run ends the parts, too.
        """
        decoder = self._fast = self._fast or CompiledDecoder(self.policy, self.library)
        size = -(-len(prompts) // self.threads)
        starts = range(0, len(prompts), size)
        cancel = ctypes.c_int32(0)

        def part(start: int) -> list[list[Completion]]:
            asked, row = prompts[start : start + size], first_row + start * sampling.n
            return decoder.decode(asked, sampling, stop_ids=stop_ids, seed=seed, first_row=row, cancel=cancel)

        with ThreadPoolExecutor(len(starts)) as pool:
            try:
                return [group for groups in list(pool.map(part, starts)) for group in groups]
            except BaseException:
                cancel.value = 1
                raise


@lru_cache(maxsize=64)
def _say(sentence: str) -> None:
    """Once a process."""
    log.warning(sentence)
