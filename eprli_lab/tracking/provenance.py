"""What made a run: command, commit, versions, hardware. Nothing heavy is imported for it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from eprli_lab.config.credentials import command_line

PACKAGES = (
    "torch", "transformers", "tokenizers", "numpy", "optuna", "mlflow", "hydra-core", "datasets", "math-verify",
    "openrlhf", "ray", "deepspeed", "vllm",
)  # fmt: skip


def provenance() -> dict[str, Any]:
    """command, commit (with -dirty), python, packages, and what the machine is; what is not known is left out."""
    out: dict[str, Any] = {"command": command(sys.orig_argv), "python": platform.python_version()}
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    hardware = {"system": platform.platform(), "cpu": _cpu(), "cores": os.cpu_count(), "gpus": _gpus()}
    out |= {"packages": versions, "commit": _commit(), "hardware": {k: v for k, v in hardware.items() if v}}
    return {k: v for k, v in out.items() if v}


def command(argv: list[str]) -> str:
    """The command line as a person types it: no folders, no interpreter before `eprli-lab`. '' for a worker's."""
    if "multiprocessing" in " ".join(argv) or not argv:
        return ""
    words = argv[1:] if len(argv) > 1 and Path(argv[1]).name == "eprli-lab" else argv
    return command_line([Path(words[0]).name, *words[1:]])


def _commit() -> str:
    """Of the checkout that the package is in; '' in an installed one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _gpus() -> list[str]:
    """Names of this machine's GPUs, from the driver where there is one."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for f in found for line in f.read_text().splitlines() if line.startswith("Model:")]
    return [line.partition(":")[2].strip() for line in lines]
