"""Does it work here? Every part is run once, in minutes, and each check says what it measured.

Three stages: what is installed and there; the engine by itself, driven through its interface; a run of two levels
through the ordinary command, and the same run killed with SIGKILL and started again. A check that fails says what to
do, and those after it are made where they can be.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from eprli_lab.backends.devices import gpus
from eprli_lab.config.compose import compose_spec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.training.doctor_finding import ENGINE_STARTS, Finding

UPDATES = 4  # of the run, in two levels
# What makes a run small. The user's own overrides come after these and win.
SMALL = (
    "preset=smoke",
    "budget.unit=updates",
    f"budget.amount={UPDATES}",
    "checkpoint.every_updates=1",
    "evaluation.boundary_problems=8",
    "evaluation.curve_points=0",
    "tracking.uri=sqlite:///mlflow.db",
)
# Problems that need no file, where the user names none.
DATA = ("data=mod10", "data.generated.problems=256")
SUITES = (
    "evaluation=heldout",
    *(f"evaluation.suites.heldout_{s}.generated.problems=16" for s in ("easy", "medium", "hard")),
)
# A model that is not trained on these problems has to fill the buffer as well: by the lengths of its responses.
ANY_GROUP = {
    "admission.accuracy_min": "0.0",
    "admission.accuracy_max": "1.0",
    "length_term": "group_relative",
    "length_coef": "1.0",
}


WINDOW = "backend.prompt_tokens=64"  # of the package's policies: OpenRLHF's default is four times their whole context


def default_backend() -> str:
    """The engine of this machine: OpenRLHF where it is installed, on CPU its rehearsal; else the local one."""
    from eprli_lab.backends.openrlhf.versions import installed

    if installed("openrlhf") is None:
        return "local"
    return "openrlhf" if gpus() else "openrlhf_cpu"


def doctor_words(overrides: list[str]) -> list[str]:
    """The overrides of the checks' run: small, on this machine's engine, then the user's own."""
    words = list(SMALL)
    if not any(w.startswith(("backend=", "experiment=")) for w in overrides):
        backend = default_backend()
        words.append(f"backend={backend}")
        if backend == "openrlhf":
            words.append(f"backend.gpus_per_node={len(gpus())}")
    words += () if any(w.startswith("data=") for w in overrides) else DATA
    words += () if any(w.startswith("evaluation=") for w in overrides) else SUITES
    if any(w.startswith("backend=openrlhf") for w in (*words, *overrides)):
        if compose_spec([*words, *overrides]).model.path is None:
            words.append(WINDOW)
    words += map(_absolute, overrides)
    if any(w.startswith(("model=", "experiment=")) for w in overrides):
        known = {w.partition("=")[0] for w in overrides}
        for level in compose_spec(words).curriculum.levels:
            keys = {f"curriculum.levels.{level}.{key}": value for key, value in ANY_GROUP.items()}
            words += [f"{key}={value}" for key, value in keys.items() if key not in known]
    return words


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
