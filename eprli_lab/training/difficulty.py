"""Measured difficulty: one minus the pass rate of the initial policy, problem by problem; interrupted work goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.base import Backend
from eprli_lab.errors import UserError
from eprli_lab.records import Problem, Sampling
from eprli_lab.training.evaluate import Grading, graded

CHUNK = 64  # problems between two writes


def measure(
    problems: Sequence[Problem],
    backend: Backend,
    grader: Grading,
    *,
    sampling: Sampling,
    seed: int,
    on_chunk: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Sample k = `sampling.n` responses a problem, `CHUNK` problems at a time.

    Rows {id, pass_rate, correct, k} go to `on_chunk`.
    A chunk's sampling seed is made from its first problem's id, so that resumed work gives the same numbers.
    """
    k = sampling.n
    for i in range(0, len(problems), CHUNK):
        chunk = problems[i : i + CHUNK]
        draw = derive_seed(seed, "difficulty", chunk[0].id)
        groups = backend.sample(chunk, sampling, seed=draw)
        rows = []
        for problem, (_, grades) in zip(chunk, graded(groups, chunk, grader), strict=True):
            correct = sum(g.correct for g in grades)
            rows.append({"id": problem.id, "pass_rate": correct / k, "correct": correct, "k": k})
        on_chunk(rows)


def resume(out: Path, meta: dict[str, Any], ids: Sequence[str]) -> set[str]:
    """Ids that were measured before under the same settings. Raises UserError where they differ.

    Of interrupted work whole chunks are kept: the sampling seed belongs to the chunk, so half a one is measured again.
    """
    side = out.with_suffix(".meta.json")
    try:
        if out.is_file() and out.stat().st_size and not side.is_file():
            raise UserError(f"{out} exists and was not written by this command ({side} is missing): give out=FILE")
        if out.is_file() and side.is_file():
            before = _object(side.read_text(errors="replace")) or {}
            changed = [key for key in meta if before.get(key) != meta[key]]
            if changed:
                raise UserError(f"{out} was measured with another {changed[0]}: give out=FILE or remove it")
            lines = out.read_text(errors="replace").splitlines()
            found = [str((_object(line) or {}).get("id", "")) for line in lines]
            whole = found.index("") if "" in found else len(found)  # the last line may be half written
            measured = found[:whole]
            if not set(ids) <= set(measured):
                measured = measured[: whole - whole % CHUNK]
            out.write_text("".join(line + "\n" for line in lines[: len(measured)]))
            return set(measured)
        side.write_text(json.dumps(meta, indent=1) + "\n")
        out.write_text("")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): give out=FILE") from None
    return set()


def _object(text: str) -> dict[str, Any] | None:
    """A JSON object, or None where the text is not a whole one."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
