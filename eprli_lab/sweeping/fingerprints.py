"""What the name of a study stands for: the configuration of its arms, the code that makes the numbers, and the data."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eprli_lab.config.spec import RunSpec

# What is here decides a run's numbers; tracking, sweeping and the entry points do not.
TRAINING = ("batch", "evaluate", "loop", "policies", "rollout", "state")
CODE = (
    *("algorithm", "backends", "data", "grading", "records.py"),
    *(f"training/{name}.py" for name in TRAINING),
)
LIBRARIES = ("torch", "transformers")
SHOWN = 5  # differences in the sentence of a refusal


def code_digests() -> dict[str, str]:
    """File of the package -> digest, and library -> version."""
    package = Path(__file__).resolve().parent.parent
    files = [f for name in CODE for f in (sorted((package / name).rglob("*.py")) or [package / name])]
    out = {str(f.relative_to(package)): _digest([f.read_bytes()]) for f in files}
    return out | {name: importlib.metadata.version(name) for name in LIBRARIES}


def data_digests(specs: Iterable[RunSpec]) -> dict[str, str]:
    """Local file or directory that a run reads -> digest; the source of the user's own functions is read, too.

    Generated problems are bound by code and configuration.
    """
    paths: set[str] = set()
    for spec in specs:
        sources = [spec.data.source, *(s.source for s in spec.evaluation.suites.values())]
        paths |= {s.path for s in sources if s is not None}
        paths |= {os.path.relpath(f) for f in spec.extension_files()}
        paths |= {p for p in (spec.data.difficulty_file, spec.model.path) if p is not None}
    return {p: _path_digest(Path(p)) for p in sorted(paths) if Path(p).exists()}


def _path_digest(path: Path) -> str:
    """Of a file: its bytes. Of a directory (a model): names and sizes, and the bytes of small files."""
    if path.is_file():
        return _digest([path.read_bytes()])
    parts = []
    for file in sorted(f for f in path.rglob("*") if f.is_file()):
        size = file.stat().st_size
        parts += [f"{file.relative_to(path)} {size}".encode(), file.read_bytes() if size < 1 << 20 else b""]
    return _digest(parts)


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.blake2b(digest_size=6)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def differences(bound: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """One line a change in what both name; a whole arm, file set or the like that one of them lacks is no change."""
    lines = []
    for part in sorted(bound.keys() & now.keys()):
        before, after = bound[part], now[part]
        for key in sorted(before.keys() | after.keys()):
            if part == "data" and (key not in before or key not in after):
                continue  # another arm's file
            old, new = before.get(key, "(absent)"), after.get(key, "(absent)")
            if old != new:
                lines.append(f"{'code ' if part == 'code' else ''}{key}: {old} -> {new}")
    return list(dict.fromkeys(lines))


def summarize(lines: list[str]) -> str:
    """The first few, and how many more."""
    return "; ".join(lines[:SHOWN]) + (f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")
