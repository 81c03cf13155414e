"""Overrides to the spec of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eprli_lab.errors import UserError

if TYPE_CHECKING:
    from eprli_lab.config.spec import RunSpec


def compose(overrides: Sequence[str] = ()) -> RunSpec:
    """The validated, frozen spec that `python -m eprli_lab.run <overrides>` would train.

    `overrides`: as on the command line, in Hydra's grammar: `["curriculum=l3", "optim.learning_rate=3e-4"]`. May be
    called as often as one likes, also within another Hydra application: Hydra's global state stays as it was.
    Raises UserError for an unknown key (with the nearest one), a value outside its range, or what is not a list.
    """
    from eprli_lab.config.compose import compose_spec

    return compose_spec(words("compose", overrides))


def words(function: str, overrides: Sequence[str]) -> list[str]:
    """Overrides as a list. Raises UserError for one string, or for what is no string."""
    if isinstance(overrides, str):
        raise UserError(f"{function}: give the overrides as a list, [{overrides!r}]")
    for override in overrides:
        if not isinstance(override, str):
            raise UserError(f'{function}: an override is a string such as "seed=1", not {override!r}')
    return list(overrides)
