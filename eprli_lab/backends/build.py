"""The engine that a spec asks for."""

from __future__ import annotations

from pathlib import Path

from eprli_lab.backends.base import Backend
from eprli_lab.backends.rewarder import ProcessRewarder
from eprli_lab.config.backend import LocalSpec
from eprli_lab.config.spec import RunSpec


def build_backend(spec: RunSpec, directory: Path) -> Backend:
    """A started engine; `directory` is the run's own. Raises UserError, and nothing is left running then."""
    if isinstance(spec.backend, LocalSpec):
        from eprli_lab.backends.local.engine import LocalBackend

        return LocalBackend(
            spec.model,
            spec.optim,
            spec.backend,
            family=spec.data.generated.family if spec.data.generated else None,
            kl_reference=spec.algorithm.kl_coef > 0,
            seed=spec.rng_seed,
            ends=spec.checks_steps,
            prompts=spec.prompts,
        )
    from eprli_lab.backends.openrlhf.engine import OpenRLHFBackend

    return OpenRLHFBackend(spec, directory)


def build_rewarder(spec: RunSpec, backend: Backend) -> ProcessRewarder | None:
    """The model that learns process rewards, beside an engine that was just built; None where they are not learned."""
    if spec.algorithm.reward_density != "implicit":
        return None
    from eprli_lab.backends.local.engine import LocalBackend
    from eprli_lab.backends.local.implicit import ImplicitRewarder

    assert isinstance(backend, LocalBackend)  # the other one refuses it (openrlhf/flags.py)
    return ImplicitRewarder(backend, spec.algorithm.implicit, spec.optim)


def described(backend: Backend) -> dict[str, str]:
    """What the engine says of how it computes; the numbers of a run differ by rounding where this differs."""
    decode: str = getattr(backend, "decode_loop", "")
    return {"decode": decode} if decode else {}
