"""Small runs on the scripted engine that leave checkpoints behind, and how an older version left them."""

from __future__ import annotations

import json
from pathlib import Path

from helpers import ScriptedBackend, small_spec
from loops import TINY, small_levels

from eprli_lab.backends import manifest
from eprli_lab.config.spec import RunSpec
from eprli_lab.training.checkpoint import RunStore


def separate_levels(*more: str) -> RunSpec:
    """Two levels with networks of their own, a few steps."""
    return small_spec(*TINY, *small_levels(2), "budget.amount=1500", "curriculum.weights=separate", *more)


def scripted() -> ScriptedBackend:
    return ScriptedBackend(lambda p, u: min(0.9, 0.3 + 0.02 * u))


def older_version(where: Path) -> Path:
    """The newest checkpoint as an older version wrote it: no manifest, and no word of one."""
    checkpoint = RunStore(where, "").checkpoints()[-1]
    (checkpoint / manifest.NAME).unlink()
    state = json.loads((checkpoint / "state.json").read_text())
    del state["manifest"]
    (checkpoint / "state.json").write_text(json.dumps(state))
    return checkpoint
