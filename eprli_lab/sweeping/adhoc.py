"""A sweep without a file: the values that the command line gives are its arms (`-m curriculum=l1,l2 seed=0,1,2`)."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from eprli_lab.config.fields import LONGEST_NAME
from eprli_lab.config.overrides import key_of
from eprli_lab.config.several import values_of
from eprli_lab.errors import UserError, shortened

MOST_ARMS = 1000
SHOWN = 12  # arms that are listed before the start
LONGEST_STUDY = 60  # characters of a derived name before what tells it from others
OWN = ("study", "sweep", "hydra", "tracking", "preset", "seed")  # what a study's name does not depend on


def with_arms(node: Mapping[str, Any], several: Sequence[str], others: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The `study` node with an arm for each combination of the values, and lines that say which they are.

    `several`: words of several values each, maybe none; `others`: the command line's other words, which the study's
    name depends on. The first combination is the baseline. Raises UserError for values that cannot be arms.
    """
    keyed = values_of(several)
    for word, (key, values) in zip(several, keyed, strict=True):
        _check(word, key, values)
    if len({key for key, _ in keyed}) < len(keyed):
        twice = next(key for key, _ in keyed if sum(k == key for k, _ in keyed) > 1)
        raise UserError(f"{twice}: several values are given twice: leave one out")
    if math.prod(len(values) for _, values in keyed) > MOST_ARMS:
        raise UserError(f"{shortened(' '.join(several))}: these are more than {MOST_ARMS} arms: give fewer values")
    tails = {key: tail_of(key, [k for k, _ in keyed]) for key, _ in keyed}
    arms: dict[str, list[str]] = {}
    for combination in itertools.product(*([(key, v, word) for v, word in values] for key, values in keyed)):
        name = "__".join(f"{_word(tails[key])}-{_spelled(value)}" for key, value, _ in combination) or "run"
        arms[_new(name, arms)] = [word for _, _, word in combination]
    name = node.get("name") or _study_name(keyed, tails, others)
    question = ", ".join(f"which {tails[key]} ({', '.join(v for v, _ in values)})" for key, values in keyed)
    study = {
        **node,
        "name": name,
        "question": node.get("question")
        or (f"{question.capitalize()}?" if question else "One configuration over seeds."),
        "baseline": node.get("baseline") or next(iter(arms)),
        "arms": {arm: {"overrides": overrides} for arm, overrides in arms.items()},
    }
    lines = [f"  {arm}: {' '.join(overrides)}" for arm, overrides in itertools.islice(arms.items(), SHOWN)]
    more = [f"  and {len(arms) - SHOWN} more"] if len(arms) > SHOWN else []
    head = f"arms, compared with {study['baseline']}:"
    return study, "\n".join([head, *lines, *more]) if several else ""


def tail_of(key: str, keys: Sequence[str]) -> str:
    """The shortest tail of a dotted key, or of a config group's path, that no other of the keys has."""
    parts = re.split(r"[./]", key.partition("@")[0])
    for n in range(1, len(parts)):
        tails = [re.split(r"[./]", k.partition("@")[0])[-n:] for k in keys]
        if tails.count(parts[-n:]) == 1:
            return ".".join(parts[-n:])
    return ".".join(parts)


def _check(word: str, key: str, values: Sequence[tuple[str, str]]) -> None:
    if not values:
        raise UserError(
            f"{word}: this has no values to run one after another: name them ({key}=1e-4,3e-4), or search it in a "
            "sweep of your own (docs/sweeps.md, Searching)"
        )
    if re.match(r"[^=]*=\s*shuffle\(", word):
        raise UserError(f"{word}: the first value is the baseline, so their order matters: name the values in order")


def _spelled(value: str) -> str:
    """A value in the letters of a name: 0.3 is 0p3."""
    return _word(re.sub(r"(?<=\d)\.(?=\d)", "p", re.sub(r"(?<!\w)\.(?=\d)", "0.", value))) or "empty"


def _word(text: str) -> str:
    """A text as a part of a name: other characters than those of a name become one `_`."""
    return re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9_-]+", "_", text)).strip("_")


def _new(name: str, taken: Mapping[str, Any]) -> str:
    """A name that no other arm has and that is not too long; values that spell alike are numbered."""
    name = name.lstrip("-_") or "run"
    if len(name) > LONGEST_NAME - 10:
        name = f"{name[: LONGEST_NAME - 20]}-{_digest(name)}"
    numbered = (f"{name}-{n}" for n in itertools.count(2))
    return name if name not in taken else next(n for n in numbered if n not in taken)


def _study_name(
    keyed: Sequence[tuple[str, Sequence[tuple[str, str]]]], tails: Mapping[str, str], others: Sequence[str]
) -> str:
    """The same for the same words in whatever order; other configurations of the same values get a digest behind."""
    parts = ["-".join([_word(tails[key]), *(_spelled(v) for v, _ in values)]) for key, values in keyed]
    name = "_".join(parts).lstrip("-_") or "seeds"
    fixed = sorted(w for w in others if re.split(r"[./]", key_of(w))[0] not in OWN)
    if len(name) > LONGEST_STUDY:
        return f"{name[:LONGEST_STUDY].rstrip('-_')}-{_digest(name, *fixed)}"
    return f"{name}-{_digest(*fixed)}" if fixed else name


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:6]
