"""The parent run of a study: its note, its summary, its report."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from eprli_lab.config.spec import TrackingSpec
from eprli_lab.errors import UserError
from eprli_lab.tracking.description import OPENED, StudyDescription, last_opened
from eprli_lab.tracking.notes import ANSWER, describe_experiment, noted, study_note
from eprli_lab.tracking.provenance import provenance
from eprli_lab.tracking.send import BATCH
from eprli_lab.tracking.store import log, open_store, process_tags, quoted, search_runs, set_tags
from eprli_lab.tracking.uri import first_line
from eprli_lab.tracking.views import save_view


def open_parent(
    tracking: TrackingSpec, study: str, description: StudyDescription | None, metrics: Collection[str] = ()
) -> str:
    """Run id of a study's parent, made or re-opened; '' when the store cannot be reached.

    `metrics`: what its runs are expected to log, for the charts of its saved view.

    `description` is what reports read of the study; None leaves the one that is there. A parent whose study planned
    another configuration for one of the arms is left alone: two plans of one name have a parent each. One of the same
    plan keeps the arms and seeds that it planned before. Raises UserError when the tracking experiment was deleted.
    """
    try:
        client, experiment = open_store(tracking)
        save_view(client, experiment, study, metrics or _logged(client, experiment, study))
        parents = search_runs(client, experiment, f"tags.study = {quoted(study)} and tags.kind = 'study'")
        parents.sort(key=lambda run: last_opened(run.data.tags), reverse=True)  # stable: the oldest of equals first
        parent, joined = _of_this_plan(parents, description)
        tags = {"study": study, "kind": "study", **process_tags(), "eprli.provenance": json.dumps(provenance())}
        if joined is not None:
            tags[OPENED] = str(time.time_ns() // 1000)
            known = parent.data.tags if parent is not None else {}
            tags |= {**joined.to_tags(known), **noted(study_note(study, joined), known)}
        if parent is None:
            run_id = str(client.create_run(experiment, tags=tags, run_name=study).info.run_id)
        else:
            run_id = str(parent.info.run_id)
            client.update_run(run_id, status="RUNNING")
            set_tags(client, run_id, tags)
        describe_experiment(client, experiment)
        return run_id
    except UserError:
        raise
    except Exception as error:
        log.warning("tracking: the parent run of %s was not opened: %s", study, first_line(error))
        return ""


def _of_this_plan(parents: Sequence[Any], description: StudyDescription | None) -> tuple[Any, StudyDescription | None]:
    """(the parent of this plan, what it is to say); (None, ...) where there is none yet."""
    if description is None:
        return (parents[0] if parents else None), None
    for parent in parents:
        try:
            known = StudyDescription.from_tags(parent.data.tags)
        except (ValueError, RecursionError):  # unreadable: it is written anew
            return parent, description
        if description.is_of_one_plan(known):
            return parent, description.joined(known)
    return None, description


def parent_summary(
    tracking: TrackingSpec,
    run_id: str,
    metrics: Mapping[str, float],
    *,
    artifacts: Sequence[Path] = (),
    folder: str = "report",
    note: str | None = None,
    answer: str | None = None,
    tags: Mapping[str, str] | None = None,
    end: bool = False,
) -> None:
    """What a person sees of a study: aggregates on the parent's row, the report's files and text.

    `note` replaces a note of ours, never one that a person wrote. `answer`: what the table says in a sentence or two,
    for the experiment's description. `tags`: further tags of the parent. `end`: the study is done; else its status is
    left as it is. The study's saved view gets the columns and charts of what its runs logged.
    """
    from mlflow.entities import Metric

    client, experiment = open_store(tracking)
    known = client.get_run(run_id).data.tags
    if "study" in known:
        save_view(client, experiment, known["study"], _logged(client, experiment, known["study"]))
    now = int(time.time() * 1000)
    values = [Metric(k, float(v), now, 0) for k, v in metrics.items()]
    for i in range(0, len(values), BATCH):
        client.log_batch(run_id, metrics=values[i : i + BATCH])
    for path in artifacts:
        client.log_artifact(run_id, str(path), folder)
    more = dict(tags or {}) | (noted(note, known) if note is not None else {})
    more |= {ANSWER: answer} if answer else {}
    if more:
        set_tags(client, run_id, more)
    describe_experiment(client, experiment)
    if end:
        client.set_terminated(run_id, "FINISHED")


def _logged(client: Any, experiment: str, study: str) -> set[str]:
    """The metrics that the runs of a study have logged so far."""
    runs = search_runs(client, experiment, f"tags.study = {quoted(study)} and tags.kind = 'run'")
    return {metric for run in runs for metric in run.data.metrics}


def tag_parent(tracking: TrackingSpec, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a study's parent run."""
    client, _ = open_store(tracking)
    set_tags(client, run_id, tags)
