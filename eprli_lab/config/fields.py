"""Types of config values, and the base of every config class."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

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


class Strict(BaseModel):
    """Frozen; unknown keys are refused; numbers are not coerced from strings; NaN is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def Later(default: Any) -> Any:
    """A field that came after the first dumped specs: at its default it is not dumped, so fingerprints stay."""
    return Field(exclude_if=lambda value: value == default)
