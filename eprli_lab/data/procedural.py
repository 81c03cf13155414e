"""The families of config/procedural.py, each an attribute of this module: `rg_<set>`, `rg_small_<set>`, `rg_small`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from eprli_lab.config.procedural import OFFERED, SMALL
from eprli_lab.data.gym_family import GymSet
from eprli_lab.data.small_sets import SmallMixture, SmallSet
from eprli_lab.data.tasks import Family


def __getattr__(name: str) -> Callable[[], Family]:
    """What makes the family of this name."""
    word = name.removeprefix("rg_small_")
    if name == "rg_small":
        return SmallMixture
    if word in SMALL and word != name:
        return partial(SmallSet, word)
    if name.removeprefix("rg_") in OFFERED and name.startswith("rg_"):
        return partial(GymSet, name.removeprefix("rg_"))
    raise AttributeError(name)
