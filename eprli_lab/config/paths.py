"""Where the configuration that travels with the package lives: in the repository, or inside the wheel."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def _shipped(name: str) -> Path:
    inside = _PACKAGE / f"_{name}"  # the wheel carries conf/ and sweeps/ as eprli_lab/_conf and _sweeps
    return inside if inside.is_dir() else _PACKAGE.parent / name


CONF_DIR = _shipped("conf")
SWEEPS_DIR = _shipped("sweeps")
ASSETS_DIR = _PACKAGE / "assets"
LABELS_DIR = ASSETS_DIR / "labels"  # difficulty files that travel with the package
PACKAGED = "package:"


def cache_directory(kind: str) -> Path:
    """Where this machine keeps what it made once: a folder of $EPRLI_LAB_CACHE or ~/.cache/eprli_lab.

    Raises RuntimeError where a user has neither the variable nor a home.
    """
    return Path(os.environ.get("EPRLI_LAB_CACHE") or Path.home() / ".cache" / "eprli_lab") / kind


def difficulty_path(name: str) -> Path:
    """The file that `data.difficulty_file` names: a path, or `package:NAME`, found from any directory."""
    return LABELS_DIR / name.removeprefix(PACKAGED) if name.startswith(PACKAGED) else Path(name)
