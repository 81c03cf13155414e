"""The learned process reward model of `algorithm.reward_density: implicit`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from eprli_lab.config.fields import Positive, Strict


class ImplicitSpec(Strict):
    """PRIME (arXiv 2502.01456); all of it idles unless `reward_density` is `implicit` (docs/algorithm.md)."""

    beta: Annotated[float, Field(ge=0.0, le=10.0)] = 0.05  # of log(pi_phi / pi_ref); 0: the outcome run
    # null: twice optim.learning_rate, as PRIME has them (1e-6 beside 5e-7); constant in either case
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    passes: Positive = 1  # optimizer steps an update, each over all of its responses
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 10.0
