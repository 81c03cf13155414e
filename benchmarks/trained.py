"""The trained default policy for the benchmarks: the default run, quietly, in a temporary directory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from eprli_lab.config.compose import compose_spec
from eprli_lab.training.execute import assemble


def trained_backend() -> tuple[Any, Any]:
    """(backend after a default run of 30,000 tokens, spec)."""
    spec = compose_spec(["curriculum=l1", "budget.amount=30000", "evaluation.samples=1", "evaluation.curve_points=0"])
    with tempfile.TemporaryDirectory() as directory:
        trainer, *_ = assemble(spec, Path(directory), lambda: False, lambda _: None)
        scores = trainer.run()
    print(f"policy: {spec.model.name} after 30,000 tokens of GRPO, score {scores['score']:.3f}")
    return trainer.backend, spec
