"""Overrides as they are typed: short names of a sweep's settings, and levels that only some arms have."""

from __future__ import annotations

import re
from collections.abc import Iterable

from eprli_lab.errors import UserError

SHORT = {"force": "study.force", "confirm": "study.search.confirm", "trials": "study.trials"}
SEEDS = ("study.seeds", "study.search_seeds")
MOST_SEEDS = 10_000  # of a range


def expand_shortcuts(arguments: list[str]) -> list[str]:
    """`force=true`, `confirm=3` and `trials=40` of a sweep by their full names, and its seeds as a list.

    To Hydra `study.seeds=0,1,2` and `study.seeds=range(0,3)` are several values of one key: it would not hand them on.
    """
    if not {"-m", "--multirun"} & set(arguments):
        return arguments
    arguments = _seeds_of_the_study(arguments)
    out = [f"{SHORT[key]}{a[len(key) :]}" if (key := a.partition("=")[0]) in SHORT else a for a in arguments]
    for i, (key, _, text) in enumerate(a.partition("=") for a in out):
        seeds = seed_list(text) if key in SEEDS else None
        if seeds is not None:
            out[i] = f"{key}=[{','.join(map(str, seeds))}]"
    return out


def is_of_a_study(arguments: list[str]) -> bool:
    """Whether these words start a study: with -m, and not by another sweeper of Hydra's."""
    others = [a for a in arguments if a.startswith("hydra/sweeper=") and a != "hydra/sweeper=ablation"]
    return bool({"-m", "--multirun"} & set(arguments)) and not others


def _seeds_of_the_study(arguments: list[str]) -> list[str]:
    """`seed=0,1` of a study as `study.seeds=[0,1]`. Raises UserError where both are given."""
    seed = next((a for a in arguments if key_of(a) == "seed" and "=" in a), None)
    if seed is None or not is_of_a_study(arguments):
        return arguments
    both = next((a for a in arguments if a != seed and key_of(a) in ("seed", "study.seeds")), None)
    if both is not None:
        raise UserError(f"{seed}: the seeds are given twice ({both}): leave one out")
    text = seed.partition("=")[2].strip()
    listed = text if text.startswith("[") or seed_list(text) is not None else f"[{text}]"
    return [f"study.seeds={listed}" if a == seed else a for a in arguments]


def key_of(override: str) -> str:
    """The key or config group that an override is of, in Hydra's grammar."""
    return re.sub(r"[=@].*", "", override, flags=re.DOTALL).lstrip("+~").strip()


def quoted_list(words: Iterable[str]) -> str:
    """The words as a list of texts in Hydra's grammar."""
    return f"[{','.join(_quoted(word) for word in words)}]"


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"


def seed_list(text: str) -> list[int] | None:
    """`0,1,2` and `range(0,3)` as the seeds that they name; None for any other text."""
    text = text.replace(" ", "")
    if re.fullmatch(r"\d+(,\d+)+", text):
        return [int(part) for part in text.split(",")]
    steps = re.fullmatch(r"range\((\d+),(\d+)(?:,([1-9]\d*))?\)", text)
    seeds = range(*(int(part) for part in steps.groups(default="1"))) if steps else range(0)
    return list(seeds) if steps and len(seeds) <= MOST_SEEDS else None


def defer_level_overrides(arguments: list[str]) -> list[str]:
    """A sweep's arms have different levels: overrides of single levels are handed to the plan, arm by arm.

    Hydra composes the command line once more before any arm, with the default curriculum, and would refuse them there.
    """
    level = re.compile(r"\+*curriculum\.levels\.")
    if not any(a.startswith(("sweep=", "study.values=")) for a in arguments) or not {"-m", "--multirun"} & set(
        arguments
    ):
        return arguments
    pinned = [a for a in arguments if level.match(a)]
    if not pinned:
        return arguments
    return [a for a in arguments if a not in pinned] + [f"study.pinned={quoted_list(pinned)}"]
