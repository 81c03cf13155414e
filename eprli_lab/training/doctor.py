"""Does it work here? Every part is run once, in minutes, and each check says what it measured.

Three stages: what is installed and there; the engine by itself, driven through its interface; a run of two levels
through the ordinary command, and the same run killed with SIGKILL and started again. A check that fails says what to
do, and those after it are made where they can be.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError

UPDATES = 4  # of the run, in two levels
# What makes a run small. The user's own overrides come after these and win.
SMALL = (
    "preset=smoke",
    "budget.unit=updates",
    f"budget.amount={UPDATES}",
    "checkpoint.every_updates=1",
    "data.generated.problems=256",
    *(f"evaluation.suites.heldout_{s}.generated.problems=16" for s in ("easy", "medium", "hard")),
    "evaluation.boundary_problems=8",
    "evaluation.curve_points=0",
    "tracking.uri=sqlite:///mlflow.db",
)
ENGINE_STARTS = "engine starts"
Verdict = Literal["ok", "FAULT", "-"]


@dataclass(frozen=True)
class Finding:
    """One check: what was measured, and what to do where it is a fault. '-': there is nothing to check here."""

    check: str
    verdict: Verdict
    measured: str
    advice: str = ""


def default_backend() -> str:
    """The engine of this machine: OpenRLHF where it is installed, on CPU its rehearsal; else the local one."""
    from eprli_lab.backends.openrlhf.versions import installed

    if installed("openrlhf") is None:
        return "local"
    import torch

    return "openrlhf" if torch.cuda.is_available() else "openrlhf_cpu"


def doctor_words(overrides: list[str]) -> list[str]:
    """The overrides of the checks' run: small, on this machine's engine, then the user's own."""
    words = list(SMALL)
    if not any(w.startswith(("backend=", "experiment=")) for w in overrides):
        backend = default_backend()
        words.append(f"backend={backend}")
        if backend == "openrlhf":
            import torch

            words.append(f"backend.gpus_per_node={torch.cuda.device_count()}")
    return [*words, *map(_absolute, overrides)]


def _absolute(word: str) -> str:
    """An override whose value is a path here, as the runs need it, which work in directories of their own."""
    key, sep, value = word.partition("=")
    is_path = key.endswith((".path", "_file")) and value and Path(value).expanduser().exists()
    return f"{key}{sep}{Path(value).expanduser().resolve()}" if is_path else word


def examine(overrides: list[str], show: Callable[[Finding], None], out: str | None = None) -> list[Finding]:
    """All checks in order, each shown as soon as it is made. `out`: where what they write is kept; None: nowhere.

    Raises UserError for overrides that make no spec, and for an `out` that is there.
    """
    words = doctor_words(overrides)
    spec = compose_spec(words)
    if out is not None and Path(out).exists():
        raise UserError(f"out={out} is there: give a directory that is not")
    directory = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="eprli-doctor-"))
    directory.mkdir(parents=True, exist_ok=True)
    findings = []
    try:
        for finding in _checks(spec, words, directory.resolve()):
            findings.append(finding)
            show(finding)
    finally:
        if out is None:
            shutil.rmtree(directory, ignore_errors=True)
    return findings


def _checks(spec: RunSpec, words: list[str], directory: Path) -> Iterator[Finding]:
    from eprli_lab.training.doctor_engine import engine_checks
    from eprli_lab.training.doctor_machine import machine_checks
    from eprli_lab.training.doctor_run import run_checks

    first = "first mend what is at fault above"
    blocked = False
    for finding in machine_checks(spec, directory):
        blocked |= finding.verdict == "FAULT" and finding.check in ("versions", "devices")
        yield finding
    if blocked:
        yield Finding("engine", "-", "not started", first)
        return
    started = False
    for finding in engine_checks(spec, directory):
        started |= finding.check == ENGINE_STARTS and finding.verdict == "ok"
        yield finding
    if not started:
        yield Finding("runs", "-", "not started", first)
        return
    yield from run_checks(spec, words, directory)


def on_gpu(spec: RunSpec) -> bool:
    """Does this run's engine compute on a GPU, where the same sum is not always the same number?"""
    if isinstance(spec.backend, OpenRLHFSpec):
        return not spec.backend.rehearsal
    import torch

    return spec.backend.device != "cpu" and torch.cuda.is_available()
