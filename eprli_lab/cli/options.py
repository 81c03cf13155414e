"""`key=value` words of the analysis commands: which study, where it is tracked, where to write."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Sequence

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError, nearest

COMMON = ("sweep", "preset", "study", "baseline", "tracking.uri", "tracking.experiment")


def parse(arguments: Sequence[str], keys: Sequence[str], usage: str) -> dict[str, str]:
    """The words as a dict. Raises UserError on a word that is not key=value, an unknown key, one that stands twice."""
    options: dict[str, str] = {}
    for word in arguments:
        key, sep, value = word.partition("=")
        if not sep or not value:
            raise UserError(f"'{word}' is not key=value; {usage}")
        if key not in keys:
            raise UserError(f"{key}: unknown key{nearest(key, keys)}")
        if key in options:
            raise UserError(f"{key}: given twice ({options[key]}, {value})")
        options[key] = value
    return options


def study_name(options: dict[str, str], usage: str) -> str:
    """`study` if given, else the sweep's name, with the preset's unless that is the default one."""
    if "study" in options:
        return options["study"]
    if "sweep" not in options:
        raise UserError(f"which study? {usage}")
    return of_preset(options["sweep"], options)


def of_preset(sweep: str, options: dict[str, str]) -> str:
    """The study that a sweep makes at the given preset."""
    preset = options.get("preset", "default")
    return sweep if preset == "default" else f"{sweep}-{preset}"


def tracking(options: dict[str, str]) -> TrackingSpec:
    """Where the runs are. Raises UserError for a URI that is none."""
    default = TrackingSpec()
    try:
        experiment = options.get("tracking.experiment", default.experiment)
        return TrackingSpec(uri=options.get("tracking.uri", default.uri), experiment=experiment)
    except ValueError as error:
        reason = str(error).splitlines()[2].strip().removeprefix("Value error, ").partition(" [type=")[0]
        raise UserError(f"tracking.uri: {reason}") from None


def margin(text: str) -> float:
    """The smallest difference that matters. Raises UserError unless above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"margin={text}: give the smallest difference in the objective that matters, above zero")
    return value


def command(work: Callable[[Sequence[str]], None], arguments: Sequence[str], doc: str | None) -> int:
    """Run it: exit code 0, or 2 with one sentence; `--help` prints `doc`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no arrow shows a question mark
    try:
        if any(a in ("-h", "--help") for a in arguments):
            print(doc)
        else:
            work(arguments)
        sys.stdout.flush()
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("eprli_lab: interrupted; the same command begins again", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head`: whoever read has enough
        sys.stderr.close()
    except OSError as error:
        print(f"eprli_lab: the output cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    return 0
