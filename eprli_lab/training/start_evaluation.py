"""The evaluation of an initial policy, made once a machine: all arms and seeds of a study begin at the same one.

What it answers follows from the weights, the rendered prompts, how they are sampled and graded, the code and the
machine's arithmetic; the key holds all of that, so what is found under it is what would be sampled. The local engine
alone: on a GPU server nothing promises the same draw twice. EPRLI_LAB_EVALUATIONS=0 turns it off.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from eprli_lab.backends.base import Backend
from eprli_lab.config.extensions import source_digests
from eprli_lab.config.paths import cache_directory
from eprli_lab.config.spec import RunSpec
from eprli_lab.files import seal, unseal, write_whole
from eprli_lab.records import Problem
from eprli_lab.training.evaluate import Grading, Outcome

SWITCH = "EPRLI_LAB_EVALUATIONS"
KEPT = 64  # evaluations; the oldest are removed
UNSURE = ("timeout", "error")  # another time the answer may be graded


@dataclass(frozen=True)
class Known:
    """Where the start evaluation of a run is kept, on this machine."""

    file: Path

    def recall(self, grader: Grading) -> list[Outcome] | None:
        """What was found before, counted by the grader as if it were graded now; None: it is not known."""
        try:
            entry = unseal(self.file.read_text())
            outcomes = [Outcome(**row) for row in entry["outcomes"]]
            graded = {str(k): int(v) for k, v in entry["graded"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or damaged: made again
            return None
        grader.counters.update(graded)
        with contextlib.suppress(OSError):
            os.utime(self.file)
        return outcomes

    def keep(self, outcomes: Sequence[Outcome], graded: Counter[Any]) -> None:
        """Keep what was sampled and graded now; where that may come out otherwise another time, or no room is, nothing.

        `graded`: its answers by status.
        """
        if any(graded[status] for status in UNSURE):
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, seal({"outcomes": [asdict(o) for o in outcomes], "graded": dict(graded)}))
            for old in sorted(self.file.parent.glob("*.json"), key=lambda f: f.stat().st_mtime)[:-KEPT]:
                old.unlink(missing_ok=True)


def known_start(spec: RunSpec, backend: Backend, suites: Mapping[str, Sequence[Problem]]) -> Known | None:
    """For a run that has not begun, its engine as it was built; None: another engine, or turned off."""
    from eprli_lab.backends.local.engine import LocalBackend

    if not isinstance(backend, LocalBackend) or os.environ.get(SWITCH) == "0":
        return None
    functions = [name for _, name in spec.extensions().values()]
    content = {
        "policy": backend.identity(),
        "prompts": {n: _digest([backend.adapter.prompt(p) for p in problems]) for n, problems in suites.items()},
        "problems": {n: _digest([repr(p) for p in problems]) for n, problems in suites.items()},
        "evaluation": spec.evaluation.model_dump(mode="json"),
        "verify": spec.verify.model_dump(mode="json", exclude={"processes"}),
        "functions": source_digests(functions),
        "code": _code(),
        "libraries": {name: metadata.version(name) for name in ("tokenizers", "transformers", "math-verify", "sympy")},
    }
    try:
        return Known(cache_directory("evaluations") / f"{_digest(content)}.json")
    except RuntimeError:  # a user without a home
        return None


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:24]


@functools.cache
def _code() -> str:
    """Of this package's sources: who changes the sampler or the grader gets new answers."""
    root, total = Path(__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted([*root.rglob("*.py"), *root.rglob("*.cpp")]):
        total.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return total.hexdigest()[:24]
