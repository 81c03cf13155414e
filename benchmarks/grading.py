"""Agreement of the grader and of plain math-verify with verdicts by hand, and the time that each takes.

    python benchmarks/grading.py shared/data/grading_cases.jsonl

A case is a line {gold: [...], response, right, kind}. One run, both graders, so that the ratio means something: each
grades every case, and the typical mix (plain numbers, fractions, expressions, half of them wrong), in this process,
once to warm up and then `ROUNDS` times over answers that no cache has seen.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from math_verify import parse, verify

from eprli_lab.grading.answers import exact
from eprli_lab.grading.boxes import boxed_answer, without_thinking
from eprli_lab.grading.grader import boxed

ROUNDS = 40
MIX = (  # (gold, answer), {n} a new number each round: what a run on mathematics problems grades
    ("{n}", "{n}"), ("{n}", "{m}"), ("{n}", "{m}"), ("{n}", "{n}.0"), (r"\frac{{{n}}}{{7}}", r"\dfrac{{{n}}}{{7}}"),
    (r"\frac{{{n}}}{{7}}", r"\frac{{{m}}}{{7}}"), (r"\frac{{{n}}}{{2}}", "{n}/2"), (r"{n}\sqrt{{2}}", r"{m}\sqrt{{2}}"),
    (r"{n}\pi", r"\pi {n}"), ("({n}, {m})", "({n},{m})"), ("{n}, {m}", "{m}, {n}"), ("x^2+{n}", "{n}+x^2"),
)  # fmt: skip


def math_verify(response: str, golds: tuple[str, ...]) -> bool:
    """As its README says, on the boxed gold."""
    answer = parse(response, parsing_timeout=None)
    return any(verify(parse(f"\\boxed{{{g}}}", parsing_timeout=None), answer, timeout_seconds=None) for g in golds)


def ours(response: str, golds: tuple[str, ...]) -> bool:
    return boxed(response, golds).correct


def agreement(cases: list[dict[str, Any]]) -> str:
    """A table: right, false positives, false negatives, by grader and in all, and the kinds that differ."""
    rows = ["| grader | right | false positives | false negatives |", "|---|---|---|---|"]
    wrong_kinds: dict[str, Counter[str]] = {}
    for name, grade in (("eprli_lab", ours), ("math-verify", math_verify)):
        verdicts = [grade(c["response"], tuple(c["gold"])) for c in cases]
        wrong = [c for c, v in zip(cases, verdicts, strict=True) if v != c["right"]]
        false_positives = sum(not c["right"] for c in wrong)
        wrong_kinds[name] = Counter(c["kind"] for c in wrong)
        rows.append(f"| {name} | {len(cases) - len(wrong)} | {false_positives} | {len(wrong) - false_positives} |")
    rows += ["", "Not as by hand, by kind:", ""]
    for name, kinds in wrong_kinds.items():
        rows.append(f"- {name}: " + (", ".join(f"{kind} {n}" for kind, n in kinds.most_common()) or "none"))
    return "\n".join(rows)


def mix(round_: int) -> list[tuple[str, tuple[str, ...]]]:
    """The typical mix with numbers of its own."""
    numbers = {"n": 10 * round_ + 3, "m": 10 * round_ + 8}
    return [(f"It is \\boxed{{{a.format(**numbers)}}}.", (g.format(**numbers),)) for g, a in MIX]


def seconds(grade: Callable[[str, tuple[str, ...]], bool], start: int) -> float:
    """A pair of the mix."""
    for response, golds in mix(start):
        grade(response, golds)
    pairs = [p for r in range(start + 1, start + 1 + ROUNDS) for p in mix(r)]
    began = time.perf_counter()
    for response, golds in pairs:
        grade(response, golds)
    return (time.perf_counter() - began) / len(pairs)


def main(path: str) -> None:
    logging.disable(logging.CRITICAL)
    cases = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    print(f"{len(cases)} answers\n\n{agreement(cases)}\n")
    answers = [(boxed_answer(without_thinking(c["response"])), c["gold"]) for c in cases]
    decided = sum(a is None or exact(a, g) is not None for a, g in answers)
    print(f"without algebra: {decided} of {len(cases)} decided")
    own, theirs = seconds(ours, 0), seconds(math_verify, 1000)
    print(f"typical mix: {own * 1e6:.0f} us a pair; math-verify {theirs * 1e6:.0f} us; ratio {theirs / own:.1f}")
    repeats = 20_000
    began = time.perf_counter()
    for _ in range(repeats):
        exact("42", ("42",))
    print(f"digits: {(time.perf_counter() - began) / repeats * 1e6:.2f} us")


if __name__ == "__main__":
    main(*sys.argv[1:])
