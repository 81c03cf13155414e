"""Where the configuration that travels with the package lives: in the repository, or inside the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def _shipped(name: str) -> Path:
    inside = _PACKAGE / f"_{name}"  # the wheel carries conf/ and sweeps/ as eprli_lab/_conf and _sweeps
    return inside if inside.is_dir() else _PACKAGE.parent / name


CONF_DIR = _shipped("conf")
SWEEPS_DIR = _shipped("sweeps")
ASSETS_DIR = _PACKAGE / "assets"
