"""Milliseconds that one program takes in the sandbox, by mode: start, run, compare, end.

    python benchmarks/sandbox.py [programs]

Small programs of `data=code` with six calls each, and the canonical solutions of HumanEval where the package is there.
Wall time and processor time (this process, the server and the programs) of one program after another: median, mean.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import sys
import time

from eprli_lab.config.data import SourceSpec
from eprli_lab.config.sandbox import SandboxSpec
from eprli_lab.data.families import draw_from, make_family
from eprli_lab.data.humaneval import PATH, read_human_eval
from eprli_lab.errors import UserError
from eprli_lab.grading.sandbox import Mode, SandboxError
from eprli_lab.grading.source import program_of
from eprli_lab.grading.tests import Runner


def processor() -> float:
    """Seconds of this process and of its children that have ended."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measure(mode: Mode, cases: list[tuple[str, str]]) -> str:
    """One line: each (program, checks) once, none of them known before."""
    began_cpu = processor()
    runner = Runner(SandboxSpec(), 60.0)
    runner.programs.mode = runner.tests.mode = mode
    begin = time.perf_counter()
    with runner.programs.run():
        start = time.perf_counter() - begin
    took = []
    for source, checks in cases:
        begin = time.perf_counter()
        runner.verdict(source, checks)
        took.append(1000 * (time.perf_counter() - begin))
    runner.close()
    cpu = 1000 * (processor() - began_cpu) / len(cases)
    return (
        f"median {statistics.median(took):.2f} ms, mean {statistics.fmean(took):.2f} ms, processor {cpu:.2f} ms a "
        f"program; the server's start {1000 * start:.0f} ms"
    )


def main(count: int) -> None:
    """Print one line a kind of program and mode."""

    family, rng = make_family("code"), random.Random(0)
    kinds: dict[str, list[tuple[str, str]]] = {"code": [], "humaneval": []}
    for i in range(count):
        task = draw_from(family, 1 + i % 8, rng, "train")
        program = program_of(family.worked(task, rng, 0.25), json.loads(task.checks))
        assert program is not None
        kinds["code"].append((program.source, task.checks))
    try:
        for p in read_human_eval(SourceSpec(path=PATH), "humaneval"):
            checks = json.loads(p.checks)
            program = program_of(p.answers[0], checks)
            assert program is not None
            kinds["humaneval"].append((program.source, p.checks))
    except UserError as error:
        print(error)
    modes: list[Mode] = ["user", "root", "plain"] if os.geteuid() == 0 else ["user", "plain"]
    for kind, cases in kinds.items():
        for mode in modes if cases else ():
            try:
                print(f"{kind:9} {mode:5} {len(cases):4} programs: {measure(mode, cases)}")
            except SandboxError as error:
                print(f"{kind:9} {mode:5} {error}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
