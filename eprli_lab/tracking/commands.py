"""Commands that are printed for a person, so that they work as printed: with the store that is meant."""

from __future__ import annotations

import os
import shlex

from eprli_lab.config.credentials import VARIABLES, is_reference
from eprli_lab.config.tracking import DEFAULT_EXPERIMENT, DEFAULT_URI, TrackingSpec
from eprli_lab.masking import HIDDEN
from eprli_lab.tracking.uri import absolute, resolve_uri
from eprli_lab.tracking.views import view_link

LIGHT = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1"  # starts in seconds; the jobs are for traces


def tracking_words(tracking: TrackingSpec) -> list[str]:
    """`tracking.uri=...` and `tracking.experiment=...` where they are not what a command takes by itself; else nothing.

    A URI whose password is hidden is asked for in the environment's variable for it (docs/tracking.md).
    """
    words = []
    if not _is_default(tracking.uri) or not _is_default(os.environ.get("MLFLOW_TRACKING_URI")):
        uri = f"env:{VARIABLES['tracking.uri']}" if HIDDEN in tracking.uri else tracking.uri
        words.append(f"tracking.uri={uri}")
    named = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    if {tracking.experiment, named} != {DEFAULT_EXPERIMENT}:
        words.append(f"tracking.experiment={tracking.experiment}")
    return words


def _is_default(uri: str | None) -> bool:
    """Does it lead, or not said at all, to mlflow.db of the working directory?"""
    return not uri or absolute(uri) == absolute(DEFAULT_URI)


def tracking_command(words: list[str], tracking: TrackingSpec) -> str:
    """A command of ours for a shell, with the store."""
    return shlex.join([*words, *tracking_words(tracking)])


def ui_command(tracking: TrackingSpec) -> str:
    """What starts MLflow's page on this store from the working directory; '' for a server, which has one already."""
    uri = tracking.uri
    if resolve_uri(uri).startswith("http"):
        return ""
    told = [os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI")]
    if all(map(_is_default, [uri, *told])):
        return LIGHT
    if is_reference(uri):
        kind, _, name = uri.partition(":")
        shown = f'"${name}"' if kind == "env" else f'"$(cat {shlex.quote(name)})"'
        return f"{LIGHT} --backend-store-uri {shown}"
    shown = f'"${VARIABLES["tracking.uri"]}"' if HIDDEN in uri else shlex.quote(uri)
    return f"{LIGHT} --backend-store-uri {shown}"


def where_to_look(tracking: TrackingSpec, study: str | None = None) -> list[str]:
    """Lines: the command that starts MLflow's page, and the link that opens a study's charts, or all runs, in it.

    [] while the store cannot be reached.
    """
    link = view_link(tracking, study)
    command = ui_command(tracking)
    if not link:
        return []
    return [f"runs: {link}"] if not command else [f"runs: {command}", f"      then {link}"]
