"""A spooled run sent later."""

from __future__ import annotations

import json
from pathlib import Path

from eprli_lab.config.parse import parse_tracking
from eprli_lab.errors import UserError
from eprli_lab.tracking.parent import open_parent
from eprli_lab.tracking.process import ProcessIdentity
from eprli_lab.tracking.send import attach, end_run, is_stored, send
from eprli_lab.tracking.spool import Spool
from eprli_lab.tracking.store import open_store, quoted, search_runs
from eprli_lab.tracking.uri import first_line, resolve_uri


def upload(run_dir: Path, uri: str | None = None) -> tuple[str, int]:
    """Send what a spooled run holds and the store does not: (run id, points sent). A second time sends nothing.

    Raises UserError when there is no spool, its run is still going on, or the store cannot be reached.
    """
    spool = Spool.read(run_dir / "spool.jsonl")
    if not spool.header:
        raise UserError(f"{run_dir} holds no spool.jsonl: give a run's directory, such as outputs/run-0123456789ab")
    tags = spool.header["tags"]
    if spool.end is None and ProcessIdentity.from_tags(tags).is_alive(elsewhere=False):
        raise UserError(f"{run_dir}: its run is still going on (process {tags['pid']}): upload it when it ended")
    tracking = parse_tracking("tracking.uri", **spool.header["tracking"] | ({"uri": uri} if uri else {}))
    try:
        client, experiment = open_store(tracking)
        if "study" in tags:
            found = search_runs(client, experiment, f"tags.study = {quoted(tags['study'])} and tags.kind = 'study'")
            parent = found[0].info.run_id if found else open_parent(tracking, tags["study"], None)
            tags["mlflow.parentRunId"] = parent
        spool.run_id, stored = attach(client, experiment, spool)
        points = [(key, step, value, at) for (key, step), (value, at) in spool.points.items()]
        missing = [p for p in sorted(points, key=lambda p: p[3]) if not is_stored(stored, p)]
        send(
            client,
            resolve_uri(tracking.uri),
            spool.run_id,
            [*missing, *(entry for entry in spool.artifacts if Path(entry[0]).is_file())],
        )
        end_run(client, spool.run_id, *(spool.end or ("FAILED", "process died")))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{tracking.uri} cannot be reached ({first_line(error)}): start it and upload again") from None
    with spool.path.open("a") as file:
        file.write(json.dumps({"id": spool.run_id}) + "\n")
    return spool.run_id, len(missing)
