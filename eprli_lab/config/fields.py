"""Types of config values, and the base of every config class."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
AsTuple = BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)  # a list of YAML
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]


class Strict(BaseModel):
    """Frozen; unknown keys are refused; numbers are not coerced from strings; NaN is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def Later(default: Any) -> Any:
    """A field that came after the first dumped specs: at its default it is not dumped, so fingerprints stay."""
    return Field(exclude_if=lambda value: value == default)
