"""Is every set of reasoning-gym right by its own scorer? `python benchmarks/procedural_gold.py [problems] [set ...]`.

Of each offered set, problems (100) for training and as many held-out ones (`100+16`: fewer, for a set whose entries
take a second each and of which one in eight is held out) over all its levels, or as many as it has:
each problem's own answer is graded by the verifier that a run asks, from what a run keeps of the problem, and no prompt
is on both sides. A line a set: problems, right ones, entries left out, CPU-seconds; fails where one is not right.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import time

from eprli_lab.config.data import GeneratedSpec
from eprli_lab.config.procedural import OFFERED
from eprli_lab.data.families import generate
from eprli_lab.data.gym_verifier import verify
from eprli_lab.data.tasks import Split
from eprli_lab.errors import UserError
from eprli_lab.records import Problem


def asked(name: str, split: Split, count: int) -> tuple[list[Problem], list[str]]:
    """(problems, sentences on entries that were left out); fewer where the set has no more."""
    notes: list[str] = []
    try:
        return generate(GeneratedSpec(family=f"rg_{name}", problems=count), split, notes), notes
    except UserError as error:
        has = re.search(r"has only (\d+) distinct", str(error))
        if has is None or not 4 <= int(has[1]) < count:
            raise
        return asked(name, split, int(has[1]))


def examine(job: tuple[str, list[int]]) -> tuple[str, int, int, int, list[str], float]:
    """(set, problems, right, on both sides, notes, CPU-seconds)."""
    name, counts = job
    began, prompts, right, notes = time.process_time(), {}, 0, []
    for split, count in (("train", counts[0]), ("heldout", counts[-1])):
        problems, said = asked(name, split, count)  # type: ignore[arg-type]
        prompts[split] = {p.prompt for p in problems}
        right += sum(bool(verify(p.answers[0], (p.checks,))) for p in problems)
        notes += said
    both = len(prompts["train"] & prompts["heldout"])
    return name, sum(map(len, prompts.values())), right, both, notes, time.process_time() - began


def main() -> int:
    counts = [int(n) for n in (sys.argv[1] if len(sys.argv) > 1 else "100").split("+")]
    names = sys.argv[2:] or list(OFFERED)
    failed, total, seconds = [], 0, 0.0
    with multiprocessing.Pool(os.cpu_count(), maxtasksperchild=8) as pool:
        for name, n, right, both, notes, spent in pool.imap_unordered(examine, [(name, counts) for name in names]):
            total, seconds = total + n, seconds + spent
            print(f"{name:<28}{n:5} problems {right:5} right {spent:6.1f} CPU-s  {'; '.join(notes)}", flush=True)
            if right < n or both:
                failed.append(name)
    print(f"{len(names)} sets, {total} problems, {seconds:.0f} CPU-s; not right, or on both sides: {failed or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
