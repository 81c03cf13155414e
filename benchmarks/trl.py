"""The same GRPO work by TRL 1.16, tuned by hand, and by us, with and without a compiler: CPU time, learning, a table.

    python benchmarks/trl.py [--seeds 0,1,2,3] [--updates 33] [--every 3] [--environment DIR]

TRL is installed into an environment of its own (once; kept in the user's cache), which lies over the one that runs
this: all sides use the same torch and transformers, and nothing is installed into ours. Per seed the sides (ours with
the compiled decode loop, ours with torch's, TRL) take turns, one process and one thread at a time. Policy mod10, 8
prompts x 16 responses of at most 76 tokens an update, the same problems, reward, loss and optimizer
(benchmarks/side_by_side.py); held-out scores are measured by the same engine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VERSION = "1.16.*"
OURS = ("compiled", "torch")  # decode loops of our engine
GOAL = 0.8  # held-out score to which tokens are counted
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36}  # quantiles of Student's t by degrees of freedom


def environment(directory: Path) -> Path:
    """The Python that has TRL; made where there is none."""
    python = directory / "bin" / "python"
    done = directory / "installed"
    if done.is_file():
        return python
    venv.create(directory, with_pip=True, clear=True)
    packages = next(directory.glob("lib/python*/site-packages"))
    (packages / "beneath.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    install = [str(python), "-m", "pip", "install", "-q", f"trl=={VERSION}", "-c", str(ROOT / "constraints.txt")]
    subprocess.run(install, check=True)
    done.touch()
    return python


def run(python: str | Path, side: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """What one side of one seed measured."""
    script = str(ROOT / "benchmarks" / "side_by_side.py")
    command = [str(python), "-P", script, side, str(seed), str(options.updates), str(options.every)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def reached(rows: list[dict[str, float]], key: str) -> float:
    """`key` (tokens, cpu) where the held-out score reached GOAL, on a line between evaluations; nan: never."""
    before: dict[str, float] | None = None
    for row in rows:
        if "score" not in row:
            continue
        if row["score"] >= GOAL:
            if before is None:
                return row[key]
            part = (GOAL - before["score"]) / (row["score"] - before["score"])
            return before[key] + part * (row[key] - before[key])
        before = row
    return math.nan


def numbers(result: dict[str, Any]) -> dict[str, float]:
    """Of one run: CPU-seconds per 1,000 useful tokens (all, generate, the rest), to GOAL, the final score, memory."""
    end = result["rows"][-1]
    thousands = end["tokens"] / 1000
    return {
        "all": end["cpu"] / thousands,
        "generate": end["generate"] / thousands,
        "rest": (end["cpu"] - end["generate"]) / thousands,
        "tokens": reached(result["rows"], "tokens"),
        "cpu": reached(result["rows"], "cpu"),
        "score": end["score"],
        "memory": result["memory"],
    }


def interval(values: list[float]) -> str:
    """Mean and 95% interval of paired differences."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:+.3f}"
    half = T95.get(len(values) - 1, 2.0) * statistics.stdev(values) / math.sqrt(len(values))
    verdict = "contains 0: equal within noise" if abs(mean) <= half else "does not contain 0"
    return f"{mean:+.3f} (95% interval {mean - half:+.3f} to {mean + half:+.3f}, {verdict})"


def spread(values: list[float]) -> str:
    """Median and range of ratios."""
    kept = [v for v in values if math.isfinite(v)]
    return f"{statistics.median(kept):.2f} ({min(kept):.2f} to {max(kept):.2f})" if kept else "-"


def table(seeds: list[int], sides: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: a row a seed and side, and the ratios TRL : ours, for each decode loop."""
    head = ["seed", "side", "CPU-s / 1,000 tokens", "generate", "train and rest", f"tokens to {GOAL:.2f}"]
    head += [f"CPU-s to {GOAL:.2f}", "final score", "peak MB"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for i, seed in enumerate(seeds):
        for side, runs in sides.items():
            n = runs[i]
            cells = [str(seed), side, f"{n['all']:.4f}", f"{n['generate']:.4f}", f"{n['rest']:.4f}"]
            cells += [f"{n['tokens']:,.0f}", f"{n['cpu']:.1f}", f"{n['score']:.3f}", f"{n['memory']:.0f}"]
            lines.append(" | ".join(cells))
    lines = [f"| {line} |" for line in lines]
    for side in OURS:
        lines += ["", *compared(side, sides[side], sides["trl"])]
    return "\n".join(lines)


def compared(side: str, ours: list[dict[str, float]], trl: list[dict[str, float]]) -> list[str]:
    """The ratios TRL : one of our sides, in lines."""
    pairs = list(zip(trl, ours, strict=True))

    def ratio(key: str) -> str:
        return spread([t[key] / o[key] for t, o in pairs])

    return [
        f"TRL : {side}, median (range) over {len(pairs)} seeds: CPU-seconds per 1,000 useful tokens {ratio('all')}; "
        f"generate {ratio('generate')}; train and rest {ratio('rest')}",
        f"to a held-out score of {GOAL:.2f}: CPU-seconds {ratio('cpu')}; tokens {ratio('tokens')}",
        f"final score, TRL - {side}: {interval([t['score'] - o['score'] for t, o in pairs])}",
    ]


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", default="0,1,2,3")
    parser.add_argument("--updates", type=int, default=33)
    parser.add_argument("--every", type=int, default=3, help="updates between two held-out evaluations")
    parser.add_argument("--environment", type=Path, default=cache / "eprli_lab" / "trl")
    options = parser.parse_args()
    python = environment(options.environment)
    seeds = [int(s) for s in options.seeds.split(",")]
    sides: dict[str, list[dict[str, float]]] = {**{side: [] for side in OURS}, "trl": []}
    for i, seed in enumerate(seeds):
        for side in sorted(sides, reverse=i % 2 == 1):
            sides[side].append(numbers(run(python if side == "trl" else sys.executable, side, seed, options)))
            last = sides[side][-1]
            progress = f"seed {seed} {side}: {last['all']:.4f} CPU-s / 1,000 tokens, final score {last['score']:.3f}"
            print(progress, file=sys.stderr, flush=True)
    print(table(seeds, sides))


if __name__ == "__main__":
    main()
