"""Measured difficulty: one minus the pass rate of the initial policy, problem by problem; interrupted work goes on.

What a pass rate depends on (weights, prompts, grader, sampling) is kept beside the rates, in `.meta.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.base import Backend
from eprli_lab.backends.weights import weights_digest
from eprli_lab.config.extensions import is_path, source_digests
from eprli_lab.config.paths import difficulty_path
from eprli_lab.config.prompts import PromptsSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.records import Problem, Sampling
from eprli_lab.training.evaluate import Grading, graded

CHUNK = 64  # problems between two writes
SAID = {"weights": "other weights", "prompts": "other prompts", "verify": "another grader or answer format"}


def provenance(spec: RunSpec, k: int, max_response_tokens: int) -> dict[str, Any]:
    """What the pass rates of a spec's problems depend on: content of the side file. Raises UserError."""
    own = spec.format_of(spec.data.source)
    verify: dict[str, Any] = {"format": own, "grader": spec.verify.grader, "symbolic": spec.verify.symbolic}
    if is_path(own) or is_path(spec.verify.grader):
        verify["sources"] = source_digests([own, spec.verify.grader])
    meta = {
        "model": spec.model.model_dump(mode="json"),
        "weights": weights_digest(spec.model, spec.data.generated.family if spec.data.generated else None),
        "data": spec.data.model_dump(mode="json", exclude={"difficulty_file"}),
        "verify": verify,
        "k": k,
        "temperature": spec.algorithm.temperature,
        "max_response_tokens": max_response_tokens,
        "seed": spec.seed,
    }
    if spec.prompts != PromptsSpec():
        meta["prompts"] = spec.prompts.model_dump(mode="json")
    return meta


def measured_otherwise(spec: RunSpec) -> tuple[str, ...]:
    """A sentence where `data.difficulty_file` was measured of another policy, with other prompts or another grader.

    That is legitimate, and to be known. Nothing where the file says nothing of it.
    """
    if spec.data.difficulty_file is None:
        return ()
    side = difficulty_path(spec.data.difficulty_file).with_suffix(".meta.json")
    try:
        before = _object(side.read_text(errors="replace"))
    except OSError:
        before = None
    if before is None:
        return ()
    now = provenance(spec, 1, 1)
    keys = ["weights" if "weights" in before else "model", "prompts", *(["verify"] if "verify" in before else [])]
    other = [SAID.get(key, f"another {key}") for key in keys if before.get(key) != now.get(key)]
    if not other:
        return ()
    return (
        f"data.difficulty_file: {spec.data.difficulty_file} was measured with {' and '.join(other)} than this run "
        "has: its pass rates are not those of the initial policy here",
    )


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
            changed = [key for key in {**meta, **before} if before.get(key) != meta.get(key)]
            if before and "weights" not in before and changed[:1] == ["weights"]:
                raise UserError(
                    f"{out} does not say of which weights it was measured, as an earlier version wrote it: give "
                    "out=FILE or remove it"
                )
            if changed:
                other = SAID.get(changed[0], f"another {changed[0]}")
                raise UserError(f"{out} was measured with {other}: give out=FILE or remove it")
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
