"""A spooled run sent later."""

from __future__ import annotations

import contextlib
from pathlib import Path

from eprli_lab.config.parse import parse_tracking
from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.process import ProcessIdentity
from eprli_lab.tracking.send import attach, end_run, missing, send
from eprli_lab.tracking.spool import NAME, Spool
from eprli_lab.tracking.store import open_store, quoted, search_runs
from eprli_lab.tracking.uri import first_line, resolve_uri, sqlite_file


def upload(run_dir: Path, uri: str | None = None, parent: str | None = None) -> tuple[str, int]:
    """Send what a spooled run holds and the store does not: (run id, points sent). A second time sends nothing.

    `uri`: of another store than the run's own. `parent`: run id of its study's parent, by default that which is there.
    Raises UserError when there is no spool, it is damaged, its run is still going on, or the store cannot be reached.
    """
    spool = Spool.read(run_dir / NAME)
    if not spool.header:
        raise UserError(f"{run_dir} holds no {NAME}: give a run's directory, such as outputs/run-0123456789ab")
    tags = spool.header["tags"]
    if spool.end is None and ProcessIdentity.from_tags(tags).is_alive(elsewhere=False):
        raise UserError(f"{run_dir}: its run is still going on (process {tags['pid']}): upload it when it ended")
    tracking = tracking_of(spool, uri)
    try:
        return send_spool(spool, tracking, parent)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{tracking.uri} cannot be reached ({first_line(error)}): start it and upload again") from None


def send_spool(spool: Spool, tracking: TrackingSpec, parent: str | None = None) -> tuple[str, int]:
    """(run id, points sent). Raises UserError for a store that cannot be used, and whatever a store answers with."""
    client, experiment = open_store(tracking)
    tags = spool.header["tags"]
    if "study" in tags:
        tags["mlflow.parentRunId"] = parent or _parent(tracking, client, experiment, tags["study"])
    spool.run_id, stored = attach(client, experiment, spool)
    items = missing(spool, stored)
    send(client, resolve_uri(tracking.uri), spool.run_id, items)
    end_run(client, spool.run_id, *(spool.end or ("FAILED", "process died")))
    with contextlib.suppress(OSError):  # a full disk: the token finds the run again
        spool.rewrite()  # with the id
    return spool.run_id, sum(len(item) == 4 for item in items)


def tracking_of(spool: Spool, uri: str | None = None) -> TrackingSpec:
    """Where a spooled run belongs: `uri`, else its own store; of a folder that was moved, the one in the new place.

    Raises UserError for a header that says no such thing.
    """
    try:
        tracking = parse_tracking("tracking.uri", **spool.header["tracking"] | ({"uri": uri} if uri else {}))
    except (TypeError, KeyError):
        raise UserError(f"{spool.path}: its first line does not say where the run is tracked") from None
    if uri is not None:
        return tracking
    file = sqlite_file(tracking.uri)
    before = spool.header.get("cwd"), spool.header.get("directory")
    if file is None or None in before:
        return tracking
    cwd, directory = Path(str(before[0])), Path(str(before[1]))
    here = spool.path.parent.resolve()
    if here == directory or not (file.is_relative_to(cwd) and directory.is_relative_to(cwd)):
        return tracking
    inside = directory.relative_to(cwd)
    if here.parts[-len(inside.parts) :] != inside.parts:
        return tracking
    moved = here.parents[len(inside.parts) - 1] / file.relative_to(cwd)
    return tracking.model_copy(update={"uri": f"sqlite:///{moved}"})


def _parent(tracking: TrackingSpec, client: object, experiment: str, study: str) -> str:
    """Run id of a study's parent: the oldest that is there, else a new one, which the study's command describes."""
    found = search_runs(client, experiment, f"tags.study = {quoted(study)} and tags.kind = 'study'")
    return str(found[0].info.run_id) if found else open_parent(tracking, study, None)
