"""The one narrow interface between the loop and an engine ("One loop, two engines": docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from eprli_lab.records import Batch, LossTerms, Problem, Response, Sampling, UpdateSettings


class Backend(Protocol):
    """An engine that holds one policy. Buffer, rewards, advantages and metrics are not its business.

    All randomness of `sample` comes from its `seed` argument: an engine keeps no sampling state, so a resumed
    run draws what the uninterrupted one would have drawn.
    """

    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, seed: int) -> Iterable[tuple[Response, ...]]:
        """n responses for each problem, in order, from the current policy; may hand groups over one by one.

        Of a response that was begun (`Problem.begun`), the text is the whole one's, the tokens are the new ones.
        Whole groups or an error: raises EngineError for a group that is not what was asked for (completions.py).
        """
        ...

    def update(self, batch: Batch, settings: UpdateSettings) -> LossTerms:
        """Train on the batch and make the new weights the ones that `sample` uses.

        Raises NonFiniteError when the loss or the gradient is NaN or infinite, with weights and optimizer as before
        the offending step (local), or of no more use until `load` (openrlhf).
        """
        ...

    def save(self, path: Path) -> None:
        """Write weights (a Hugging Face checkpoint) and optimizer state into the directory `path`."""
        ...

    def load(self, path: Path) -> None:
        """Restore what `save` wrote, bit for bit. Raises UserError if the checkpoint has another shape."""
        ...

    def close(self) -> None:
        """Release the engine."""
        ...
