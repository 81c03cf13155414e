"""A run of two levels through the ordinary command, and the same run killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eprli_lab.backends.devices import gpus
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.extensions import EXTENSIONS_DIRECTORY
from eprli_lab.config.spec import RunSpec
from eprli_lab.training.doctor_finding import Finding
from eprli_lab.training.tables import TABLES

LONGEST = 1800.0  # s that one run may take
SETTLE = 15.0  # s in which an engine's processes, which outlive a killed driver by some, give a GPU's memory back
KILLED_AFTER = 2  # steps that are saved before the run is killed


def run_checks(spec: RunSpec, words: list[str], directory: Path) -> Iterator[Finding]:
    """The uninterrupted run, then the killed one, which must come to the same tables."""
    name, began = "a run of two levels", time.perf_counter()
    whole = directory / "run"
    process = _start(words, whole)
    code = _ended(process)
    where = _run_directory(whole)
    if code != 0 or where is None:
        yield Finding(name, "FAULT", f"exit code {code} after {time.perf_counter() - began:.0f} s", _last_line(whole))
        return
    yield _described(spec, whole, where, time.perf_counter() - began)
    yield _killed(spec, words, directory, where)


def _described(spec: RunSpec, directory: Path, where: Path, seconds: float) -> Finding:
    name = "a run of two levels"
    progress = _state(where)["progress"]
    levels = {row["level"] for row in _rows(where, "ledger")}
    measured = f"{progress['updates']} updates, levels {', '.join(sorted(levels))}, {seconds:.0f} s"
    absent = [level for level in spec.curriculum.levels if not progress["levels"][level]["updates"]]
    if absent:
        warnings = [line for line in _output(directory) if line.startswith("warning: ")]
        advice = warnings[0].removeprefix("warning: ") if warnings else "raise budget.amount"
        return Finding(name, "FAULT", f"{measured}; none in {', '.join(absent)}", advice)
    return Finding(name, "ok", measured)


def _killed(spec: RunSpec, words: list[str], directory: Path, whole: Path) -> Finding:
    """SIGKILL in mid-run, the same command again, and the tables of both runs compared."""
    name, home = "kill and resume", directory / "killed"
    process = _start(words, home)
    while process.poll() is None and not _saved(home):
        time.sleep(0.02)
    if process.poll() is not None:
        return Finding(
            name, "FAULT", f"it ended with exit code {process.poll()} before it was killed", _last_line(home)
        )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    step = _saved(home)
    if _on_gpu(spec) and isinstance(spec.backend, OpenRLHFSpec):
        time.sleep(SETTLE)
    began = time.perf_counter()
    code = _ended(_start(words, home))
    where = _run_directory(home)
    if code != 0 or where is None:
        return Finding(name, "FAULT", f"the resumed run ended with exit code {code}", _last_line(home))
    measured = f"killed after step {step}, resumed in {time.perf_counter() - began:.0f} s"
    return _compared(spec, name, measured, whole, where, step)


def _compared(spec: RunSpec, name: str, measured: str, whole: Path, where: Path, step: int) -> Finding:
    different = [t for t in TABLES if _bytes(whole, t) != _bytes(where, t)]
    if not different:
        return Finding(
            name, "ok", f"{measured}; {', '.join(TABLES)} equal those of the uninterrupted run byte for byte"
        )
    kept = [[r for r in _rows(of, "ledger") if r["step"] <= step] for of in (whole, where)]
    updates = [_state(of)["progress"]["updates"] for of in (whole, where)]
    if _on_gpu(spec) and len(kept[1]) > 0 and updates[0] == updates[1]:
        said = f"{measured}; it came to as many updates; kernels of a GPU do not repeat bit by bit, so its rows differ"
        return Finding(name, "ok", said)
    advice = "a resumed run is not the run that was killed: do not trust resumed runs, and report it"
    return Finding(name, "FAULT", f"{measured}; {', '.join(different)} differ from the uninterrupted run's", advice)


def _on_gpu(spec: RunSpec) -> bool:
    """Does this run's engine compute on a GPU, where the same sum is not always the same number?"""
    if isinstance(spec.backend, OpenRLHFSpec):
        return not spec.backend.rehearsal
    return spec.backend.device != "cpu" and bool(gpus())


def _start(words: list[str], home: Path) -> subprocess.Popen[bytes]:
    """`python -m eprli_lab.run` in a directory and a process group of its own, what it says in output.txt."""
    home.mkdir(parents=True, exist_ok=True)
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    extensions = os.environ.get(EXTENSIONS_DIRECTORY) or os.getcwd()
    environment = os.environ | {"PYTHONPATH": path, EXTENSIONS_DIRECTORY: extensions}
    with open(home / "output.txt", "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "eprli_lab.run", *words],
            cwd=home,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _ended(process: subprocess.Popen[bytes]) -> int | str:
    """Its exit code; one that takes too long is killed."""
    try:
        return process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"none in {LONGEST:.0f} s"
    except BaseException:  # Ctrl-C: nothing goes on behind it
        os.killpg(process.pid, signal.SIGKILL)
        raise


def _run_directory(home: Path) -> Path | None:
    found = sorted((home / "outputs").glob("run-*"))
    return found[-1] if found else None


def _saved(home: Path) -> int:
    """The last saved step, where it is one after which the run may be killed; else 0."""
    where = _run_directory(home)
    steps = [int(p.name.split("-")[1]) for p in where.glob("checkpoint-*")] if where else []
    return max(steps) if steps and max(steps) >= KILLED_AFTER else 0


def _state(where: Path) -> dict[str, Any]:
    newest = sorted(where.glob("checkpoint-*"))[-1]
    state: dict[str, Any] = json.loads((newest / "state.json").read_text())["state"]
    return state


def _rows(where: Path, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (where / f"{table}.jsonl").read_text().splitlines()]


def _bytes(where: Path, table: str) -> bytes:
    file = where / f"{table}.jsonl"
    return file.read_bytes() if file.is_file() else b""


def _output(home: Path) -> list[str]:
    return (home / "output.txt").read_text(errors="replace").splitlines()


def _last_line(home: Path) -> str:
    lines = [line for line in _output(home) if line.strip()]
    return lines[-1].removeprefix("eprli_lab: ") if lines else "it said nothing"
