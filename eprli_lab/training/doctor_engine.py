"""The engine by itself, through its interface: groups, log-probabilities, an update that arrives, sleep and wake."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.algorithm.settings import update_settings
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import EngineError, UserError
from eprli_lab.records import Batch, Problem, Response, Sampling
from eprli_lab.training.doctor_finding import ENGINE_STARTS, Finding

PROBLEMS, RESPONSES = 8, 8
# Nats a token, k3 of the trainer against the sampler at the same weights: float32 on both sides, or bfloat16 on one.
# Measured: 1e-13 local, 6e-6 with a bfloat16 engine; log-probabilities of another temperature give .01 and more.
MISMATCH = {"float32": 1e-6, "bfloat16": 1e-3}
LEARNING_RATE = 1e-4  # at least: one step at a large model's rate would move less than bfloat16 can hold
MOVED = 1e-4  # nats a token by which one update must move the sampler's log-probabilities
RESTORED = 1e-2  # and loading must bring them back to


def engine_checks(spec: RunSpec, directory: Path) -> Iterator[Finding]:
    """Starts the engine once; the checks of one engine, each in its own words."""
    from eprli_lab.backends.build import build_backend
    from eprli_lab.data.load import load_training
    from eprli_lab.training.preflight import preflight

    began = time.perf_counter()
    where = directory / "engine"
    where.mkdir()
    try:
        preflight(spec)
        with open(where / "output.txt", "w") as output, contextlib.redirect_stdout(output):  # what libraries print
            backend = build_backend(spec, where)
    except Exception as error:
        seconds = f"{time.perf_counter() - began:.0f} s"
        named = re.match(r"(\w+): ", str(error)) if isinstance(error, EngineError) else None
        name = named[1].replace("_", " ") if named else ENGINE_STARTS
        yield Finding(name, "FAULT", f"the engine was refused after {seconds}", _sentence(error))
        return
    try:
        yield Finding(ENGINE_STARTS, "ok", f"{spec.backend.kind}, {time.perf_counter() - began:.0f} s")
        for check in getattr(backend, "checks", ()):  # what an OpenRLHF engine is asked at every start
            yield Finding(f"start: {check.name.replace('_', ' ')}", "ok", check.found)
        problems = load_training(spec.data, spec.rng_seed)[:PROBLEMS]
        yield from _Engine(spec, backend, problems, where).checks()
    finally:
        backend.close()


class _Engine:
    """A started engine and what was sampled from it."""

    def __init__(self, spec: RunSpec, backend: Any, problems: Sequence[Problem], directory: Path) -> None:
        self.spec, self.backend, self.problems, self.directory = spec, backend, problems, directory
        self.level = next(iter(spec.curriculum.levels))
        limit = spec.curriculum.levels[self.level].max_response_tokens
        self.sampling = Sampling(RESPONSES, limit, spec.algorithm.temperature)
        self.groups: list[tuple[Response, ...]] = []

    def sample(self) -> list[tuple[Response, ...]]:
        """The same problems and seed every time."""
        return list(self.backend.sample(self.problems, self.sampling, seed=1))

    def checks(self) -> Iterator[Finding]:
        """A fault ends them where what follows needs what failed."""
        for name, check in (
            ("whole groups", self.whole_groups),
            ("mismatch", self.update),
            ("weights arrive", self.arrive),
            ("save and load", self.restore),
            ("sleep and wake", self.sleep),
        ):
            try:
                finding = check(name)
            except Exception as error:
                finding = Finding(name, "FAULT", "it was not measured", _sentence(error))
            yield finding
            if name == "whole groups" and finding.verdict == "FAULT":
                return

    def whole_groups(self, name: str) -> Finding:
        """n responses to every problem, checked one by one where they come in (backends/completions.py)."""
        began = time.perf_counter()
        self.groups = self.sample()
        seconds = time.perf_counter() - began
        sizes = [len(g) for g in self.groups]
        if sizes != [RESPONSES] * len(self.problems):
            return Finding(name, "FAULT", f"groups of {sizes}", f"each must have {RESPONSES}: the engine loses samples")
        responses = [r for g in self.groups for r in g]
        tokens = sum(len(r.tokens) for r in responses)
        cut = sum(r.truncated for r in responses)
        measured = f"{len(sizes)} groups of {RESPONSES}, {tokens / seconds:.0f} tokens/s, {cut} cut off at the limit"
        distinct = len({r.tokens for r in responses})
        if distinct <= len(self.problems):
            return Finding(name, "FAULT", measured, "the responses of a group are all the same: its seeds do nothing")
        return Finding(name, "ok", measured)

    def update(self, name: str) -> Finding:
        """One update: what trainer and sampler disagree on at the same weights."""
        (self.directory / "saved").mkdir()
        self.backend.save(self.directory / "saved")
        responses = tuple(r for g in self.groups for r in g)
        values = tuple(((-1.0) ** i,) * len(r.tokens) for i, r in enumerate(responses))
        index = tuple(i // RESPONSES for i in range(len(responses)))
        batch = Batch(responses, values, index, (True,) * len(responses))
        settings = update_settings(self.spec, self.level, max(LEARNING_RATE, self.spec.optim.learning_rate), 0)
        terms = self.backend.update(batch, settings)
        bound = MISMATCH["bfloat16" if isinstance(self.spec.backend, OpenRLHFSpec) else self.spec.model.dtype]
        measured = f"{terms.mismatch_kl:.1e} nats a token (largest {terms.mismatch_max:.2g}), bound {bound:.0e}"
        if terms.mismatch_kl is None or not terms.mismatch_kl <= bound:
            advice = (
                "trainer and sampler do not hold the same policy: other weights, precision, temperature or tokens; "
                "see policy/{level}/mismatch_kl in docs/metrics.md"
            )
            return Finding(name, "FAULT", measured, advice)
        if not (math.isfinite(terms.loss) and terms.grad_norm > 0):
            return Finding(name, "FAULT", f"gradient norm {terms.grad_norm}", "the update moved nothing")
        return Finding(name, "ok", measured)

    def arrive(self, name: str) -> Finding:
        """After the update the sampler's log-probabilities are others."""
        moved = distance(self.groups, self.sample())
        measured = f"one update moved the sampler's log-probabilities by {moved:.1e} nats"
        if moved <= MOVED:
            return Finding(
                name, "FAULT", measured, "the sampler did not get the new weights: the broadcast does nothing"
            )
        return Finding(name, "ok", measured)

    def restore(self, name: str) -> Finding:
        """After loading what was saved before the update they are as before it."""
        self.backend.load(self.directory / "saved")
        left = distance(self.groups, self.sample())
        measured = f"{left:.1e} nats from the saved policy"
        if left > RESTORED:
            return Finding(name, "FAULT", measured, "a resumed run would go on from another policy")
        return Finding(name, "ok", measured)

    def sleep(self, name: str) -> Finding:
        """An engine that gave its memory back and took it again answers as before."""
        backend = self.spec.backend
        if not isinstance(backend, OpenRLHFSpec):
            return Finding(name, "-", "the local engine does not sleep")
        if not backend.sleep:
            return Finding(name, "-", "backend.sleep is off: a rehearsal's engine cannot sleep")
        before = self.sample()  # ends asleep
        asleep = set(self.backend.asleep)
        left = distance(before, self.sample())
        if asleep != {"weights", "kv_cache"}:
            return Finding(name, "FAULT", f"asleep after sampling: {sorted(asleep)}", "set backend.sleep=false")
        if left > RESTORED:
            return Finding(name, "FAULT", f"{left:.1e} nats after waking", "set backend.sleep=false: weights were lost")
        return Finding(name, "ok", f"weights and cache put to sleep and woken, {left:.1e} nats apart")


def distance(one: Sequence[Sequence[Response]], other: Sequence[Sequence[Response]]) -> float:
    """Mean |difference| of the log-probabilities of the tokens with which two responses begin alike, nats.

    Up to there they stand after the same context. inf where no two responses begin alike.
    """
    apart = []
    for a, b in ((a, b) for g, h in zip(one, other, strict=True) for a, b in zip(g, h, strict=True)):
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a.tokens, b.tokens, strict=False))
        apart += [abs(a.logprobs[i] - b.logprobs[i]) for i, _ in enumerate(alike)]
    return sum(apart) / len(apart) if apart else math.inf


def _sentence(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].strip() if isinstance(error, UserError) else f"{type(error).__name__}: {lines[0].strip()}"
