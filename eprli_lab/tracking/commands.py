"""Commands that are printed for a person, so that they work as printed: with the store that is meant."""

from __future__ import annotations

import os
import shlex

from eprli_lab.config.credentials import VARIABLES, is_reference
from eprli_lab.config.tracking import TrackingSpec
from eprli_lab.masking import HIDDEN
from eprli_lab.tracking.uri import is_default, resolve_uri, store_words
from eprli_lab.tracking.views import view_link

LIGHT = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1"  # starts in seconds; the jobs are for traces


def tracking_command(words: list[str], tracking: TrackingSpec) -> str:
    """A command of ours for a shell, with the store."""
    return shlex.join([*words, *store_words(tracking)])


def open_command(tracking: TrackingSpec, study: str) -> str:
    """What opens the report that a study has in ./reports."""
    return tracking_command(["eprli-lab", "open", study], tracking)


def ui_command(tracking: TrackingSpec) -> str:
    """What starts MLflow's page on this store from the working directory; '' for a server, which has one already."""
    uri = tracking.uri
    if resolve_uri(uri).startswith("http"):
        return ""
    told = [os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI")]
    if all(map(is_default, [uri, *told])):
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
