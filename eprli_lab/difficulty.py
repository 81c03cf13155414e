"""`python -m eprli_lab.difficulty`: measured difficulty, one minus the pass rate of the initial policy.

    python -m eprli_lab.difficulty k=8                            # the default data, into ./mod10.difficulty.jsonl
    python -m eprli_lab.difficulty k=8 data=jsonl data.source.path=problems.jsonl model.path=...   # beside the data

Any config override is taken. The result is used with `data.difficulty_file=FILE`. Interrupted work goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from eprli_lab.algorithm.seeding import derive_seed
from eprli_lab.backends.base import Backend
from eprli_lab.errors import UserError
from eprli_lab.evaluate import Grading, graded
from eprli_lab.records import Problem
from eprli_lab.spec import RunSpec

CHUNK = 64  # problems between two writes


def measure(
    problems: Sequence[Problem],
    backend: Backend,
    grader: Grading,
    *,
    k: int,
    max_tokens: int,
    temperature: float,
    seed: int,
    on_chunk: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Sample k responses a problem, `CHUNK` problems at a time; rows {id, pass_rate, correct, k} go to `on_chunk`.

    A chunk's sampling seed is made from its first problem's id, so that resumed work gives the same numbers.
    """
    for i in range(0, len(problems), CHUNK):
        chunk = problems[i : i + CHUNK]
        draw = derive_seed(seed, "difficulty", chunk[0].id)
        groups = backend.sample(chunk, n=k, max_tokens=max_tokens, temperature=temperature, seed=draw)
        rows = []
        for problem, (_, grades) in zip(chunk, graded(groups, chunk, grader), strict=True):
            correct = sum(g.correct for g in grades)
            rows.append({"id": problem.id, "pass_rate": correct / k, "correct": correct, "k": k})
        on_chunk(rows)


def _arguments(given: list[str]) -> tuple[int, Path | None, int | None, list[str]]:
    """k, out, limit and the config overrides."""
    own: dict[str, str] = {}
    overrides = []
    for a in given:
        key, _, value = a.partition("=")
        if key in ("k", "out", "limit"):
            own[key] = value
        else:
            overrides.append(a)
    numbers = {}
    for key in ("k", "limit"):
        if key in own and not (own[key].isdecimal() and int(own[key]) >= 1):
            raise UserError(f"{key}={own[key]}: a whole number of at least 1 is needed")
        numbers[key] = int(own[key]) if key in own else None
    if own.get("out") == "":
        raise UserError("out=: name the file to write, for instance out=pass_rates.jsonl")
    return numbers["k"] or 8, Path(own["out"]) if "out" in own else None, numbers["limit"], overrides


def _spec(overrides: list[str]) -> RunSpec:
    """The composed spec; data without a difficulty is what this command is for."""
    from eprli_lab.compose import compose_tree
    from eprli_lab.spec import parse_spec

    tree = compose_tree(overrides, leave_out=("evaluation",))
    unused = {"generated": {"family": "mod10", "problems": 1}}  # nothing is evaluated here
    tree["evaluation"] = {"suites": {"unused": unused}}
    if tree.get("data", {}).get("difficulty_file") is None:
        tree["data"]["difficulty_file"] = "to be measured"
    return parse_spec(tree)


def run(given: list[str]) -> Path:
    """The command; the file written. Raises UserError."""
    from eprli_lab.backends.build import build_backend
    from eprli_lab.data import read_training
    from eprli_lab.verify import Grader

    k, out, limit, overrides = _arguments(given)
    spec = _spec(overrides)
    problems = read_training(spec.data)[:limit]
    if out is None:
        source = spec.data.source
        out = Path(f"{spec.data.name}.difficulty.jsonl")
        if source is not None and Path(source.path).is_file():
            out = Path(source.path).with_suffix(".difficulty.jsonl")
    last = list(spec.curriculum.levels.values())[-1]
    meta = {
        "model": spec.model.model_dump(mode="json"),
        "data": spec.data.model_dump(mode="json", exclude={"difficulty_file"}),
        "k": k,
        "temperature": spec.algorithm.temperature,
        "max_response_tokens": last.max_response_tokens,
        "seed": spec.seed,
    }
    done = _resume(out, meta, [p.id for p in problems])
    left = [p for p in problems if p.id not in done]
    print(f"{out}: {len(done)} of {len(problems)} problems measured, k={k}", flush=True)
    backend = build_backend(spec, Path("outputs") / f"difficulty-{spec.fingerprint()}")
    count = len(done)

    def on_chunk(rows: list[dict[str, Any]]) -> None:
        nonlocal count
        with open(out, "a") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)
        count += len(rows)
        if sys.stdout.isatty() or (count // CHUNK) % 10 == 0:
            print(f"{count}/{len(problems)} problems", end="\r" if sys.stdout.isatty() else "\n", flush=True)

    with closing(backend), Grader(spec.verify) as grader:
        measure(
            left,
            backend,
            grader,
            k=k,
            max_tokens=last.max_response_tokens,
            temperature=spec.algorithm.temperature,
            seed=spec.seed,
            on_chunk=on_chunk,
        )
    rates = [json.loads(line)["pass_rate"] for line in out.read_text().splitlines()]
    print(
        f"{out}: mean pass rate {sum(rates) / len(rates):.3f} over {len(rates)} problems; "
        f"use data.difficulty_file={out}"
    )
    return out


def _resume(out: Path, meta: dict[str, Any], ids: Sequence[str]) -> set[str]:
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


def main() -> None:
    """Command line."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        run(sys.argv[1:])
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
