"""The keys that the commands over a logged study share: which study, where it is tracked, what matters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from eprli_lab.cli.words import Key, preset_names, sweep_names
from eprli_lab.errors import UserError

if TYPE_CHECKING:
    from eprli_lab.config.spec import TrackingSpec

STUDY = (
    Key("sweep", "the sweep whose study is meant", sweep_names, "levels"),
    Key("preset", "the preset that it was run at (default: default)", preset_names, "smoke"),
    Key("study", "the study by its own name, in place of sweep and preset", example="NAME"),
)
BASELINE = Key("baseline", "the arm that the others are compared with (default: the sweep's)", example="l1")
TRACKING = (
    Key("tracking.uri", "the tracking store (default: mlflow.db of the working directory)", example="URI"),
    Key("tracking.experiment", "the experiment in it (default: eprli_lab)", example="NAME"),
)
MARGIN = Key("margin", "the smallest difference in the objective that matters (default: 0.03, or 3%)", example="0.03")


def study_name(options: dict[str, str], usage: str) -> str:
    """`study` if given, else the sweep's name, with the preset's unless that is the default one. Raises UserError."""
    from eprli_lab.config.fields import checked_name

    if "study" in options:
        idle = next((key for key in ("sweep", "preset") if key in options), None)
        if idle:
            raise UserError(
                f"{idle}={options[idle]}: study={options['study']} is the whole name already: leave one out"
            )
        return checked_name("study", options["study"])
    if "sweep" not in options:
        raise UserError(f"which study? {usage}")
    return checked_name("sweep", of_preset(options["sweep"], options))


def of_preset(sweep: str, options: dict[str, str]) -> str:
    """The study that a sweep makes at the given preset."""
    preset = options.get("preset", "default")
    return sweep if preset == "default" else f"{sweep}-{preset}"


def tracking(options: dict[str, str]) -> TrackingSpec:
    """Where the runs are. Raises UserError for a URI that is none."""
    from eprli_lab.config.parse import parse_tracking

    given = {name: options[f"tracking.{name}"] for name in ("uri", "experiment") if f"tracking.{name}" in options}
    return parse_tracking("tracking.uri", **given)


def margin(text: str) -> float:
    """The smallest difference that matters. Raises UserError unless above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"margin={text}: give the smallest difference in the objective that matters, above zero")
    return value
