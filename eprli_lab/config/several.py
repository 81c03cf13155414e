"""Several values of a key on the command line (`-m curriculum=l1,l2`): told from one value, and handed to the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from eprli_lab.config.compose import hydra_session, parsed
from eprli_lab.config.overrides import is_of_a_study, key_of, quoted_list

OF_OTHERS = ("study", "sweep", "hydra", "seed")  # first parts of keys whose values are no arms


def defer_values(arguments: list[str]) -> list[str]:
    """Values of a command line without a sweep become `study.values`: they are the arms of the plan.

    Hydra takes one value a key when it composes the job of a launcher, and knows the keys of the default config alone.
    """
    if not is_of_a_study(arguments) or any(_names_a_sweep(a) for a in arguments):
        return arguments
    several = [a for a in arguments if _has_several(a)]
    if not several:
        return arguments
    return [a for a in arguments if a not in several] + [f"study.values={quoted_list(map(_spelt_out, several))}"]


def _names_a_sweep(argument: str) -> bool:
    return argument.startswith("sweep=") and argument not in ("sweep=null", "sweep=")


def _has_several(argument: str) -> bool:
    """Whether a word gives a key of the run several values; of one that Hydra cannot read, Hydra says so itself."""
    key, equals, text = argument.partition("=")
    if not equals or not ("," in text or "(" in text) or key.startswith(("-", "~")):
        return False
    if key_of(key).replace("/", ".").partition(".")[0] in OF_OTHERS:
        return False
    try:
        return bool(OverridesParser.create().parse_override(argument).is_sweep_override())
    except HydraException:
        return False


def _spelt_out(argument: str) -> str:
    """`curriculum=glob(l*)` with the names that it stands for; anything else as it is."""
    if "glob(" not in argument:
        return argument
    with hydra_session():
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        override = parser.parse_overrides([argument])[0]
        values = list(override.sweep_string_iterator()) if override.is_discrete_sweep() else []
    return f"{override.get_key_element()}={','.join(values)}" if values else argument


def values_of(words: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(key, [(value as it was typed, override)]) of each word that gives several values. Parsing raises UserError."""
    return [(key_of(word), _values(override, word)) for word, override in zip(words, parsed(list(words)), strict=True)]


def _values(override: Any, word: str) -> list[tuple[str, str]]:
    """Each value as it was typed (5e-4), where the word is a plain list; else as Hydra writes it (0.0005)."""
    if not override.is_discrete_sweep():
        return []
    values = [str(value) for value in override.sweep_string_iterator()]
    typed = [part.strip().strip("'\"") for part in word.partition("=")[2].split(",")]
    labels = typed if len(typed) == len(values) and not set("([{") & set(word) else values
    return [(label, f"{override.get_key_element()}={value}") for label, value in zip(labels, values, strict=True)]
