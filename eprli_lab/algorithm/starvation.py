"""Why a level's buffer stayed empty, and which threshold to change. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eprli_lab.records import VERDICTS, Verdict

REJECTIONS = tuple(v for v in VERDICTS if v != "admitted")
# verdict -> what to do; {...}: the path of a level's setting and its value where that is known; {now ...}: the value
_ADVICE: dict[Verdict, str] = {
    "too_hard": "lower {admission.accuracy_min} or {quality_threshold}",
    "too_easy": "raise {admission.accuracy_max} or {quality_threshold}",
    "no_signal": "narrow {admission.accuracy_min} to accuracy_max{now admission.accuracy_max}, or raise {group_size}",
    "errored": "the grader failed, see verify/*",
}
_ROUNDS = "raise {admission.max_rounds} or lower {buffer_groups}"


def main_rejection(counts: Mapping[Verdict, float]) -> Verdict | None:
    """The verdict that rejected most groups; None where as many or more were admitted, so that none is to blame."""
    most = max(REJECTIONS, key=lambda verdict: counts[verdict])
    return None if counts["admitted"] >= counts[most] else most


def remedy(level: str, rejection: Verdict | None, now: Callable[[str], str]) -> str:
    """What to change for this level: settings by their path.

    `rejection`: of `main_rejection`; `now`: a setting's path below the level -> its value in words, "" if not known.
    """
    out = _ROUNDS if rejection is None else _ADVICE[rejection]
    settings = ("accuracy_min", "accuracy_max", "max_rounds")
    for setting in (*(f"admission.{s}" for s in settings), "quality_threshold", "buffer_groups", "group_size"):
        value = now(setting)
        shown = f" (now {value})" if value else ""
        out = out.replace(f"{{now {setting}}}", shown)
        out = out.replace(f"{{{setting}}}", f"curriculum.levels.{level}.{setting}{shown}")
    return out
