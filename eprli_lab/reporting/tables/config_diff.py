"""By which config values an arm differs from its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eprli_lab.reporting.load import RunData

NOT_COMPARED = ("seed", "study", "arm", "objective", "tracking.", "checkpoint.")  # params that change no result
LEVELS = "curriculum.levels."


def config_differences(runs: Sequence[RunData], base: Sequence[RunData]) -> list[str]:
    """Config values by which an arm's runs differ from the baseline's, as `path=value`, without seed and tracking.

    A level that the baseline does not have reads `level l2 added (...)` with its bounds, and whatever else it does
    not share with the arm's first level.
    """
    if not base:
        return []
    if not runs[0].params and not base[0].params:
        return ["(params were not logged)"]
    values = _values(runs)
    base_values = _values(base)
    levels = _level_names(values)
    base_levels = _level_names(base_values)
    out = []
    for level in sorted(set(levels) - set(base_levels)):
        out.append(f"level {level} added ({', '.join(_level_values(values, level, levels[0]))})")
    out += [f"level {level} left out" for level in sorted(set(base_levels) - set(levels))]
    changed = set(levels) ^ set(base_levels)
    for key in sorted(values.keys() | base_values.keys()):
        if key.startswith(LEVELS) and key.split(".")[2] in changed:
            continue
        if values.get(key) != base_values.get(key):
            out.append(f"{key}={values.get(key, '(absent)')}")
    return out


def _level_names(params: Mapping[str, str]) -> list[str]:
    """In the order of the params."""
    return list(dict.fromkeys(k.split(".")[2] for k in params if k.startswith(LEVELS)))


def _values(runs: Sequence[RunData]) -> dict[str, str]:
    """Param -> value; values that differ from seed to seed are all named."""
    keys = [k for k in runs[0].params if not k.startswith(NOT_COMPARED)]
    out = {}
    for key in keys:
        several = list(dict.fromkeys(r.params.get(key, "(absent)") for r in runs))
        out[key] = several[0] if len(several) == 1 else f"{', '.join(several)} (by seed)"
    return out


def _level_values(params: Mapping[str, str], level: str, first: str) -> list[str]:
    out = []
    for key, value in params.items():
        path = key.removeprefix(f"{LEVELS}{level}.")
        always = path in ("quality_threshold", "max_response_tokens")
        if path != key and (always or params.get(f"{LEVELS}{first}.{path}") != value):
            out.append(f"{path}={value}")
    return out
