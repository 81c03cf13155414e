"""`eprli-lab difficulty`: measured difficulty, one minus the pass rate of the initial policy."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from eprli_lab.cli.command import Command
from eprli_lab.cli.words import ANY, Key, split
from eprli_lab.errors import UserError
from eprli_lab.escaping import visible

KEYS = (
    Key("k", "answers a problem (default: 8)", example="8"),
    Key("out", "the file to write (default: DATA.difficulty.jsonl, beside a data file)", example="FILE"),
    Key("limit", "the first so many problems only", example="100"),
    ANY,
)


def _arguments(given: list[str]) -> tuple[int, Path | None, int | None, list[str]]:
    """k, out, limit and the config overrides. Raises UserError."""
    own, overrides = split(given, ("k", "out", "limit"))
    numbers = {}
    for key in ("k", "limit"):
        if key in own and not (own[key].isdecimal() and int(own[key]) >= 1):
            raise UserError(f"{key}={own[key]}: a whole number of at least 1 is needed")
        numbers[key] = int(own[key]) if key in own else None
    if own.get("out") == "":
        raise UserError("out=: name the file to write, for instance out=pass_rates.jsonl")
    return numbers["k"] or 8, Path(own["out"]) if "out" in own else None, numbers["limit"], overrides


def run(given: list[str]) -> Path:
    """The command; the file written. Raises UserError."""
    from eprli_lab.backends.build import build_backend
    from eprli_lab.config.compose import compose_data
    from eprli_lab.data.load import read_training
    from eprli_lab.grading.grader import Grader
    from eprli_lab.records import Sampling
    from eprli_lab.training.difficulty import CHUNK, measure, provenance, resume
    from eprli_lab.training.problems import check_context, keep_short

    k, out, limit, overrides = _arguments(given)
    spec = compose_data(overrides)
    notes: list[str] = []
    problems, left_out = keep_short(spec, read_training(spec.data, notes)[:limit])
    if out is None:
        source = spec.data.source
        out = Path(f"{spec.data.name}.difficulty.jsonl")
        if source is not None and Path(source.path).is_file():
            out = Path(source.path).with_suffix(".difficulty.jsonl")
    last = list(spec.curriculum.levels.values())[-1]
    check_context(spec, "data", problems, last.max_response_tokens, training=True)
    done = resume(out, provenance(spec, k, last.max_response_tokens), [p.id for p in problems])
    left = [p for p in problems if p.id not in done]
    notes += [*left_out, f"{out}: {len(done)} of {len(problems)} problems measured, k={k}"]
    print(visible("\n".join(notes)), flush=True)
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
            sampling=Sampling(k, last.max_response_tokens, spec.algorithm.temperature),
            seed=spec.seed,
            on_chunk=on_chunk,
        )
    rates = [json.loads(line)["pass_rate"] for line in out.read_text().splitlines()]
    print(
        f"{out}: mean pass rate {sum(rates) / len(rates):.3f} over {len(rates)} problems; "
        f"use data.difficulty_file={out}"
    )
    return out


def _difficulty(words: list[str]) -> None:
    run(words)


command = Command(
    "difficulty",
    _difficulty,
    """Measured difficulty: one minus the pass rate of the initial policy.

The result is used with data.difficulty_file=FILE. Interrupted work goes on.""",
    usage="[KEY=VALUE]...",
    keys=KEYS,
    examples=(
        ("k=8", "the default data, into ./mod10.difficulty.jsonl"),
        ("k=8 data=jsonl data.source.path=problems.jsonl model=path model.path=DIR", "your data, your policy"),
        ("limit=100 out=first.jsonl", "the first hundred problems"),
    ),
    overrides=True,
    sentences={"interrupted": "interrupted: the same command goes on from here"},
)
