"""Types of config values, and the base of every config class."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from eprli_lab.errors import UserError
from eprli_lab.escaping import visible

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
AsTuple = BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)  # a list of YAML
LONGEST_NAME = 100  # characters: two of them and a metric's family are within what MLflow takes as a name
_SUFFIXES = 100  # what a preset and a search add to a study's name


def _name(longest: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_\-]*", text) or len(text) > longest:
            shown = text if len(text) <= LONGEST_NAME else f"{text[:40]}... ({len(text)} characters)"
            shown = visible(shown).replace("\n", "\\n")
            raise ValueError(
                f"'{shown}' is no name: use letters, digits, _ and -, a letter or digit first, at most {longest} "
                "characters"
            )
        return text

    return check


def _label(text: str) -> str:
    if not 0 < len(text) <= 2 * LONGEST_NAME or visible(text) != text or "\n" in text:
        raise ValueError(f"give 1 to {2 * LONGEST_NAME} characters, none of them a control character")
    return text


def _plain(text: str) -> str:
    if "/" in text or text.startswith("."):
        raise ValueError(f"'{text}' names files: leave out / and a dot at its beginning")
    return text


Name = Annotated[str, AfterValidator(_name(LONGEST_NAME))]  # of arms, levels, suites, studies: a part of paths
RunName = Annotated[str, AfterValidator(_name(LONGEST_NAME + _SUFFIXES))]  # of a study with what was added to it
Label = Annotated[str, AfterValidator(_label)]  # what is shown, and no part of a path
FileLabel = Annotated[str, AfterValidator(_label), AfterValidator(_plain)]  # what is shown, and names files


def checked_name(what: str, text: str) -> str:
    """The name of a study, as it may be a part of a path. Raises UserError for any other text; `what` begins it."""
    try:
        return _name(LONGEST_NAME + _SUFFIXES)(text)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None


_EXPONENT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)[eE][+-]?\d+", re.ASCII)  # a text in YAML where it has no point


class Strict(BaseModel):
    """Frozen; unknown keys are refused; numbers are not coerced from strings; NaN is refused.

    But `1e5`, which YAML reads as a text, is the number that it looks like where a number belongs, and only there: a
    digest of 2530155e07 and a study named 1e5 stay texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _exponents(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {k: _number(v) if k in _numeric(cls) else v for k, v in values.items()}


def _number(value: Any) -> Any:
    """The float that a text with an exponent is; of a list each. Anything else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(map(_number, value))
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


@cache
def _numeric(model: type[BaseModel]) -> frozenset[str]:
    """Fields that hold a number, or a list of numbers, or null."""
    return frozenset(
        n for n, field in model.model_fields.items() if _leaves(field.annotation) <= {int, float, type(None), ...}
    )


def _leaves(annotation: Any) -> set[Any]:
    """The types that a field is made of, inside unions, tuples, lists and Annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _leaves(get_args(annotation)[0])
    if origin in (Union, UnionType, tuple, list):
        return set().union(*map(_leaves, get_args(annotation)))
    return {annotation}


def Later(default: Any) -> Any:
    """A field that came after the first dumped specs: at its default it is not dumped, so fingerprints stay."""
    return Field(exclude_if=lambda value: value == default)
