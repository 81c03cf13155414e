"""Overrides as they are typed: short names of a sweep's settings, and levels that only some arms have."""

from __future__ import annotations

import re

SHORT = {"force": "study.force", "confirm": "study.search.confirm", "trials": "study.trials"}


def expand_shortcuts(arguments: list[str]) -> list[str]:
    """`force=true`, `confirm=3` and `trials=40` of a sweep by their full names."""
    if not {"-m", "--multirun"} & set(arguments):
        return arguments
    return [f"{SHORT[key]}{a[len(key) :]}" if (key := a.partition("=")[0]) in SHORT else a for a in arguments]


def defer_level_overrides(arguments: list[str]) -> list[str]:
    """A sweep's arms have different levels: overrides of single levels are handed to the plan, arm by arm.

    Hydra composes the command line once more before any arm, with the default curriculum, and would refuse them there.
    """
    level = re.compile(r"\+*curriculum\.levels\.")
    if not any(a.startswith("sweep=") for a in arguments) or not {"-m", "--multirun"} & set(arguments):
        return arguments
    pinned = [a for a in arguments if level.match(a)]
    if not pinned:
        return arguments
    quoted = ",".join("'" + a.replace("\\", "\\\\").replace("'", "\\'") + "'" for a in pinned)
    return [a for a in arguments if a not in pinned] + [f"study.pinned=[{quoted}]"]
