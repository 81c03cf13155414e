"""The parent run of a study: its note, its summary, its report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.description import TAG, StudyDescription
from eprli_lab.tracking.provenance import provenance
from eprli_lab.tracking.send import BATCH
from eprli_lab.tracking.store import log, open_store, process_tags, quoted, search_runs, set_tags
from eprli_lab.tracking.uri import first_line
from eprli_lab.tracking.views import save_view


def open_parent(tracking: TrackingSpec, study: str, description: StudyDescription | None) -> str:
    """Run id of a study's parent, made or re-opened; '' when the store cannot be reached.

    `description` is what reports read of the study; None leaves the one that is there. Raises UserError when the
    tracking experiment was deleted.
    """
    try:
        client, experiment = open_store(tracking)
        save_view(client, experiment, study, ())
        parents = search_runs(client, experiment, f"tags.study = {quoted(study)} and tags.kind = 'study'")
        tags = {"study": study, "kind": "study", **process_tags(), "eprli.provenance": json.dumps(provenance())}
        if description is not None:
            known = parents[0].data.tags if parents else {}
            tags |= {TAG: description.to_tag(), **_noted(_note(study, description), known)}
        if not parents:
            return str(client.create_run(experiment, tags=tags, run_name=study).info.run_id)
        run_id = str(parents[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        set_tags(client, run_id, tags)
        return run_id
    except UserError:
        raise
    except Exception as error:
        log.warning("tracking: the parent run of %s was not opened: %s", study, first_line(error))
        return ""


def _note(study: str, description: StudyDescription) -> str:
    """Markdown shown beside the parent run."""
    lines = [f"## {study}"]
    if description.question:
        lines.append(f"**Question.** {description.question}")
    if description.claim:
        lines.append(f"**Claim.** {description.claim}")
    lines.append(
        f"**Arms.** {', '.join(description.arms)} (baseline: {description.baseline}); "
        f"seeds {', '.join(map(str, description.seeds))}; objective `{description.objective}`"
    )
    return "\n\n".join(lines)


def parent_summary(
    tracking: TrackingSpec,
    run_id: str,
    metrics: Mapping[str, float],
    *,
    artifacts: Sequence[Path] = (),
    folder: str = "report",
    note: str | None = None,
    columns: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    end: bool = False,
) -> None:
    """What a person sees of a study: aggregates on the parent's row, the report's files and text.

    `note` replaces a note of ours, never one that a person wrote. `columns`: metrics that the study's saved view shows
    in the runs table. `tags`: further tags of the parent. `end`: the study is done; else its status is left as it is.
    """
    from mlflow.entities import Metric

    client, experiment = open_store(tracking)
    known = client.get_run(run_id).data.tags
    if columns:
        save_view(client, experiment, known["study"], columns)
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(k, float(v), now, 0) for k, v in metrics.items()][:BATCH])
    for path in artifacts:
        client.log_artifact(run_id, str(path), folder)
    more = dict(tags or {}) | (_noted(note, known) if note is not None else {})
    if more:
        set_tags(client, run_id, more)
    if end:
        client.set_terminated(run_id, "FINISHED")


NOTE = "mlflow.note.content"  # what MLflow shows as a run's description


def _noted(note: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that replace the note on a run with these tags; none where a person has changed ours."""
    digest: Callable[[str], str] = lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]  # noqa: E731
    if NOTE in tags and tags.get("eprli.note", digest(tags[NOTE])) != digest(tags[NOTE]):
        return {}
    return {NOTE: note, "eprli.note": digest(note)}
